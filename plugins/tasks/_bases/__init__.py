"""Base classes of tasks."""
