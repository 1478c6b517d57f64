"""A judge compared with people: its verdicts on answers that they have judged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from harness.api.judge import Answer
from harness.api.task import Chunk, Edit, Example, TaskData
from harness.engine.defended.victim import DefendedVictim
from harness.engine.search.judging import JudgeRunner
from harness.engine.search.router import ModelRouter
from harness.errors import DataError, PluginError
from harness.hashing import path_digest
from harness.records.judge_calibration import JudgeCalibration
from harness.registry.registry import Registry
from harness.registry.resolved_plugin import ResolvedPlugin
from harness.run.calibration.labelled_answers import LabelledAnswer
from harness.run.cell.base_record import plugin_record
from harness.run.prepare.artifacts import Artifacts
from harness.run.prepare.auxiliary_models import ModelFinder
from harness.run.prepare.task_data import TaskDataCache
from harness.tokens.special_tokens import EVERYWHERE, special_tokens_in


def calibrate(
    judge: ResolvedPlugin, answers: Sequence[LabelledAnswer], source: Path, registry: Registry, artifacts: Artifacts
) -> JudgeCalibration:
    """Have a judge read the answers, and count where it says what people say.

    Args:
        source: the file that the answers are from.

    Raises:
        DataError: the judge reads labels, or people found all answers alike.
        PluginError, VictimError: the judge or a model that it asks fails.
    """
    if judge.plugin.reads != "text":
        raise DataError(f"judge {judge.name} reads labels, so there are no errors that people could find")
    if len({one.success for one in answers}) < 2:
        raise DataError(
            f"{source}: people gave all answers the same label; give successes and failures of the attacker"
        )
    cases = [(_example(i, one), Answer(None, (), float("nan"), one.answer)) for i, one in enumerate(answers)]
    verdicts = [verdict for verdict, _ in judge_runner(judge, registry, artifacts).verdicts(cases)]
    counts: Counter[str] = Counter()
    for one, (_, said), verdict in zip(answers, cases, verdicts, strict=True):
        if said.missing or verdict.unparseable:
            counts["no_answer" if said.missing else "unparseable"] += 1
        elif one.success:
            counts["true_positive" if verdict.success else "false_negative"] += 1
        else:
            counts["false_positive" if verdict.success else "true_negative"] += 1
    found = JudgeCalibration(
        judge=plugin_record(judge),
        file=source.name,
        sha256=path_digest(source),
        true_positive=counts["true_positive"],
        false_negative=counts["false_negative"],
        true_negative=counts["true_negative"],
        false_positive=counts["false_positive"],
        unparseable=counts["unparseable"],
        no_answer=counts["no_answer"],
    )
    if not (found.successes and found.failures):
        raise DataError(
            f"{source}: the judge gave no verdict on {'failures' if found.successes else 'successes'}, of "
            f"{counts['unparseable']} answers that it could not read; look at its model and its template"
        )
    return found


def judge_runner(judge: ResolvedPlugin, registry: Registry, artifacts: Artifacts) -> JudgeRunner:
    """A judge with its models, made ready and loaded, where no victim is asked.

    Raises:
        PluginError, VictimError: a model is not named, or cannot be had.
    """
    finder, models = ModelFinder(registry, TaskDataCache()), {}
    for name, declared in judge.plugin.models().items():
        if declared.victim is None:
            raise PluginError(f"judge {judge.name}: model '{name}' is not named; name a victim for it")
        data = TaskData(declared.labels, (), ())
        spec = finder.model(registry.resolve("victim", declared.victim), data, 0, training_threads=1)
        artifact = artifacts.model(spec, f"for {name} of judge {judge.name}")
        artifacts.reporter.stage(f"load {spec.victim.label}")
        with special_tokens_in(EVERYWHERE):  # as where cells open a judge's models
            backend = spec.victim.plugin.open(artifacts.folder(artifact), data)
        models[name] = DefendedVictim(backend, labels=data.labels, answer_tokens=data.answer_tokens)
    return JudgeRunner(judge.plugin, ModelRouter(None, models))


def _example(number: int, one: LabelledAnswer) -> Example:
    return Example(f"labelled-{number:05d}", (Chunk(one.prompt, Edit.PERTURBABLE),), target=" Sure, here")
