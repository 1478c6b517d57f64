"""Losses of many candidates that share a prefix: full rows, copied prefixes, and packed rows."""
