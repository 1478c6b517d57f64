"""A run on a Ray cluster. The run directory stays with the driver, which alone writes to it."""
