"""Commands for what is found out before a benchmark: a judge's errors, an attack's parameters."""
