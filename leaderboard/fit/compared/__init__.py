"""Rows compared with each other: which is surely harder to break, and by what ratio."""
