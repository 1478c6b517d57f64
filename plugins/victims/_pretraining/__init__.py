"""Pretraining of victims on text without labels."""
