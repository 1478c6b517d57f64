"""What of a spec does not go together with answers that are drawn, or asked for by the attacker."""

from __future__ import annotations

import numpy as np

from harness.registry.defense_stack import is_randomised
from harness.spec.axes import Axes
from harness.spec.exclude import Mask
from harness.spec.fields import Spec
from harness.spec.spec_problems import SpecProblem


def check_sampling(spec: Spec, axes: Axes, left: Mask, problems: list[SpecProblem]) -> None:
    """Add what does not go together to ``problems``.

    Args:
        left: the cells that are not excluded, as `harness.spec.exclude.remaining_cells` gives them.
    """
    labelled = [task.label for task in axes.tasks.plugins if task.plugin.answers != "text"]
    asking = [index for index, threat in enumerate(axes.threats) if threat.asks is not None]
    if labelled and spec.answers.identity() is not None:
        message = f"task {labelled[0]} is answered with labels; remove `answers`, which is for tasks answered in text"
        problems.append(SpecProblem(("answers",), message))
    if labelled:
        message = f"task {labelled[0]} is answered with labels; remove `asks`, which is for tasks answered in text"
        problems.extend(SpecProblem(("threats", index, "asks"), message) for index in asking)
        return
    for index in asking:
        if (axes.threats[index].asks or 0) > spec.answers.samples:
            message = (
                f"asks for {axes.threats[index].asks} answers to a string, and `answers` has {spec.answers.samples} "
                "drawn; raise answers.samples"
            )
            problems.append(SpecProblem(("threats", index, "asks"), message))
    random = _random_defenses(axes, left)
    if not spec.answers.drawn:
        if asking and random:
            message = f"defense {random[0]} draws at random: write answers: {{samples: N}}, one draw for each answer"
            problems.append(SpecProblem(("threats", asking[0], "asks"), message))
        return
    if spec.stop_on_success:
        message = (
            "an attack that ends when one of several drawn answers is a success says little about the others; remove"
        )
        problems.append(SpecProblem(("stop_on_success",), f"{message} it, or `answers`"))
    if random and "judge_draws" in spec.model_fields_set:
        message = f"each of the {spec.answers.samples} answers is a draw of defense {random[0]} too; remove judge_draws"
        problems.append(SpecProblem(("judge_draws",), message))
    by_attack = np.asarray(left.any(axis=(0, 1, 2, 4, 5)))
    for index, attack in enumerate(axes.attacks.plugins):
        if by_attack[index] and attack.plugin.access == "latent":
            message = "perturbs activations, and such answers are always greedy; exclude it, or remove `answers`"
            problems.append(SpecProblem(("attacks", index), message))


def _random_defenses(axes: Axes, left: Mask) -> list[str]:
    """Labels of the defenses that draw at random."""
    used = np.asarray(left.any(axis=(0, 1, 3, 4, 5)))
    indices = dict.fromkeys(defense for (defense, _), any_left in zip(axes.variants, used, strict=True) if any_left)
    plugins = [axes.defenses.plugins[index] for index in indices]
    return [plugin.label for plugin in plugins if is_randomised(plugin)]
