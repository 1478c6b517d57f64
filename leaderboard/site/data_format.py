"""The form of ``data.json``, which the pages, the downloads and the figures are made of.

No prompt, attack string or answer is in it: those stand on the pages of victims alone, made of the columns that
`harness.records.schema` has. Attack compute is in FLOPs per attacked example, nominal; null where unknown. Keys that
only one kind of page has are marked as not required.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NotRequired, TypedDict

from leaderboard.site.contents.others import OthersJson
from leaderboard.standings.json_numbers import RateJson


class BandJson(TypedDict):
    """A fitted curve and its 95% interval at some amounts of compute: of the attack, or of the defense as a fraction of
    the reference compute.
    """

    compute: NotRequired[list[float]]
    defense: NotRequired[list[float]]
    value: list[float]
    low: list[float]
    high: list[float]


class FitJson(TypedDict):
    """A fit, whichever method made it; ``slope`` is null where there is not enough data, and ``note`` says why. Else
    ``note`` is what a reader should know of the fit, or "".
    """

    method: str
    slope: float | None
    slope_low: float | None
    slope_high: float | None
    intercept: float | None
    n: int
    n_censored: NotRequired[int]
    note: str
    interval: NotRequired[str]
    asymptote: NotRequired[float]
    asymptote_low: NotRequired[float]
    asymptote_high: NotRequired[float]
    saturation_p: NotRequired[float]
    band: NotRequired[BandJson]  # of an offense-defense fit


class PointsJson(TypedDict):
    """The points of a curve, a list for each quantity; ``trials`` is the same for all. Of an attack by step, of all
    attacks together by the budget of each.
    """

    step: NotRequired[list[int]]
    budget: NotRequired[list[float]]
    compute: list[float | None]
    queries: list[float | None]
    value: list[float]
    low: list[float]
    high: list[float]
    successes: list[int]
    trials: int


class CostToBreakJson(TypedDict):
    """`leaderboard.standings.cost_to_break.CostToBreak`; ``within`` is the budget."""

    reached: bool
    compute: float | None
    low: float | None
    high: float | None
    attack: str
    within: float | None
    queries: float
    seeds: int


class AsrAtJson(TypedDict):
    """ASR@j at full budget, of an attacker who may ask j times with each string: a list per quantity, by j; compute and
    queries with the j answers to each string.
    """

    asks: list[int]
    value: list[float]
    low: list[float]
    high: list[float]
    compute: list[float | None]
    queries: list[float]


class CurveJson(TypedDict):
    """One attack: some of its points (all ``steps`` of a short curve), its fit, and what it costs to break by it."""

    attack: str
    seeds: int
    steps: int
    points: PointsJson
    fit: FitJson | None
    band: BandJson | None
    breaking: CostToBreakJson | None
    asr_at: NotRequired[AsrAtJson]


class WorstCaseJson(TypedDict):
    """All attacks together."""

    attacks: list[str]
    compared: int
    attacked: int
    budget_in: str
    points: PointsJson


class StrongestJson(RateJson):
    """The strongest attack's ASR at full budget."""

    attack: str


class AnsweredJson(RateJson):
    """Share of prompts that end as the attacker wants, with or without an attack; ``clean``: how many of its successes
    without one; ``benign``: whether the prompts are harmless and were refused, else harmful and answered.
    """

    clean: int
    benign: bool


class DifferenceJson(TypedDict):
    """A share less another, with its 95% interval; see `leaderboard.fit.compared.paired_difference`."""

    value: float
    low: float
    high: float
    pairs: int  # an example counts once for each seed
    known_by_number: int  # of the pairs, those whose examples no row lists
    seeds: int


class UtilityJson(TypedDict):
    """`leaderboard.standings.utility.measures.Utility`: a share of clean examples, what the defense loses of it, and
    where the row stands on the front of its victim and of the table.
    """

    task: str
    name: str
    measure: str
    own: bool
    bounded: bool
    remade: bool
    note: str
    rate: RateJson | None
    loss: DifferenceJson | None
    front_of_victim: str | None
    front_of_table: str | None


class HeldJson(TypedDict):
    """The share that no attack broke, with its 95% interval."""

    value: float
    low: float
    high: float


class CorrectedJson(TypedDict):
    """ASR of the strings that an attack ended with, as judged and without the judge's errors; null where ``note`` says
    why. ``clipped``: whether the estimate lay beyond 0 or 1, and was cut there.
    """

    attack: str
    seen: RateJson | None
    value: float | None
    low: float | None
    high: float | None
    clipped: bool
    note: str


