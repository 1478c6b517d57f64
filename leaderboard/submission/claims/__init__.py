"""Claims against rows of entries: strings that somebody brings, tried by the harness, in files like entries."""
