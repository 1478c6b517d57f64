"""How a run is cut into shards: the laws of the cut, and that what is on disk does not change it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from harness.errors import RunError
from harness.registry.loader import load_plugins
from harness.run.plan.shard_weights import cells_of_shard, shard_items
from harness.run.prepare.artifacts import Artifacts
from harness.run.prepare.resolved_cell import CellResolver
from harness.run.reporter import Silent
from harness.run.shards import FINEST, TOLERANCE, Shard, ShardItem, cut
from harness.spec.load import load_spec
from harness.store.artifacts import FolderStore
from tests.run.runs import FAST, KIT

WEIGHTS = st.one_of(st.just(0.0), st.just(1.0), st.floats(1e-3, 1e6))
SLACK = 1 + 1e-9
PLUGINS = [KIT / f"{name}.py" for name in ("task", "victim", "attack")]


@st.composite
def items(draw: st.DrawFn, *, needs: bool = True) -> list[ShardItem]:
    """Cells in the order of a product: groups one after another, each with what its cells need."""
    found = []
    for group in range(draw(st.integers(0, 8))):
        for number in range(draw(st.integers(1, 12))):
            made = (f"v{group}", *[f"r{group}.{i}" for i in range(number % 3)]) if needs else ()
            found.append(ShardItem(f"{group}.{number}", f"v{group}", draw(WEIGHTS), made))
    return found


@st.composite
def runs(draw: st.DrawFn) -> tuple[list[ShardItem], int, dict[str, float]]:
    cells = draw(items())
    made = sorted({need for item in cells for need in item.artifacts})
    return cells, draw(st.integers(1, 20)), {need: draw(WEIGHTS) for need in made if draw(st.booleans())}


def load(keys: Sequence[str], cells: Sequence[ShardItem], making: dict[str, float]) -> float:
    """What a shard takes: its cells, and making what they need, each once."""
    own = [item for item in cells if item.key in set(keys)]
    return sum(item.weight for item in own) + sum(
        making.get(n, 0.0) for n in {n for item in own for n in item.artifacts}
    )


@given(runs())
def test_every_cell_is_in_one_shard_in_the_order_of_the_run(run: tuple[list[ShardItem], int, dict[str, float]]) -> None:
    cells, n, making = run
    shards = cut(cells, n, making)
    assert len(shards) == n
    assert sorted(key for keys in shards for key in keys) == sorted(item.key for item in cells)
    order = {item.key: place for place, item in enumerate(cells)}
    assert all(keys == sorted(keys, key=order.__getitem__) for keys in shards)


@given(runs())
def test_every_machine_cuts_alike(run: tuple[list[ShardItem], int, dict[str, float]]) -> None:
    cells, n, making = run
    anew = [ShardItem(item.key, item.group, item.weight, tuple(item.artifacts)) for item in cells]
    assert cut(cells, n, making) == cut(anew, n, dict(reversed(making.items())))


@given(runs())
def test_no_shard_is_heavier_than_with_whole_groups(run: tuple[list[ShardItem], int, dict[str, float]]) -> None:
    cells, n, making = run
    heaviest = max(load(keys, cells, making) for keys in cut(cells, n, making))
    groups = {item.group: [other.key for other in cells if other.group == item.group] for item in cells}
    costs = [load(keys, cells, making) for keys in groups.values()]
    fair = sum(costs) / n
    assert heaviest <= SLACK * max(TOLERANCE * fair, fair + (1 - 1 / n) * max(costs, default=0.0))


@given(items(needs=False), st.integers(1, 20))
def test_no_shard_is_much_heavier_than_its_fair_share(cells: list[ShardItem], n: int) -> None:
    heaviest = max(load(keys, cells, {}) for keys in cut(cells, n))
    fair = sum(item.weight for item in cells) / n
    piece = max([fair / FINEST, *(item.weight for item in cells)])
    assert heaviest <= SLACK * max(TOLERANCE * fair, fair + (1 - 1 / n) * piece)


def grid(groups: int, cells: int, weight: float = 1.0) -> list[ShardItem]:
    return [ShardItem(f"{g}.{c}", f"v{g}", weight, (f"v{g}",)) for g in range(groups) for c in range(cells)]


def homes(shards: list[list[str]]) -> dict[str, int]:
    """In how many shards each group has cells."""
    groups = [{key.split(".")[0] for key in keys} for keys in shards]
    return {group: sum(group in held for held in groups) for group in set().union(*groups)}


def test_groups_stay_whole_where_that_is_fair() -> None:
    for n in (1, 2, 3, 4, 6, 12):
        assert set(homes(cut(grid(12, 5), n)).values()) == {1}


def test_one_model_is_shared_out() -> None:
    shards = cut(grid(1, 12), 4)
    assert [len(keys) for keys in shards] == [3, 3, 3, 3]
    assert shards[0] == ["0.0", "0.1", "0.2"], "neighbours, which share rounds of a defense, stay together"


def test_groups_are_cut_no_finer_than_it_takes() -> None:
    shards = cut(grid(5, 8), 4)  # whole groups would leave one shard with two of five
    assert max(len(keys) for keys in shards) <= TOLERANCE * 10
    assert max(homes(shards).values()) <= 4


def test_a_model_that_takes_more_to_train_than_to_attack_is_trained_once() -> None:
    cells = grid(5, 8)
    assert set(homes(cut(cells, 4, {f"v{g}": 1000.0 for g in range(5)})).values()) == {1}


def test_more_shards_than_cells_leave_some_empty() -> None:
    shards = cut(grid(1, 3), 5)
    assert sorted(map(len, shards)) == [0, 0, 1, 1, 1]


def test_weightless_cells_are_shared_out_by_number() -> None:
    assert sorted(len(keys) for keys in cut(grid(6, 1, 0.0), 3)) == [2, 2, 2]


@pytest.mark.parametrize("text", ["", "1", "1/", "/2", "0/3", "4/3", "-1/3", "1/0", "a/b", "1/2/3", "1.0/2", "²/3"])
def test_a_shard_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(RunError, match=r"^--shard "):
        Shard.parse(text)


def test_a_shard_is_read() -> None:
    assert Shard.parse("2/3") == Shard(2, 3)
    assert str(Shard.parse("3/3")) == "shard 3 of 3"


def test_what_is_made_or_damaged_does_not_change_the_cut(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(FAST + "seeds: [0, 1, 2]\n")
    registry = load_plugins(PLUGINS).registry
    spec = load_spec(tmp_path / "spec.yaml", registry)

    fresh = CellResolver(registry)
    cells = {cell.keys.cell: cell for cell in map(fresh.resolve, spec.cells)}
    items, making = shard_items(cells, fresh)
    assert len(items) == 6
    assert len({item.group for item in items}) == 3
    assert all(item.weight > 0 for item in items)
    assert len({item.weight for item in items}) == 2, "the attacks are estimated, not guessed"
    first, _, third = list(cells.values())[:3]
    Artifacts(FolderStore(tmp_path / "artifacts"), Silent()).victim(first)
    made = third.keys.victim
    (tmp_path / "artifacts" / made).mkdir()
    (tmp_path / "artifacts" / made / "manifest.json").write_text("{")
    assert shard_items(cells, CellResolver(registry)) == (items, making)
    own = [cells_of_shard(cells, Shard(i, 2), CellResolver(registry)) for i in (1, 2)]
    assert own[0] | own[1] == cells
    assert not own[0].keys() & own[1].keys()
