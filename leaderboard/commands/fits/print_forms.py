"""Forms of curves side by side, in the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from leaderboard.commands.print_table import plain_table, print_json, wide_console
from leaderboard.fit.compared.forms.compared import ComparedForms, FittedForm
from leaderboard.fit.compared.forms.parameters import parameter_text
from leaderboard.table_numbers import multiple


def print_forms(groups: Sequence[ComparedForms], as_json: bool) -> None:
    """A table for each group of curves, its best form first, no wider than 80 columns; or JSON and nothing else."""
    if as_json:
        print_json([group.to_json() for group in groups])
        return
    console = wide_console()
    different = [name for name in groups[0].group if len({str(dict(each.group).get(name)) for each in groups}) > 1]
    for group in groups:
        values = dict(group.group)
        where = ", ".join("size unknown" if values[name] is None else f"{name} {values[name]}" for name in different)
        title = f"Forms of the curve{': ' if where else ''}{where}"
        if not group.forms:
            console.print(Text(f"{title}\n{group.note}\n"), width=80)
            continue
        compared = len(group.forms) > 1
        more = ["held out", "behind (SE)"] if compared else []
        table = plain_table(title, ["form", "parameters, 95% interval", *more])
        for fitted in group.forms:
            numbers = [_number(fitted.held_out), _behind(fitted)] if compared else []
            parameters = "\n".join(parameter_text(one) for one in fitted.parameters) or "not told"
            texts = (fitted.form.name, parameters, *numbers)
            table.add_row(*(Text(text) for text in texts))
        table.caption = Text(f"{group.examples} examples, {group.successes} broken; {_caption(group)}")
        console.print(table, width=80)
        if group.verdict:
            console.print(Text(group.verdict), width=80)
        console.print()
    shown = {fitted.form.name: fitted.form.formula for group in groups for fitted in group.forms}
    for name in sorted(shown):
        console.print(Text(f"{name}: {shown[name]}"), width=80)


def _caption(group: ComparedForms) -> str:
    names = {fitted.form.name for fitted in group.forms}
    parts = [f"intervals over {group.interval}", "c is compute divided by the reference compute"]
    if group.ask is not None and names & {"beta", "power"}:
        parts.append(f"n counts steps of {multiple(group.ask)} the reference compute")
    if len(group.forms) > 1:
        parts.append("held out: log-likelihood, in nats")
    return "; ".join(parts)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}".replace("-", "−")


def _behind(fitted: FittedForm) -> str:
    return "best" if not fitted.behind else f"{fitted.behind:.1f} ({fitted.behind_se:.1f})"
