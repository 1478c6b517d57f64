"""Findings of the study in made-up and real runs."""
