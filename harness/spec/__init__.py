"""Specs: YAML in, checked cells out. `load.load_spec` is the way in."""
