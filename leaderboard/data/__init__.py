"""Records as arrays: what became of each attacked example, counts of successes, and which cells may be compared."""
