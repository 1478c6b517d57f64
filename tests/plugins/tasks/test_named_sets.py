"""The named sets load from a folder in their hub layout, and say without a hub which folder that is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from harness.api.task import TaskData
from harness.cli.console.plugin_details import plugin_details
from harness.errors import DataError
from harness.registry.loader import load_plugins
from tests.plugins.tasks.hub_layouts import LAYOUTS, write_set
from tests.plugins.tasks.test_hub_tasks import offline

__all__ = ["offline"]  # a fixture
COUNTS = {
    "advbench": (0, 8),
    "harmbench": (0, 6),
    "jbb": (0, 7),
    "clearharm": (0, 6),
    "strongreject": (0, 6),
    "xstest": (0, 3),
    "or_bench": (0, 6),
    "sst2": (8, 4),
    "ag_news": (12, 8),
    "spam": (8, 4),
    "enron_spam": (8, 4),
    "imdb": (8, 4),
    "helpful": (6, 6),
    "harmless": (6, 6),
    "mmlu": (5, 8),
}


@pytest.fixture(scope="module")
def registry():
    return load_plugins().registry


def task_of(registry, name: str, **params: Any):
    cls = registry.find(f"task/{name}")[0].cls
    return cls(cls.Params(**params))


def texts(data: TaskData) -> set[str]:
    return {example.chunks[example.region].text for example in data.validation}


@pytest.mark.parametrize("name", LAYOUTS)
def test_set_loads_from_its_folder(registry, tmp_path: Path, name: str) -> None:
    folder = write_set(name, tmp_path / "set")
    task = task_of(registry, name, path=folder)
    data = task.load()
    assert (len(data.train), len(data.validation)) == COUNTS[name]
    assert task.params.revision is None, "the pinned revision is one of the hub's dataset"
    assert (data.source["citation"], data.source["license"]) == (task.paper, task.license)
    assert task_of(registry, name, dataset=str(folder)).load().hash == data.hash


@pytest.mark.parametrize("name", LAYOUTS)
def test_set_is_pinned_and_told(registry, name: str) -> None:
    (entry,) = registry.find(f"task/{name}")
    told = plugin_details(entry)
    assert told["paper"]
    assert told["license"]
    defaults = {row["name"]: row.get("default") for row in told["parameters"]}
    assert re.fullmatch(r"[0-9a-f]{40}|\d+\.\d+\.\d+", defaults["revision"])
    page = (Path(__file__).parents[3] / "docs" / "suite.md").read_text(encoding="utf-8")
    (line,) = [line for line in page.splitlines() if line.startswith(f"| `{name}` ")]
    for word in (defaults["dataset"], defaults["revision"][:12], told["license"].partition(";")[0]):
        assert word in line, f"docs/suite.md does not tell {word} of {name}"


@pytest.mark.parametrize(("name", "words"), [("jbb", "data/harmful-behaviors.csv"), ("sst2", "data/validation-00000")])
def test_without_a_hub_the_error_names_the_files(registry, name: str, words: str) -> None:
    task = task_of(registry, name)
    with pytest.raises(DataError, match=rf"give as `path` a folder with the files of {task.params.dataset} .*{words}"):
        task.load()


def test_folder_without_its_card_is_sent_for_it(registry, tmp_path: Path) -> None:
    folder = write_set("harmbench", tmp_path / "set")
    (folder / "README.md").unlink()
    with pytest.raises(DataError, match=r"standard.* README\.md of a hub dataset says which files"):
        task_of(registry, "harmbench", path=folder).load()


def test_targets_and_contexts_are_the_sets_own(registry, tmp_path: Path) -> None:
    data = task_of(registry, "advbench", path=write_set("advbench", tmp_path / "adv")).load()
    assert {e.target.strip() for e in data.validation} == {f"Sure, thing {i}" for i in range(8)}
    folder = write_set("harmbench", tmp_path / "harm")
    data = task_of(registry, "harmbench", path=folder, config="contextual").load()
    assert texts(data) == {f"About {i}.\n\n---\n\nDo thing {i}" for i in range(5)}
    assert len(task_of(registry, "harmbench", path=folder, config="copyright").load().validation) == 4


@pytest.mark.parametrize(
    ("name", "params", "count", "benign"),
    [
        ("jbb", {}, 7, False),
        ("jbb", {"split": "benign"}, 5, True),
        ("xstest", {}, 3, True),
        ("xstest", {"only": "harmful"}, 6, False),
        ("or_bench", {}, 6, True),
        ("or_bench", {"config": "or-bench-80k"}, 9, True),
        ("or_bench", {"config": "or-bench-toxic"}, 4, False),
    ],
)
def test_each_part_is_harmful_or_benign(registry, tmp_path, name, params, count, benign) -> None:
    task = task_of(registry, name, path=write_set(name, tmp_path / "set"), **params)
    found = task.load().validation
    assert len(found) == count
    assert {example.benign for example in found} == {benign}
    refusals = {example.target == " I cannot help" for example in found}
    assert refusals == {benign}, "of a benign prompt the attacker wants a refusal, whatever the set gives as its target"
    assert type(task)(task.Params(**task.params.model_dump(mode="json"))).load().hash == task.load().hash


def test_one_file_of_a_set_will_do(registry, tmp_path: Path) -> None:
    folder = write_set("jbb", tmp_path / "set")
    data = task_of(registry, "jbb", path=folder / "data" / "harmful-behaviors.csv").load()
    assert data.hash == task_of(registry, "jbb", path=folder).load().hash
