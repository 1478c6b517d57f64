"""Built-in victims, one file each."""
