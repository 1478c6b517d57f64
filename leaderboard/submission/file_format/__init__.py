"""The one file that a submission is: its container, manifest and table."""
