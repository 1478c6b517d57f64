"""Specs: YAML in, checked cells out."""

from harness.spec.cells import CellSpec, expand
from harness.spec.load import LoadedSpec, load_spec
from harness.spec.model import Exclude, Spec
from harness.spec.problems import InvalidSpecError, SpecProblem

__all__ = ["CellSpec", "Exclude", "InvalidSpecError", "LoadedSpec", "Spec", "SpecProblem", "expand", "load_spec"]
