"""Records of others held against what the harness itself makes of the same spec: which cells there must be, and what
the victim says to the strings again.
"""
