"""The format of what a run leaves behind: written once, read by anybody."""
