"""The field `answers` of a spec: what it may say, what it goes together with, and which keys it changes."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from harness.api.threat import Threat
from harness.cli import main
from harness.spec.answers import AnswerSampling

TOYS = Path(__file__).parents[2] / "harness" / "testing" / "toys" / "registered.py"
JUDGES = Path(__file__).parents[1] / "run" / "letter_judges.py"
SPEC = """
name: s
version: "1"
tasks: [TASK]
victims: [kit_victim]
defenses: [DEFENSE]
attacks: [ATTACK]
threats: [{tokens: 4, access: ACCESS}]
judge: JUDGE
"""


@pytest.mark.parametrize(
    ("more", "changes", "words"),
    [
        ("answers: {samples: 4, temperature: 0}", {}, "answers: 4 answers at temperature 0 are all the same"),
        ("answers: {top_p: 0.5}", {}, "answers: top_p is for answers that are drawn"),
        ("answers: {sample: 4}", {}, "answers.sample: unknown field (did you mean 'samples'?)"),
        ("answers: {samples: 0}", {}, "answers.samples: should be greater than or equal to 1, not 0"),
        ("answers: {samples: 4}\nstop_on_success: true", {}, "stop_on_success: an attack that ends when one"),
        (
            "answers: {samples: 4}",
            {"TASK": "kit_labels", "JUDGE": "wrong_label"},
            "task kit_labels is answered with labels",
        ),
        ("", {"TASK": "kit_labels", "JUDGE": "wrong_label", "tokens: 4": "tokens: 4, asks: 1"}, "remove `asks`"),
        (
            "answers: {samples: 4}",
            {"tokens: 4": "tokens: 4, asks: 5"},
            "threats[0].asks: asks for 5 answers to a string",
        ),
        ("", {"tokens: 4": "tokens: 4, asks: 2"}, "`answers` has 1 drawn; raise answers.samples"),
        ("", {"tokens: 4": "tokens: 4, asks: 2, queries: 1"}, "queries: 1 is too few for asks: 2"),
        (
            "answers: {samples: 4}\njudge_draws: 3",
            {"DEFENSE": "retokenization: {dropout: 0.3}"},
            "judge_draws: each of the 4 answers is a draw of defense",
        ),
        (
            "",
            {"DEFENSE": "retokenization: {dropout: 0.3}", "tokens: 4": "tokens: 4, asks: 1"},
            "draws at random: write answers: {samples: N}",
        ),
        (
            "answers: {samples: 4}",
            {"ATTACK": "latent", "ACCESS": "latent, radius: 1.0"},
            "attacks[0]: perturbs activations, and such answers are always greedy",
        ),
    ],
)
def test_what_does_not_go_together_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: str, changes: dict[str, str], words: str
) -> None:
    text = SPEC + more + "\n"
    plain = {"TASK": "kit_text", "JUDGE": "early_letter", "ATTACK": "none", "DEFENSE": "none", "ACCESS": "scores"}
    for name, value in (plain | changes).items():
        text = text.replace(name, value)
    (tmp_path / "s.yaml").write_text(text, encoding="utf-8")
    plugins = (f"--plugin={TOYS}", f"--plugin={JUDGES}")
    assert main([*plugins, "validate", "--spec-only", str(tmp_path / "s.yaml")]) != 0
    told = capsys.readouterr()
    assert words in " ".join((told.out + told.err).split())


def test_what_is_the_default_has_no_identity() -> None:
    assert AnswerSampling().identity() is AnswerSampling(samples=1, temperature=0).identity() is None
    assert AnswerSampling(samples=2).identity() == AnswerSampling(samples=2, temperature=1.0).identity()
    assert AnswerSampling(max_tokens=8).identity() != AnswerSampling(max_tokens=9).identity()
    assert AnswerSampling(samples=2, max_tokens=9).longest(64) == 9
    assert AnswerSampling(samples=2).longest(64) == 64
    with pytest.raises(ValidationError):
        AnswerSampling(temperature=float("inf"))


def test_a_threat_without_asks_is_what_it_was() -> None:
    assert "asks" not in Threat().model_dump(mode="json")
    assert "asks" not in Threat().identity()
    assert Threat(asks=3).identity()["asks"] == 3
    assert Threat(asks=3).label().endswith(", 3 asks")
    assert Threat(asks=3).unlimited() == Threat()
