"""Further attacks that look at gradients; one file each."""
