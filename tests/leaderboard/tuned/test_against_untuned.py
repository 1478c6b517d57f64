"""Tuned attacks: what their search costs each example, and what they gain at equal total compute."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.cli import main
from harness.errors import DataError
from harness.records.read import read_run
from leaderboard.fit.compared.paired_difference import SeedPairs, paired_difference
from leaderboard.tuned.against_untuned import AgainstUntuned, against_untuned
from leaderboard.tuned.search_share import search_shares
from tests.leaderboard.fake_run import FakeCell, write_run

KEY = "f" * 20


def tuned_more(flops: float = 16e9, key: str = KEY, name: str = "gcg") -> dict[str, Any]:
    tuning = {"flops": flops, "per_example": 2e9, "examples": 16, "trials": 9, "key": key}
    label = {"name": name, "label": f"{name}, tuned", "params": {}, "distribution": "", "version": ""}
    return {"tuning": tuning, "attack": label}


def as_it_was(*first: int, **more: Any) -> FakeCell:
    return FakeCell(attack="gcg", examples=len(first), first_success=first, **{"steps": 8, "step_flops": 1e9} | more)


def tuned(*first: int, search: float = 16e9, **more: Any) -> FakeCell:
    made = {"steps": 2, "step_flops": 1e9, "more": tuned_more(search)} | more
    return FakeCell(attack="gcg, tuned", examples=len(first), first_success=first, **made)


# As it was: broken at steps 1, 3, 6 and never; as tuned, within 2 steps, the first three.
PAIR = [as_it_was(1, 3, 6, 0), tuned(1, 1, 2, 0)]


def compared(folder: Path, *cells: FakeCell) -> AgainstUntuned:
    (found,) = against_untuned([read_run(write_run(folder / "run", cells))])
    return found


def test_at_equal_total_compute_the_attack_as_it_was_may_spend_the_search_too(tmp_path: Path) -> None:
    found = compared(tmp_path, *PAIR)
    assert (found.tuned, found.untuned, found.spent) == ("gcg, tuned", "gcg", 2e9)
    assert found.share.per_example == 4e9  # 16e9 over four examples
    with_search, without = found.at
    assert (with_search.counted, with_search.budget, with_search.spent) == ("with the search", 6e9, 6e9)
    assert with_search.difference is not None
    assert (with_search.difference.old, with_search.difference.new) == (0.75, 0.75)
    assert (without.budget, without.spent, without.ran_out) == (2e9, 2e9, False)
    assert without.difference is not None
    assert (without.difference.old, without.difference.value) == (0.25, 0.5)
    pairs = SeedPairs(("a", "b", "c", "d"), *([[True, False, False, False], [True, True, True, False]]))  # type: ignore[arg-type]
    wanted = paired_difference([pairs], one_model=False)
    assert wanted is not None
    assert (without.difference.low, without.difference.high) == (wanted.low, wanted.high)


def test_cells_of_one_search_share_it_and_each_counts_once(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path / "run", [*PAIR, tuned(1, 2, 1, 1, 0, 0, seed=1)]))
    shares = search_shares([*run.cells, *run.cells])
    assert shares[KEY].attacked == 10
    assert shares[KEY].per_example == pytest.approx(1.6e9)


def test_an_attack_that_ends_before_its_budget_is_marked(tmp_path: Path) -> None:
    cells = [as_it_was(1, 0, steps=3), tuned(1, 2)]
    found = compared(tmp_path, *cells)
    assert [at.ran_out for at in found.at] == [True, False]
    assert found.at[0].spent == 3e9


def test_a_first_step_beyond_the_budget_has_no_rate(tmp_path: Path) -> None:
    found = compared(tmp_path, as_it_was(1, 1, step_flops=9e9), tuned(1, 2, search=2e9))
    assert [at.difference for at in found.at] == [None, None]


def test_without_a_pair_the_error_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="harness tune --compare FILE"):
        compared(tmp_path, as_it_was(1, 0), FakeCell(attack="beast"))


@pytest.mark.parametrize("option", ["", "--markdown", "--json"])
def test_the_command_says_what_the_search_took(option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "run", PAIR)
    assert main(["leaderboard", "tuned", str(tmp_path / "run"), *option.split()]) == 0
    said = capsys.readouterr().out
    if option == "--json":
        assert json.loads(said)[0]["search"]["per_attacked_example"] == 4e9
        return
    told = " ".join(said.split())
    assert (
        "2.0 × 10⁹ FLOPs, and 4.0 × 10⁹ of the search: 1.6 × 10¹⁰ for 9 candidates, shared by 4 attacked examples"
        in told
    )
    assert "+50.0 (" in told
    assert "One seed: the interval is over the examples of this one model." in told


def test_tables_at_equal_compute_name_the_search(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "run", PAIR)
    assert main(["leaderboard", "attacks", str(tmp_path / "run")]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "search 4.0 × 10⁹" in said
    assert said.count("search 4.0") == 1, "that of the attack as it was has none"
    assert "in addition to the compute at the head of the column" in said


def test_standings_say_what_the_search_took(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "run", PAIR)
    write_run(tmp_path / "plain", [PAIR[0]])
    said = {}
    for name in ("run", "plain"):
        assert main(["leaderboard", "show", str(tmp_path / name)]) == 0
        said[name] = " ".join(capsys.readouterr().out.split())
    assert "gcg, tuned: 1.6 × 10¹⁰ FLOPs, 4.0 × 10⁹ for each of the 4 examples that it attacked" in said["run"]
    assert "search for an attack's parameters" not in said["plain"]
    assert main(["leaderboard", "build", str(tmp_path / "run"), "--out", str(tmp_path / "site")]) == 0
    pages = [page.read_text(encoding="utf-8") for page in (tmp_path / "site").rglob("*.html")]
    assert any("4.0 × 10⁹ for each of the 4 examples" in page for page in pages)
