"""Entry points of the distributions on the path, as their metadata tell them."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.registry.entry_points import installed_entry_points
from tests.registry.outside import make_distribution


def found(name: str) -> list[tuple[str, str]]:
    return [(one.point.name, one.version) for one in installed_entry_points()[0] if one.distribution == name]


@pytest.mark.parametrize("name", ["mine", "My-Own.Attacks"])
def test_the_first_on_the_path_hides_another_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    make_distribution(tmp_path / "later", name, {"mine.py": ""}, version="1.0")
    monkeypatch.syspath_prepend(tmp_path / "later")
    assert found(name) == [("mine", "1.0")]
    make_distribution(tmp_path / "first", name, {"mine.py": ""}, version="2.0")
    (tmp_path / "first" / f"{name.replace('-', '_')}-2.0.dist-info" / "entry_points.txt").unlink()  # no more plugins
    monkeypatch.syspath_prepend(tmp_path / "first")
    assert found(name) == []


def test_a_name_that_begins_like_another_hides_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_distribution(tmp_path / "later", "mine", {"mine.py": ""})
    (tmp_path / "first" / "mine-extra-1.0.dist-info").mkdir(parents=True)  # not escaped, as some installers left it
    for folder in ("later", "first"):
        monkeypatch.syspath_prepend(tmp_path / folder)
    assert found("mine") == [("mine", "1.2.3")]
