"""Writes the tables of docs/open_questions.md and docs/pretraining.md from the entries in leaderboard/entries.

python docs/write_questions.py

A page says where: <!-- questions: NAME -->, NAME a function of TABLES.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
from scipy.stats import t as student

from harness.records.read import Run
from leaderboard.data.count_table import CountTable
from leaderboard.data.count_table_of_run import count_table
from leaderboard.fit.compared.at_amount import compare_at
from leaderboard.fit.defense_efficiency import fit_efficiency
from leaderboard.fit.offense_defense import OffenseDefense, fit_offense_defense
from leaderboard.site.site_data import payload
from leaderboard.standings.fixed_compute import attack_tables
from leaderboard.standings.standings import standings
from leaderboard.submission.leaderboard_sources import read_one
from leaderboard.table_numbers import signed
from leaderboard.versions.class_separation import class_separation

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "docs" / name for name in ("open_questions.md", "pretraining.md")]
BLOCK = re.compile(r"(<!-- questions: (\S+) -->\n)(.*?)(<!-- end of questions -->)", re.DOTALL)
DEFENSES = ("none", "gcg", "adc", "latent", "random_token")
SIZES = ("7k", "26k", "57k", "150k")
OFFENSE, COMPLEXITY, PRETRAINING = "questions-offense_defense", "questions-complexity", "defenses-pretraining"
ATTACKS, TASKS = ("gcg", "random_token", "adc"), ("word_length", "password_match")
EQUAL_COMPUTE = 0.4  # of what training the victim took


def pages() -> Iterator[tuple[Path, str]]:
    """Each page, and its text as the entries have it."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        yield page, BLOCK.sub(lambda match: f"{match[1]}\n{TABLES[match[2]]()}\n{match[4]}", text)


def _rounds() -> str:
    """ASR against rounds of training."""
    found: dict[tuple[str, str], dict[int, Any]] = defaultdict(dict)
    for row in (row for section in _sections(OFFENSE) for row in section["rows"]):
        found[row["victim"].removeprefix("tiny "), _trained_by(row["defense"])][row["round"] or 0] = row
    lines = []
    for size, by in _in_order(found):
        of = found[size, by]
        if by == "none":
            lines.append([size, "nothing", _rate(of[0]["asr"]), "", "", "", _share(of[0]["clean"]["value"])])
            continue
        last = of[8]
        compute = f"{last['defense_compute'] / last['reference_compute']:.2f}"
        rates = [_rate(of[number]["asr"]) for number in (1, 4, 8)]
        lines.append([size, _name(by), *rates, compute, _share(last["clean"]["value"])])
    heads = ("victim", "trained against", "round 1", "round 4", "round 8", "defense compute", "clean accuracy")
    return _table(heads, lines)


def _equal_compute() -> str:
    """ASR at equal defense compute by the fitted curves, and GCG training against latent training."""
    fits = fit_efficiency(_counts(OFFENSE))
    pairs = {
        (_size(pair.group), _trained_by(pair.first), _trained_by(pair.second)): pair
        for pair in compare_at(fits, EQUAL_COMPUTE)
    }
    rates: dict[str, dict[str, str]] = defaultdict(dict)
    for fit in fits:
        middle, low, high = (float(part[0]) for part in fit.band(np.array([EQUAL_COMPUTE])))
        rates[_size(fit.group)][_trained_by(str(fit.group["defense"]))] = _interval(middle, low, high)
    order = ("latent", "gcg", "adc", "random_token")
    lines = []
    for size in (size for size in SIZES if size in rates):
        against = []
        for other in ("gcg", "random_token"):
            if pair := pairs.get((size, other, "latent")):
                against.append(_signed_interval(pair.log_odds_ratio, pair.low, pair.high))
            else:
                pair = pairs[size, "latent", other]
                against.append(_signed_interval(-pair.log_odds_ratio, -pair.high, -pair.low))
        lines.append([size, *(rates[size][by] for by in order), *against])
    names = [_name(by) for by in order]
    heads = ("victim", *names, "`gcg` against `latent`, ln odds ratio", "`random_token` against `latent`")
    return _table(heads, lines)


def _lines() -> str:
    """Slopes of compute to break against compute to defend."""
    targets = (0.02, 0.05, 0.1)
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for target in targets:
        for fit in fit_offense_defense(_counts(OFFENSE), target):
            found[_size(fit.group), _trained_by(str(fit.group["defense"]))].append(_slope(fit))
    lines = [[size, _name(by), *found[size, by]] for size, by in _in_order(found)]
    return _table(("victim", "trained against", *(f"slope at {100 * target:g}%" for target in targets)), lines)


def _slope(fit: OffenseDefense) -> str:
    side = fit.against_slope_1
    if fit.line.slope is None or fit.line.slope_ci is None:
        return "not enough data"
    censored = f", {fit.censored} never broken" if fit.censored else ""
    if side == "line does not fit":
        assert fit.straightness is not None
        return f"not straight (p {_p(fit.straightness.p)}){censored}"
    told = "" if side == "not told from" else f", {side} 1"
    return _signed_interval(fit.line.slope, *fit.line.slope_ci) + told + censored


def _complexity() -> str:
    """ASR and clean accuracy by complexity and size."""
    found: dict[tuple[int, int], dict[str, str]] = defaultdict(dict)
    for section in _sections(COMPLEXITY):
        words, nesting = (int(number) for number in re.findall(r"=(\d+)", section["task"]))
        for row in section["rows"]:
            text = f"{_rate(row['asr'])} ({_share(row['clean']['value'])})"
            found[nesting, words][row["victim"].removeprefix("tiny ")] = text
    sizes = SIZES[:3]
    lines = [[f"{words}, {nesting}", *(of[size] for size in sizes)] for (nesting, words), of in sorted(found.items())]
    return _table(("words in a line, nesting", *sizes), lines)


