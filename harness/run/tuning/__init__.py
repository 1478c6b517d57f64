"""Searches an attack's parameters on training examples, at a compute that is fixed beforehand."""
