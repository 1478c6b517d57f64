"""A plugin package to begin with: `names` says whether a name will do, `write` writes the files."""
