"""Forms that the curve of success over compute may have, fitted side by side to the same first successes."""
