"""Cells on a Ray cluster, whose machines may be lost at any time."""
