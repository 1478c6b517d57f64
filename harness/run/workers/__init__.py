"""Processes that do the cells of a run for a driver: on this machine (`processes`) or on others."""
