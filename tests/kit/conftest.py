"""The package in `outside` has tests of its own, run where it is installed."""

collect_ignore = ["outside"]
