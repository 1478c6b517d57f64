"""Finds the best of many candidates by scoring all in lower precision, and exactly those alone that may be the best."""
