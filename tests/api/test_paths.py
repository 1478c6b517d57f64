"""Where a file lies is part of nothing; what is in it counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import Field

from harness import Attack, Example, Judge, Params, PluginRef, SpecPath, State, Step, Task, TaskData, host_field
from harness.hashing import path_digest
from harness.registry.registry import Registry
from harness.registry.resolved_plugin import ResolvedPlugin, plugin_key
from harness.run.cell.base_record import plugin_record


class Split(Params):
    """Files inside parameters inside parameters."""

    train: SpecPath
    rows: int = 3


class FileParams(Params):
    """A file in every place where one may stand."""

    one: SpecPath
    more: tuple[SpecPath, ...] = ()
    named: dict[str, Path] = Field(default_factory=dict)
    split: Split | SpecPath | None = None
    cache: SpecPath = host_field(Path("/tmp/cache"))
    size: int = 2


class FileTask(Task):
    """Rows of files."""

    name = "of_files"

    class Params(FileParams, Task.Params):
        """Files."""

    def load(self) -> TaskData:
        return TaskData((" A", " B"), (), ())


class FileAttack(Attack):
    """Strings of a file."""

    name = "of_files"

    class Params(FileParams, Attack.Params):
        """Files."""

    def start(self, problem: Any, rng: Any) -> State:
        raise NotImplementedError

    def step(self, state: Any, problem: Any, rng: Any) -> Step:
        raise NotImplementedError


class FileJudge(Judge):
    """Words of a file."""

    name = "of_files"

    class Params(FileParams, Judge.Params):
        """Files."""

        below: int = Field(1)

    def success(self, example: Example, answer: Any) -> bool:
        return False


KINDS = {"task": FileTask, "attack": FileAttack, "judge": FileJudge}


def resolved(kind: str, folder: Path, content: str = "x") -> ResolvedPlugin:
    """The plugin with a file of that content in the folder."""
    folder.mkdir(exist_ok=True)
    file = folder / "rows.csv"
    file.write_text(content, encoding="utf-8")
    registry = Registry()
    for each, cls in KINDS.items():
        registry.add(each, cls, "ours", "1")  # type: ignore[arg-type]
    split = {"train": str(file)}
    params = {"one": str(file), "more": [str(file)], "named": {"a": str(file)}, "split": split, "cache": str(file)}
    return registry.resolve(kind, PluginRef(name="of_files", params=params))  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_files_in_another_folder(kind: str, tmp_path: Path) -> None:
    here, there = resolved(kind, tmp_path / "a"), resolved(kind, tmp_path / "b")
    assert here.identity() == there.identity()
    assert plugin_record(here) == plugin_record(there)
    assert str(tmp_path) not in repr([here.identity(), plugin_record(here)])
    assert here.identity()["params"]["size"] == 2
    if kind != "judge":  # a judge's file is told by what is in it
        assert plugin_key(here) != plugin_key(there)


@pytest.mark.parametrize(("kind", "told"), [("task", False), ("attack", True), ("judge", True)])
def test_other_files_in_the_same_place(kind: str, told: bool, tmp_path: Path) -> None:
    def known() -> Any:
        return plugin.fingerprint() if kind == "attack" else plugin.identity()

    plugin = resolved(kind, tmp_path, "old")
    before = known()
    (tmp_path / "rows.csv").write_text("other", encoding="utf-8")
    assert (known() != before) == told  # of a task, the hash of its data tells


def test_a_fingerprint_of_its_own_stands_for_the_files(tmp_path: Path) -> None:
    plugin = resolved("attack", tmp_path)
    assert set(plugin.fingerprint()) == {"file 1", "file 2", "file 3", "file 4"}  # not the cache
    plugin.plugin.fingerprint = lambda: {"records": "abc"}
    assert plugin.fingerprint() == {"records": "abc"}


def test_the_digest_of_a_folder(tmp_path: Path) -> None:
    assert path_digest(tmp_path / "none") == "missing"
    for folder in ("a", "b"):
        (tmp_path / folder / "in").mkdir(parents=True)
        (tmp_path / folder / "in" / "one").write_text("1")
    same = path_digest(tmp_path / "a")
    assert path_digest(tmp_path / "b") == same
    (tmp_path / "b" / "in" / "one").rename(tmp_path / "b" / "one")
    assert path_digest(tmp_path / "b") != same
