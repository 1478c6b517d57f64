"""Specs: YAML in, checked cells out."""

from harness.spec.cells import Cell, expand
from harness.spec.load import LoadedSpec, load_spec
from harness.spec.model import Exclude, Spec
from harness.spec.problems import InvalidSpecError, Problem

__all__ = ["Cell", "Exclude", "InvalidSpecError", "LoadedSpec", "Problem", "Spec", "expand", "load_spec"]
