"""Real text messages, from a TSV file to a curve."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.run.runs import harness_here

SPEC = Path(__file__).parents[1] / "specs" / "sms_spam.yaml"
DATA = Path(__file__).parents[3] / "shared" / "data" / "sms_spam" / "sms.tsv"


@pytest.mark.slow
@pytest.mark.skipif(
    not DATA.exists(), reason=f"the SMS Spam Collection is not at {DATA.parent.name}/{DATA.name} beside the checkout"
)
def test_a_tiny_victim_learns_spam_and_gcg_climbs(tmp_path):
    run = harness_here("run", SPEC, "--out", tmp_path, "--quiet", cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    cells = [json.loads(path.read_text()) for path in tmp_path.glob("cells/*/cell.json")]
    assert len(cells) == 2
    assert all(cell["n_clean_correct"] / cell["n_clean"] > 0.95 for cell in cells)
    fit = harness_here("fit", "attack-scaling", tmp_path, "--json", cwd=tmp_path)
    by_attack = {row["attack"]: row for row in json.loads(fit.stdout)}
    assert by_attack["gcg"]["slope"] > 0.5
    assert by_attack["gcg"]["slope_ci"][0] > 0
