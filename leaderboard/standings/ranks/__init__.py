"""Which rows of a table have a rank, and which."""
