"""Built-in judges, one file each."""
