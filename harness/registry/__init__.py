"""Plugins found, checked and resolved: `loader.load_plugins` fills a `registry.Registry`, which turns a reference in a
spec into a `resolved.ResolvedPlugin`.

Nothing is imported here, so that the command line can look for packages without loading pydantic and numpy.
"""
