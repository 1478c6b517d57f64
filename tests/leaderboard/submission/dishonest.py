"""Files of a dishonest lab: consistent in themselves, so that only the victim can tell. What a replay says of each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.leaderboard.submission import forge
from tests.leaderboard.submission.forge import Parts, diagnosed, with_cells, with_rows
from tests.leaderboard.submission.hostile import Make
from tests.leaderboard.submission.hostile_table import SAID

Row = dict[str, Any]


def forged(parts: Parts, out: Path) -> Path:
    """A submission in which all that a file can tell fits together."""
    return forge.forged(diagnosed(parts), out)


def successes_failed(reason: str, text: bool = False, **fields: Any) -> Make:
    """Every success counts as failed without a verdict."""

    def change(found: list[Row]) -> None:
        for row in found:
            if row["success"]:
                row |= {name: None for name in SAID if not (text and name == "attack_text")}
                row |= {"success": False, "failure": reason} | fields

    return lambda parts, out: forged(with_rows(parts, change), out) and None


def broken_left_out(reason: str, **fields: Any) -> Make:
    """The examples that any attack breaks are not attacked, in all cells alike; all counts fit."""

    def make(parts: Parts, out: Path) -> None:
        broken = set[str]()
        wrong = 0

        def rows(found: list[Row]) -> list[Row]:
            nonlocal wrong
            broken.update(row["example"] for row in found if row["success"])
            wrong = len(broken) if reason == "already wrong" or "blocked" in reason else 0
            kept = [row for row in found if row["step"] == 0 or row["example"] not in broken]
            for row in kept:
                if row["example"] in broken:
                    row |= {"attacked": False, "excluded": reason} | fields
                    if reason == "already wrong":
                        row["predicted"] = 1 - row["label"]
            return kept

        def cells(found: list[Row]) -> None:
            for cell in found:
                cell["n_attacked"] -= len(broken)
                cell["n_clean_correct"] -= wrong

        forged(with_cells(with_rows(parts, rows), cells), out)

    return make


def steps(change: Callable[[Row], Any]) -> Make:
    """Each judged step changed."""

    def rows(found: list[Row]) -> None:
        for row in found:
            if row["step"] and row["failure"] is None:
                change(row)

    return lambda parts, out: forged(with_rows(parts, rows), out) and None


def cells(change: Callable[[Row], Any]) -> Make:
    """Each cell's manifest changed."""
    return lambda parts, out: (
        forged(with_cells(parts, lambda found: [change(cell) for cell in found] and None), out) and None
    )


def _never_broken(row: Row) -> None:
    row["loss"] += 39 if not row["success"] else 0


def _other_tokens(row: Row) -> None:
    row["attack_tokens"] = row["attack_tokens"][:-1]


def _foreign_tokens(row: Row) -> None:
    if row["success"]:
        row["attack_tokens"] = [10**6, *row["attack_tokens"][1:]]


def _merged(row: Row) -> None:
    """A text that goes on beyond its tokens."""
    if row["success"]:
        row["attack_text"] += " and a good deal more than the threat model allows"


def _helper(cell: Row) -> Row:
    return {
        "victim": cell["victim"],
        "n_params": 10**9,
        "preparation": {"nominal": 1.0, "executed": 1.0},
        "artifact": cell["victim_facts"]["artifact"],
    }


def _clean(cell: Row) -> None:
    """Of those that are not listed others were right."""
    cell["n_clean_correct"] -= 3


def _not_served(cell: Row) -> None:
    """A clean prompt that was wrong counts neither way."""
    cell["agreement"] = cell["agreement"] | {"server": "x"}
    cell["n_clean_missing"] = 1
    cell["n_clean_correct"] -= 1


def _too_long(cell: Row) -> None:
    cell["n_too_long"] = 1
    cell["n_clean_correct"] -= 1


def _not_judged(row: Row) -> None:
    row["unparseable"] = not row["success"]


def _wanted_otherwise(parts: Parts, out: Path) -> None:
    def rows(found: list[Row]) -> None:
        for row in found:
            if row["step"] == 0:
                row["target"] = row["label"] + 2

    forged(with_rows(parts, rows), out)


DISHONEST: dict[str, tuple[Make, str]] = {
    "successes that did not survive as text": (
        successes_failed("retokenisation"),
        "'retokenisation'.* and a success here",
    ),
    "successes of tokens that are not allowed": (
        successes_failed("token not allowed"),
        "'token not allowed'.* and a success here",
    ),
    "successes longer than the context": (
        successes_failed("longer than the context", text=True),
        "'longer than the context'.* and a success here",
    ),
    "broken examples that were wrong already": (broken_left_out("already wrong"), "its clean prompt got label"),
    "broken examples that were blocked": (
        broken_left_out("blocked when clean", predicted=None),
        "its clean prompt got label",
    ),
    "broken examples that were too long": (
        broken_left_out("too long: 900 tokens with the attack string, context 512"),
        r"not attacked \(too long.*attacked here",
    ),
    "successes by tokens that nobody may use": (
        steps(_foreign_tokens),
        "'token not allowed'.* here",
    ),
    "strings that merge with their neighbours": (steps(_merged), "do not make its text|'retokenisation'.* here"),
    "losses of its own": (steps(_never_broken), "its loss is"),
    "tokens that are not those of its text": (steps(_other_tokens), "its tokens do not make its text here"),
    "another clean accuracy than there is": (cells(_clean), "clean examples are right in the records"),
    "clean prompts at a price of its own": (
        cells(lambda cell: cell["clean_compute"].update(nominal=9 * cell["clean_compute"]["nominal"])),
        "its clean prompts took",
    ),
    "a family of its own": (cells(lambda cell: cell["victim_facts"].update(family="gpt-5")), "victim_facts.family is"),
    "a remark about its defense": (
        cells(lambda cell: cell["defense_facts"].update(notes={"audit": "passed"})),
        "defense_facts.notes.audit is 'passed'",
    ),
    "prompts that anybody would answer": (cells(lambda cell: cell.update(benign=True)), "its prompts are benign"),
    "strings that it says were found elsewhere": (
        cells(lambda cell: cell.update(attack_facts={"source": {"victim": "large"}})),
        "attack_facts.source.victim is",
    ),
    "a model that nobody asked": (
        cells(lambda cell: cell.update(auxiliary={"helper": _helper(cell)})),
        "auxiliary.helper",
    ),
    "wrong clean prompts that a server did not answer": (cells(_not_served), "clean examples got no answer in the"),
    "clean prompts too long": (cells(_too_long), "are too long in the records, 0 here"),
    "labels by other names": (cells(lambda cell: cell.update(labels=["SAFE", "SAFER"])), "its labels are"),
    "labels that the attacker does not want": (_wanted_otherwise, "its target is"),
    "failures that nobody could judge": (steps(_not_judged), "could not be judged in the records"),
    "a chat template that nobody used": (
        cells(lambda cell: cell["agreement"].update(chat={"template": "f" * 20, "system": "Be safe."})),
        "agreement.chat.system is 'Be safe.'",
    ),
    "an overhead of its own": (
        cells(lambda cell: cell["defense_facts"]["per_answer"].update(nominal=1.0)),
        "defense_facts.per_answer.nominal is",
    ),
}
