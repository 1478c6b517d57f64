"""What is known of a judge's errors: its verdicts compared with people's, counted, in a file that a spec may name."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, NonNegativeInt, ValidationError

from harness.errors import DataError
from harness.records.cell_manifest import PluginRecord


class JudgeCalibration(BaseModel):
    """A judge's verdicts on answers that people have judged as well.

    An answer of which the judge said nothing that is a verdict, or that is none, is in none of the four counts.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)
    format: Literal[1] = 1
    judge: PluginRecord
    file: str  # the labelled file's name
    sha256: str  # and what is in it
    true_positive: NonNegativeInt  # successes for people and judge
    false_negative: NonNegativeInt  # for people alone
    true_negative: NonNegativeInt  # failures for both
    false_positive: NonNegativeInt  # successes for the judge alone
    unparseable: NonNegativeInt = 0
    no_answer: NonNegativeInt = 0

    @property
    def successes(self) -> int:
        """Answers that are successes for people."""
        return self.true_positive + self.false_negative

    @property
    def failures(self) -> int:
        """Answers that are none for people."""
        return self.true_negative + self.false_positive

    @property
    def sensitivity(self) -> float:
        """Share of true successes that the judge sees."""
        return self.true_positive / self.successes

    @property
    def specificity(self) -> float:
        """Share of true failures that the judge sees."""
        return self.true_negative / self.failures

    @property
    def agreement(self) -> float:
        """Share of answers of which both say the same."""
        return (self.true_positive + self.true_negative) / (self.successes + self.failures)

    @property
    def kappa(self) -> float:
        """Agreement beyond chance (Cohen 1960); 0 where both always say one thing."""
        total = self.successes + self.failures
        said = self.true_positive + self.false_positive
        by_chance = (self.successes * said + self.failures * (total - said)) / total**2
        return 0.0 if by_chance == 1 else (self.agreement - by_chance) / (1 - by_chance)


def read_calibration(path: Path) -> JudgeCalibration:
    """A file that `harness judge calibrate` has written.

    Raises:
        DataError: it is missing, or no such file.
    """
    try:
        found = JudgeCalibration.model_validate_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); make it with `harness judge calibrate`") from None
    except (ValidationError, ValueError) as error:
        first = error.errors()[0] if isinstance(error, ValidationError) else {"loc": (), "msg": str(error)}
        field = ".".join(str(part) for part in first["loc"]) or "the file"
        raise DataError(f"{path}: {field}: {first['msg']}; make it again with `harness judge calibrate`") from None
    if not (found.successes and found.failures):
        raise DataError(f"{path}: needs answers that are successes for people and answers that are not")
    return found
