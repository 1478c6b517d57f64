"""For those who write plugins: checks of what each kind promises, and toys to try a plugin on without a model.

``harness check NAME`` runs the checks on an installed plugin. In pytest a test is marked with the class, and becomes
one test per check::

    @conforms(MyAttack, {"tries": 4})
    def test_my_attack(conformance):
        conformance()

Nothing here imports torch before a check trains or opens a model, and nothing but numpy is needed to make examples up.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.testing.cases import Case, Choose, ToyJudge, made_up, ordinary
    from harness.testing.finding import Check, Finding, NotApplicableError, UnmetError
    from harness.testing.marker import conforms
    from harness.testing.run import check_plugin, checks_for, run_check, run_checks
    from harness.testing.subject import Subject, subject_of
    from harness.testing.tokenizers_of import tokenizer_of
    from harness.testing.toy import ToyBackend, ToyLatent, toy_examples, toy_tokenizer
    from harness.testing.toy_language import ToyLanguageModel
    from harness.testing.troubles import Numberless, Says

_HOMES = {
    "harness.testing.cases": ("Case", "Choose", "ToyJudge", "made_up", "ordinary"),
    "harness.testing.finding": ("Check", "Finding", "NotApplicableError", "UnmetError"),
    "harness.testing.marker": ("conforms",),
    "harness.testing.run": ("check_plugin", "checks_for", "run_check", "run_checks"),
    "harness.testing.subject": ("Subject", "subject_of"),
    "harness.testing.tokenizers_of": ("tokenizer_of",),
    "harness.testing.toy": ("ToyBackend", "ToyLatent", "toy_examples", "toy_tokenizer"),
    "harness.testing.toy_language": ("ToyLanguageModel",),
    "harness.testing.troubles": ("Numberless", "Says"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "Case",
    "Check",
    "Choose",
    "Finding",
    "NotApplicableError",
    "Numberless",
    "Says",
    "Subject",
    "ToyBackend",
    "ToyJudge",
    "ToyLanguageModel",
    "ToyLatent",
    "UnmetError",
    "check_plugin",
    "checks_for",
    "conforms",
    "made_up",
    "ordinary",
    "run_check",
    "run_checks",
    "subject_of",
    "tokenizer_of",
    "toy_examples",
    "toy_tokenizer",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'harness.testing' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