class DirectionJson(RateJson):
    """ASR at full budget of the examples of one label that the attacker wants to have another."""

    name: str
    label: int
    target: int | None


class UnderAttackJson(TypedDict):
    """`leaderboard.standings.utility.under_attack.UtilityUnderAttack`: the share of answers that do what the user
    asked, clean and under each attack.
    """

    clean: RateJson
    attacked: list[StrongestJson]


class StandingJson(TypedDict):
    """A row: `leaderboard.standings.standing.Standing`, less its records. ``entry`` is the id of victim and defense,
    ``series`` the row's name in legends, ``rank`` the best that it may have.
    """

    id: str
    entry: str
    series: str
    rank: int | None
    worst_rank: NotRequired[int | None]
    ranked: NotRequired[int | None]  # how many rows are ranked together with it, itself included
    harder_than: NotRequired[list[str]]  # ids of the rows that it is certainly harder to break than
    rank_note: NotRequired[str]
    comparable: NotRequired[bool]  # whether it may be compared with the other rows of its table, told apart or not
    missing: NotRequired[list[dict[str, Any]]]  # attack, seed and round of cells of the row that have no numbers
    victim: str
    family: str
    n_params: int | None
    defense: str
    round: int | None
    marks: list[str]
    near_chance: NotRequired[bool]  # whether it is hardly better than guessing at clean examples
    seeds: NotRequired[int]
    examples: NotRequired[int]
    clean: RateJson | None
    answered: NotRequired[AnsweredJson | None]  # of answers in text
    utilities: NotRequired[list[UtilityJson]]
    under_attack: NotRequired[UnderAttackJson | None]  # null where no example tells what the user asked
    utility_notes: NotRequired[list[str]]  # why its loss of utility cannot be told apart from the limit of the spec
    held: NotRequired[HeldJson | None]
    no_point: NotRequired[str]  # why its robustness cannot be compared with that of the others; "" where it can
    asr: RateJson | None
    corrected: NotRequired[CorrectedJson | None]  # null where records name no calibration of the judge
    directions: NotRequired[list[DirectionJson]]
    one_direction: NotRequired[bool]  # whether one direction accounts for the rate
    strongest: StrongestJson | None
    breaking: CostToBreakJson | None
    defense_compute: float | None
    trained_against: NotRequired[str]
    preparation_compute: NotRequired[float | None]
    reference_compute: float | None
    breaking_of_reference: NotRequired[float | None]
    overhead: dict[str, float | None] | None  # flops and ratio
    balance: FitJson | None
    worst: WorstCaseJson | None
    replayed: NotRequired[list[str]]
    missing_answers: NotRequired[int]
    missing_clean: NotRequired[int]
    unparseable: NotRequired[int]
    unparseable_clean: NotRequired[int]
    failures: NotRequired[Mapping[str, int]]
    excluded: NotRequired[Mapping[str, int]]  # reason to how many examples were not attacked for it
    curves: list[CurveJson]
    others: NotRequired[OthersJson]  # claims, the same cells run again, errata
    path: NotRequired[str]  # of a published table: which rows a line joins, and which share a colour
    group: NotRequired[str]


class SectionJson(TypedDict):
    """A table: `leaderboard.data.comparable_cells.Section` and its rows."""

    id: str
    task: str
    threat: str
    spec_name: NotRequired[str]
    spec_version: NotRequired[str]
    spec_hash: NotRequired[str]
    data_hash: NotRequired[str]
    accounting: NotRequired[str]
    judge: NotRequired[str]
    stop_on_success: NotRequired[bool]
    target_asr: float
    rank_unit: NotRequired[str]
    clean_floor: NotRequired[float]
    max_loss: NotRequired[float | None]  # of utility, with which a row is ranked
    utility_tasks: NotRequired[list[str]]
    missing: NotRequired[int]  # cells that the spec asks for and that have no numbers
    missing_rows: NotRequired[list[str]]  # victims and defenses of which no cell has
    space: NotRequired[str]
    apart: NotRequired[str]
    notice: NotRequired[str]
    clean: str
    rows: list[StandingJson]
    failed: NotRequired[list[dict[str, Any]]]  # victim, defense, attack, seed and error of cells that raised


class SiteJson(TypedDict):
    """The whole of ``data.json`` of a site."""

    format: int
    runs: list[dict[str, Any]]
    transfer: list[dict[str, Any]]
    judges: list[dict[str, Any]]  # `leaderboard.site.texts.judge_text.JudgeComparisonJson`
    sections: Sequence[SectionJson]