def _attacked() -> str:
    """ASR at equal compute, plain and robust."""
    rates = {key: _interval(rate.value, rate.low, rate.high) for key, rate in _rates_of(_run(PRETRAINING)).items()}
    lines = [
        [f"`{attack}`", size, *(rates[attack, task, size, views] for task in TASKS for views in (0, 1))]
        for attack in ATTACKS
        for size in SIZES[1:]
    ]
    return _table(("attack", "size", *_arms()), lines)


def _difference() -> str:
    """Robust less plain, over pairs of victims."""
    run = _run(PRETRAINING)
    by_seed = [_rates_of(_of_seed(run, seed)) for seed in sorted({cell.record.seed for cell in run})]
    lines = []
    for task in TASKS:
        texts = []
        for attack in ATTACKS:
            differences = [
                rates[attack, task, size, 1].value - rates[attack, task, size, 0].value
                for rates in by_seed
                for size in SIZES[1:]
            ]
            half = float(student.ppf(0.975, len(differences) - 1)) * stdev(differences) / len(differences) ** 0.5
            middle = mean(differences)
            texts.append(_signed_interval(middle, middle - half, middle + half))
        lines.append([f"`{task}`", *texts])
    return _table(("robust less plain", *(f"`{attack}`" for attack in ATTACKS)), lines)


def _victims() -> str:
    """Clean accuracy and silhouette of the last layer."""
    clean = {
        (section["task"], *_arm(row["victim"])): _share(row["clean"]["value"])
        for section in _sections(PRETRAINING)
        for row in section["rows"]
    }
    last: dict[tuple[str, str, int], str] = {}
    for one in class_separation(_run(PRETRAINING)):  # by layer, the last one last
        last[one.task, *_arm(one.victim)] = signed(one.mean).replace("0.", ".", 1)
    lines = [
        [name, *(", ".join(of[task, size, views] for size in SIZES[1:]) for task in TASKS for views in (0, 1))]
        for name, of in (("clean accuracy", clean), ("silhouette of the last layer", last))
    ]
    return _table(("by size: 26k, 57k, 150k", *_arms()), lines)


TABLES: dict[str, Callable[[], str]] = {
    "rounds": _rounds,
    "equal_compute": _equal_compute,
    "lines": _lines,
    "complexity": _complexity,
    "attacked": _attacked,
    "difference": _difference,
    "victims": _victims,
}


@cache
def _run(spec: str) -> Run:
    (entry,) = (ROOT / "leaderboard" / "entries").glob(f"{spec}-[0-9]*.json")
    return read_one(entry)


@cache
def _counts(spec: str) -> CountTable:
    return count_table(_run(spec))


@cache
def _sections(spec: str) -> Sequence[Any]:
    return payload([_run(spec)], standings([_run(spec)], None, 1, "victim"))["sections"]


def _rates_of(run: Run) -> dict[tuple[str, str, str, int], Any]:
    """ASR by attack, task, size and views, at the smallest full budget of each victim's attacks."""
    return {
        (attack, column.task, *_arm(column.victim)): entry.asr
        for table in attack_tables([run])
        for attack, row in zip(table.attacks, table.entries, strict=True)
        for column, entry in zip(table.columns, row, strict=True)
        if entry is not None and entry.asr is not None
    }


def _of_seed(run: Run, seed: int) -> Run:
    cells = tuple(cell for cell in run if cell.record.seed == seed)
    return Run(run.path, run.info, cells, run.failed, run.unfinished)


def _arm(victim: str) -> tuple[str, int]:
    """Size and views of a victim of the pretraining spec."""
    found = re.search(r"size=(\w+), pretrain.views=(\d)", victim)
    assert found is not None, victim
    return found[1], int(found[2])


def _arms() -> list[str]:
    return [f"`{task}`, {arm}" for task in TASKS for arm in ("plain", "robust")]


def _trained_by(label: str) -> str:
    """The attack that a defense's label says it trains against."""
    return label if label == "none" else label.partition("attack=")[2].rstrip(")")


def _name(by: str) -> str:
    return "`adc`, tuned" if by == "adc" else f"`{by}`"


def _size(group: Any) -> str:
    return str(group["victim"]).removeprefix("tiny ")


def _in_order(keys: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    return sorted(keys, key=lambda key: (SIZES.index(key[0]), DEFENSES.index(key[1])))


def _share(value: float) -> str:
    return f"{value:.3f}".removeprefix("0")


def _two(value: float) -> str:
    return f"{value:.2f}".removeprefix("0")


def _interval(value: float, low: float, high: float) -> str:
    return f"{_two(value)} [{_two(low)}, {_two(high)}]"


def _signed_interval(value: float, low: float, high: float) -> str:
    return f"{_signed(value)} [{_signed(low)}, {_signed(high)}]"


def _signed(value: float) -> str:
    return signed(round(value, 2) + 0.0)  # no −0.00


def _rate(rate: Any) -> str:
    return _interval(rate["value"], rate["low"], rate["high"])


def _p(value: float) -> str:
    return "< .001" if value < 0.001 else "= " + f"{value:.3f}".removeprefix("0")


def _table(heads: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    rows = [heads, *lines]
    first, *others = [f"| {' | '.join(row)} |\n" for row in rows]
    return "".join([first, "|" + "---|" * len(heads) + "\n", *others])


if __name__ == "__main__":
    for page, text in pages():
        page.write_text(text, encoding="utf-8")
