"""The task `spam` under the name of its corpus."""

from __future__ import annotations

from collections.abc import Callable

from harness import Task, hookimpl
from plugins.tasks.label_sets.spam import Spam


class EnronSpam(Spam):
    """The same task as `spam`: tell spam from wanted mail in the Enron corpus (hub: SetFit/enron_spam)."""

    name = "enron_spam"

    class Params(Spam.Params):
        """Source, columns, labels, prompt."""


@hookimpl
def harness_register_tasks(register: Callable[[type[Task]], None]) -> None:
    """Register EnronSpam."""
    register(EnronSpam)
