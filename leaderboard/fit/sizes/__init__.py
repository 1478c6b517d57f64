"""Attack scaling against the size of the victim."""
