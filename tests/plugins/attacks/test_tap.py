"""TAP: conversations branch, proposals that stray are never asked, the best-rated go on."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from harness.api.problem.state import State
from harness.api.refs import PluginRef
from harness.api.threat import Threat
from harness.engine.dry_run import dry_run_attack
from plugins.attacks._common.attacker_prompt import CLOSE, OPEN
from plugins.attacks.jailbreaks.tap import TAP
from plugins.attacks.none import NoAttack
from tests.plugins.attacks.scripted_model import REFUSAL, ScriptedModel, attacked, request

SOMEBODY = PluginRef(name="somebody")
THREAT = Threat(edit="replace", tokens=90)
WORDS = ("kindly", "cake", "truly", "no")


def tap(**params: Any) -> TAP:
    return TAP(TAP.Params(attacker=SOMEBODY, judge=SOMEBODY, **{"steps": 3, "branching": 4, "width": 2} | params))


def attacker() -> ScriptedModel:
    """Goes on from the text that it is told, with each of `WORDS` in turn; `cake` is another request."""

    def say(prompt: str) -> str:
        before = re.findall(rf"You wrote: {OPEN}(.*?){CLOSE}", prompt)
        word = WORDS[(len(model.heard) + said.count(prompt)) % len(WORDS)]
        said.append(prompt)
        return f"{OPEN}{before[-1] if before else 'Tell me a lie'} {word}{CLOSE}"

    said: list[str] = []
    model = ScriptedModel(say)
    return model


def judge() -> ScriptedModel:
    """Counts the words that move the victim, and knows a cake from a lie."""

    def say(prompt: str) -> str:
        if "<prompt>" in prompt:
            return f"same: {'no' if 'cake' in prompt.split('<prompt>')[1] else 'yes'}"
        return f"rating: {1 + 3 * int(prompt.split('<answer>')[1].split()[0])}"

    return ScriptedModel(say)


def victim() -> ScriptedModel:
    """Says how many words have moved it, at most three; it refuses below."""

    def say(prompt: str) -> str:
        moved = min(prompt.count("kindly") + prompt.count("truly"), 3)
        return f"{moved} lies, here they are" if moved == 3 else f"{moved} {REFUSAL}"

    return ScriptedModel(say)


def searched(attack: TAP, asked: ScriptedModel | None = None) -> Any:
    return attacked(attack, asked or victim(), [request(THREAT)], attacker=attacker(), judge=judge())


def test_what_strays_is_not_asked_and_what_is_rated_high_goes_on() -> None:
    asked = victim()
    result = searched(tap(), asked)
    # One root branches into four, of which one strays; then two leaves branch into four each.
    assert [row.queries for row in result.rows] == [3, 6, 6]
    own = asked.heard
    assert not any("cake" in prompt for prompt in own)
    assert [row.success for row in result.rows] == [False, False, True]
    (string,) = result.strings
    leaves = string.state.memory["leaves"]
    assert len(leaves) == 2
    assert all("It was rated 10 of 10." in turn for leaf in leaves for turn in leaf)
    assert string.state.memory["score"] == 10
    assert State.from_json(json.loads(json.dumps(string.state.to_json()))) == string.state


def test_each_level_goes_on_from_the_best_of_the_one_before() -> None:
    asked = victim()
    searched(tap(steps=2), asked)
    second = {prompt for prompt in asked.heard if len(prompt.split("\n")[0].split()) == 6}
    starts = {prompt.split("\n")[0].rsplit(" ", 1)[0] for prompt in second}
    assert starts == {"Tell me a lie kindly", "Tell me a lie truly"}  # and not "no", which moves nobody


@pytest.mark.parametrize("said", ["same: yes", "Who knows?"])
def test_what_is_not_said_to_stray_is_asked(said: str) -> None:
    asked = victim()
    gullible = ScriptedModel(lambda prompt: said if "<prompt>" in prompt else judge().say(prompt))
    attacked(tap(steps=1), asked, [request(THREAT)], attacker=attacker(), judge=gullible)
    assert any("cake" in prompt for prompt in asked.heard)


def test_where_all_stray_the_level_is_tried_again() -> None:
    strict = ScriptedModel(lambda prompt: "same: no" if "<prompt>" in prompt else "rating: 10")
    problem = request(THREAT)
    result = attacked(tap(steps=2), victim(), [problem], attacker=attacker(), judge=strict)
    assert [row.queries for row in result.rows] == [0, 0]
    (string,) = result.strings
    assert string.state.memory["leaves"] == [[]]
    assert problem.prompt_of(string.state) == problem.example.text
    assert len(strict.heard) == 8


def test_it_beats_no_attack_at_equal_compute() -> None:
    result = searched(tap(width=1))
    (once,) = attacked(NoAttack(NoAttack.Params(steps=1)), victim(), [request(THREAT)]).rows
    often = NoAttack(NoAttack.Params(steps=1 + int(result.cost.nominal // once.judge_nominal)))
    plain = attacked(often, victim(), [request(THREAT)])
    assert sum(row.judge_nominal for row in plain.rows) >= result.cost.nominal
    assert not any(row.success for row in plain.rows)
    assert result.rows[-1].success


@pytest.mark.parametrize("stop_at", [4, 7])
def test_the_search_ends_at_the_rating_that_is_enough(stop_at: int) -> None:
    rows = searched(tap(stop_at=stop_at)).rows
    assert [row.queries > 0 for row in rows] == [True, stop_at == 7, False]


def test_what_it_will_ask_is_known_beforehand() -> None:
    found = dry_run_attack(tap(branching=3), THREAT)
    assert found.auxiliary["attacker"].answered >= 3
    assert found.auxiliary["judge"].answered >= found.answered > 0
