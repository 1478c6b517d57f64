"""Candidates of several examples packed into one row without padding, behind shared prefixes."""
