"""Figures for papers: each kind in each form, from records."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from harness.cli import main
from harness.errors import DataError
from harness.records.read import Run, read_run
from leaderboard.figures.attack_panels import draw_attack_scaling
from leaderboard.figures.defense_panels import draw_sample_efficiency
from leaderboard.figures.kinds import FigureKind
from leaderboard.figures.plot import plot
from leaderboard.figures.style import COLOURS, Looks
from leaderboard.site.site_data import payload
from leaderboard.standings.standings import standings
from tests.leaderboard.fake_quickstart import quickstart_cells
from tests.leaderboard.fake_run import FakeCell, write_run

STARTS = {"pdf": b"%PDF", "png": b"\x89PNG", "svg": b"<?xml"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    cells = quickstart_cells(seeds=1, tasks=["word_length"])
    cells += [replace(c, round=2, defense_flops=c.defense_flops / 2) for c in cells if c.round == 4]
    return write_run(tmp_path_factory.mktemp("figures") / "run", cells)


@pytest.fixture(scope="module")
def run(folder: Path) -> Run:
    return read_run(folder)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "form"), [*((kind, "pdf") for kind in FigureKind), *((FigureKind.attack_scaling, f) for f in STARTS)]
)
def test_every_kind_and_form(run: Run, tmp_path: Path, kind: FigureKind, form: str) -> None:
    out = tmp_path / f"fig.{form}"
    plot([run], out, kind)
    assert out.read_bytes().startswith(STARTS[form])


@pytest.mark.slow
def test_the_same_records_give_the_same_bytes(run: Run, tmp_path: Path) -> None:
    for form in STARTS:
        pair = [tmp_path / f"{name}.{form}" for name in ("one", "two")]
        for out in pair:
            plot([run], out)
        assert pair[0].read_bytes() == pair[1].read_bytes()


def test_lines_are_the_numbers_of_the_payload(run: Run) -> None:
    (section,) = payload([run], standings([run]))["sections"]
    row = section["rows"][-1]
    axes = Figure().subplots()
    assert draw_attack_scaling(axes, section, [row], False, Looks()) == 1
    curve = next(curve for curve in row["curves"] if curve["attack"] == row["strongest"]["attack"])
    shown = [(x, y) for x, y in zip(curve["points"]["compute"], curve["points"]["value"], strict=True) if y > 0]
    assert [tuple(point) for point in axes.lines[0].get_xydata().tolist()] == shown  # type: ignore[union-attr]
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    axes = Figure().subplots()
    assert draw_sample_efficiency(axes, section, section["rows"], False, Looks()) == 3
    assert all(line.get_xdata().tolist() == [0, 1, 2, 4] for line in axes.lines[:3])  # type: ignore[union-attr]


def test_the_command(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "fig.svg"
    assert main(["plot", str(folder), "--out", str(out), "--kind", "offense-defense", "--task", "word_length"]) == 0
    assert "slope 1" in out.read_text()
    assert f"Wrote {out}" in capsys.readouterr().out.replace("\n", "")


def drawn(runs: list[Run], out: Path, kind: FigureKind, monkeypatch: pytest.MonkeyPatch) -> Figure:
    """The figure itself, laid out as it is written."""
    seen: list[Figure] = []
    save = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *args, **more: (seen.append(self), save(self, *args, **more)))
    plot(runs, out, kind)
    (figure,) = seen
    return figure


def test_a_victim_has_one_colour_in_all_panels_and_small_ones_come_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ranks differ from task to task."""
    sizes = {"large": (900_000, 9.0, 10.4), "small": (7_000, 10.4, 9.0), "middle": (50_000, 9.7, 9.7)}
    cells = [
        FakeCell(task=task, victim=victim, n_params=n_params, hardness=hardness, seed=seed)
        for victim, (n_params, *of_task) in sizes.items()
        for task, hardness in zip(("a", "b"), of_task, strict=True)
        for seed in (0, 1)
    ]
    run = read_run(write_run(tmp_path / "run", cells))
    figure = drawn([run], tmp_path / "fig.svg", FigureKind.attack_scaling, monkeypatch)
    panels = [
        {line.get_label(): line.get_color() for line in axes.lines if not str(line.get_label()).startswith("_")}
        for axes in figure.axes
    ]
    assert panels[0] == panels[1]
    assert list(panels[0]) == [f"{victim} · none (gcg)" for victim in ("small", "middle", "large")]
    assert list(panels[0].values()) == list(COLOURS[:3])
    assert "mathdefault" not in (tmp_path / "fig.svg").read_text(encoding="utf-8")
    assert "10⁹" in (tmp_path / "fig.svg").read_text(encoding="utf-8")


def test_many_lines_leave_room_for_themselves_and_can_be_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"adversarial_training(attack=of_a_long_name_{at})" for at in range(13)]
    cells = [FakeCell(defense=name, round=round, defense_flops=1e12 * round) for name in names for round in (1, 2)]
    run = read_run(write_run(tmp_path / "run", cells))
    figure = drawn([run], tmp_path / "fig.png", FigureKind.sample_efficiency, monkeypatch)
    (axes,) = figure.axes
    assert axes.get_position().height * figure.get_figheight() > 1.5, "inches"
    looks = {(line.get_color(), line.get_marker()) for line in axes.lines if line.get_label() != "_child"}
    assert len(looks) >= len(names)


@pytest.mark.parametrize(
    ("out", "kind", "task", "words"),
    [
        ("fig.jpg", FigureKind.attack_scaling, None, "pdf, png, svg"),
        ("fig.pdf", FigureKind.attack_scaling, "spam", "--task spam: the runs have word_length"),
        ("nowhere/fig.pdf", FigureKind.attack_scaling, None, "cannot be written"),
        ("fig.pdf", FigureKind.offense_defense, None, "needs a defense with rounds"),
        ("fig.pdf", FigureKind.transfer, None, "Not enough data"),
    ],
)
def test_what_cannot_be_drawn_is_said(tmp_path: Path, out: str, kind: FigureKind, task: str | None, words: str) -> None:
    run = read_run(write_run(tmp_path / "run", [FakeCell()]))
    with pytest.raises(DataError, match=words):
        plot([run], tmp_path / out, kind, task=task)
