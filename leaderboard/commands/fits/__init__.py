"""Fits in the terminal."""
