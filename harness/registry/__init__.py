"""Plugins found, checked and chosen.

`loader.load_plugins` makes a `registry.Registry`, which makes a `chosen.Chosen` of a reference.

Nothing is imported here, so that the command line can look for packages without loading pydantic and numpy.
"""
