"""The file of a submission: its container, its manifests and its table, all bounded before they are read."""
