"""Asking again and again: ASR@j, and what the answers at hand say of more asks."""
