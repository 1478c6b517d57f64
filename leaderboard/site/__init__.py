"""The pages: standings, curves and details, as files that need no server."""
