"""Imports run one way and in no circle: plugins → harness, leaderboard → harness (records only), harness → neither."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("harness", "plugins", "leaderboard")
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for package in PACKAGES
    for path in sorted((ROOT / package).rglob("*.py"))
}
# What `leaderboard` may know of the core: what a run leaves on disk, how to say what is wrong with it, which cells a
# spec makes, and who puts recorded strings back through a victim.
READERS = ("harness.records", "harness.errors", "harness.flops", "harness.api.hooks", "harness.units")
READERS += ("harness.spec.load", "harness.replay", "harness.store.atomic")


def imports_of(name: str, *, everywhere: bool) -> set[str]:
    """Modules of ours that a module imports: when it is loaded, or anywhere in it. Type checking does not count."""
    tree = ast.parse(MODULES[name].read_text(encoding="utf-8"))
    found: set[str] = set()
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting += node.orelse
            continue
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) and not everywhere:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name}: relative import"
            module = node.module or ""
            found |= {
                f"{module}.{alias.name}" if f"{module}.{alias.name}" in MODULES else module for alias in node.names
            }
        waiting += ast.iter_child_nodes(node)
    return {module for module in found if module.split(".")[0] in PACKAGES}


def test_there_is_no_circle() -> None:
    graph = {name: imports_of(name, everywhere=False) & MODULES.keys() for name in MODULES}
    try:
        order = list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(" → ".join(error.args[1]))
    assert len(order) == len(MODULES) > 100


@pytest.mark.parametrize("name", sorted(MODULES))
def test_imports_run_one_way(name: str) -> None:
    own = name.split(".")[0]
    others = {module for module in imports_of(name, everywhere=True) if module.split(".")[0] != own}
    if own == "harness":
        assert others == set()
    elif own == "plugins":
        assert {module.split(".")[0] for module in others} <= {"harness"}
    else:
        assert {module for module in others if not module.startswith(READERS)} == set()
