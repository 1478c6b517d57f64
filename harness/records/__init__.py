"""The format of what a run leaves behind: written once, read by anybody."""

VERSION = 2
"""Of the format, which `schema` describes."""
