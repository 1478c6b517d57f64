"""Whole runs against a victim behind a URL: null where compute is unknown, in records, plans and pages."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from harness.records.read import read_run
from harness.tokens.hf_tokenizer import HFTokenizer
from plugins.victims._openai import http_client
from plugins.victims._openai.model_facts import model_facts
from tests.plugins.victims.completions_server import Served, Server, save_tiny, status
from tests.run.runs import FAST, FROM_FILES, KIT, WORDS, harness_here, records

pytestmark = pytest.mark.slow  # starts many processes

SPEC: dict[str, Any] = {
    "name": "served",
    "version": "1",
    "tasks": [yaml.safe_load(WORDS)],
    "attacks": [{"random_token": {"steps": 3, "draws": 4}}],
    "threats": [{"tokens": 4}],
    "examples": 6,
    "clean_examples": 10,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("served"))


@pytest.fixture
def server(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    from transformers import AutoModelForCausalLM

    monkeypatch.setattr(http_client, "FIRST_WAIT", 0.01)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    model_facts.cache_clear()
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    with Server(Served(model, HFTokenizer.from_file(folder / "tokenizer.json", rows=416))) as server:
        yield server


def write_spec(
    tmp_path: Path, server: Server, folder: Path, changes: dict[str, Any] | None = None, **params: Any
) -> None:
    given = {"base_url": server.url, "model": "tiny", "tokenizer": str(folder), "retries": 1, "timeout": 200.0}
    spec = SPEC | {"victims": [{"openai_compatible": given | params}]} | (changes or {})
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(spec))


def strict(text: str) -> Any:
    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    return json.loads(text, parse_constant=refuse)


def test_a_run_records_null_and_shows_unknown(server: Server, folder: Path, tmp_path: Path) -> None:
    write_spec(tmp_path, server, folder)
    planned = strict(harness_here("plan", "spec.yaml", "--out", "out", "--json", cwd=tmp_path).stdout)
    assert [(stage["what"], stage["flops"], stage["local"]) for stage in planned["stages"]] == [
        ("prepare", 0.0, False),
        ("attack", None, False),
    ]
    assert (planned["remaining_flops"], planned["remaining_of_unknown_flops"]) == (0.0, 1)
    shown = harness_here("plan", "spec.yaml", "--out", "out", cwd=tmp_path).stdout
    assert "unknown" in shown
    assert "nan" not in shown.lower()

    done = harness_here("run", "spec.yaml", "--out", "out", "--site", "site", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "the compute for the rest is unknown" in done.stderr
    assert "nan" not in done.stderr.lower()
    (cell,) = read_run(tmp_path / "out").cells
    facts = cell.record.victim_facts
    assert facts is not None
    assert (facts.n_params, facts.n_params_non_embedding, facts.reference_flops) == (None, None, None)
    assert (cell.record.clean_compute.nominal, cell.record.clean_compute.executed) == (None, None)
    assert (facts.preparation.nominal, facts.preparation.executed) == (0.0, 0.0)
    assert cell.record.n_attacked > 0
    assert cell.record.agreement["log_probabilities"] == "logprob_token_ids"
    steps = cell.steps().to_pydict()
    assert len(steps["step"]) == 3 * cell.record.n_attacked
    for name in ("attack_nominal", "attack_executed", "judge_nominal", "judge_executed"):
        assert steps[name] == [None] * len(steps["step"])
    assert set(steps["defense_nominal"]) == {0.0}
    assert min(steps["queries"]) >= 1
    for path in (tmp_path / "out").rglob("*.json"):
        strict(path.read_text())

    page = (tmp_path / "site" / "index.html").read_text()
    assert "compute unknown" in page
    (row,) = strict((tmp_path / "site" / "data.json").read_text())["sections"][0]["rows"]
    assert row["asr"] is not None
    assert row["n_params"] is None
    assert row["curves"][0]["points"]["compute"][-1] is None
    assert row["curves"][0]["points"]["queries"][-1] == sum(steps["queries"]) / cell.record.n_attacked
    told = harness_here("leaderboard", "show", "out", cwd=tmp_path)
    assert told.returncode == 0, told.stderr
    assert "compute unknown" in told.stdout
    fitted = harness_here("fit", "attack-scaling", "out", "--json", cwd=tmp_path)
    assert [fit["slope"] for fit in strict(fitted.stdout)] == [None]
    after = strict(harness_here("plan", "spec.yaml", "--out", "out", "--json", cwd=tmp_path).stdout)
    assert after["rates"]["cpu"]["source"].startswith("a guess: "), "what runs elsewhere says nothing of this machine"
    status_ = strict(harness_here("status", "out", "--json", cwd=tmp_path).stdout)
    assert status_["counts"]["done"] == 1


def test_a_stated_size_is_counted(server: Server, folder: Path, tmp_path: Path) -> None:
    write_spec(tmp_path, server, folder, n_params=1e6, pretraining_flops=1e15)
    planned = strict(harness_here("plan", "spec.yaml", "--out", "out", "--json", cwd=tmp_path).stdout)
    assert planned["remaining_flops"] > 0
    assert (planned["remaining_of_unknown_flops"], planned["remaining_of_unknown_seconds"]) == (0, 1)
    assert harness_here("run", "spec.yaml", "--out", "out", cwd=tmp_path).returncode == 0
    (cell,) = read_run(tmp_path / "out").cells
    steps = cell.steps().to_pydict()
    assert all(flops is not None and flops > 0 and flops % 2e6 == 0 for flops in steps["attack_nominal"])
    assert steps["attack_executed"] == [None] * len(steps["step"])
    assert cell.record.clean_compute.nominal > 0  # type: ignore[operator]
    facts = cell.record.victim_facts
    assert facts is not None
    assert (facts.n_params, facts.reference_flops) == (1_000_000, 1e15)


def test_a_run_goes_on_when_the_server_is_back(server: Server, folder: Path, tmp_path: Path) -> None:
    write_spec(tmp_path, server, folder)
    assert harness_here("run", "spec.yaml", "--out", "whole", "--quiet", cwd=tmp_path).returncode == 0
    requests = len(server.served.bodies)

    server.served.bodies.clear()
    whole = server.served.respond_limit = requests - 4  # type: ignore[attr-defined]
    assert whole > 0
    broken = status(503)
    server.served.always = lambda handler: len(server.served.bodies) > whole and broken(handler)
    failed = harness_here("run", "spec.yaml", "--out", "out", "--quiet", cwd=tmp_path)
    assert failed.returncode == 1
    assert "given up after 2 tries: status 503" in failed.stderr
    (journal,) = (tmp_path / "out" / "cells").glob("*/journal.jsonl")
    lines = journal.read_text().splitlines()
    assert lines
    for line in lines:
        rows = strict(line)["rows"]
        assert all(row["attack_nominal"] is None and row["defense_nominal"] == 0.0 for row in rows)

    server.served.always = None
    again = len(server.served.bodies)
    resumed = harness_here("run", "spec.yaml", "--out", "out", "--quiet", cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert len(server.served.bodies) - again < requests, "what the journal had was not asked again"
    assert not list((tmp_path / "out" / "cells").glob("*/journal.jsonl"))
    one, other = records(tmp_path / "whole"), records(tmp_path / "out")
    for key in one:
        for cell in (one[key][0], other[key][0]):
            cell["agreement"]["retries"] = 0
    assert one == other


def test_weights_that_are_elsewhere_cannot_be_trained(server: Server, folder: Path, tmp_path: Path) -> None:
    write_spec(tmp_path, server, folder, {"defenses": [{"adversarial_training": {"rounds": 1}}]})
    for command, status_of in (("plan", 2), ("run", 1)):
        done = harness_here(command, "spec.yaml", "--out", "out", cwd=tmp_path)
        assert done.returncode == status_of, done.stderr
        assert "trains the victim's weights, and those of openai_compatible are elsewhere" in done.stderr
    assert server.served.bodies == []


def test_gradients_are_refused_before_anything_is_asked(server: Server, folder: Path, tmp_path: Path) -> None:
    write_spec(tmp_path, server, folder, {"attacks": [{"gcg": {"steps": 1}}]})
    done = harness_here("run", "spec.yaml", "--out", "out", "--quiet", cwd=tmp_path)
    assert done.returncode == 1
    assert "attack gcg asks for gradient, victim openai_compatible offers scores; exclude it" in done.stderr
    assert server.served.bodies == []


def test_a_server_that_is_not_there(server: Server, folder: Path, tmp_path: Path) -> None:
    server.stop()
    write_spec(tmp_path, server, folder)
    done = harness_here("run", "spec.yaml", "--out", "out", "--quiet", cwd=tmp_path)
    assert done.returncode == 1
    assert "/v1/models: given up after 2 tries" in done.stderr


def test_null_is_not_zero_on_disk(server: Server, folder: Path, tmp_path: Path) -> None:
    """No NaN reaches Parquet, where it would be a number among others."""
    write_spec(tmp_path, server, folder)
    assert harness_here("run", "spec.yaml", "--out", "out", "--quiet", cwd=tmp_path).returncode == 0
    (path,) = (tmp_path / "out" / "cells").glob("*/steps.parquet")
    table = pq.read_table(path)
    for name in table.column_names:
        values = table.column(name).to_pylist()
        assert not any(isinstance(value, float) and math.isnan(value) for value in values), name
    assert table.column("attack_nominal").null_count == table.num_rows


def test_beside_a_victim_of_known_size(server: Server, folder: Path, tmp_path: Path) -> None:
    """What is known is added up, what is unknown is counted, and neither hides the other."""
    guard = f"--plugin={KIT / 'defense.py'}"
    given = {"base_url": server.url, "model": "tiny", "tokenizer": str(folder), "context": 250}
    spec = yaml.safe_load(FAST) | {
        "victims": ["counts", {"openai_compatible": given}],
        "defenses": ["none", "longest_word"],
        "attacks": [{"random_token": {"steps": 2, "draws": 4}}],
    }
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(spec))
    planned = strict(
        harness_here("plan", "spec.yaml", "--out", "out", "--json", *FROM_FILES, guard, cwd=tmp_path).stdout
    )
    known = [stage["flops"] for stage in planned["stages"] if stage["flops"] is not None]
    assert planned["remaining_flops"] == sum(known) > 0
    assert planned["remaining_of_unknown_flops"] == planned["remaining_of_unknown_seconds"] == 2
    shown = harness_here("plan", "spec.yaml", "--out", "out", *FROM_FILES, guard, cwd=tmp_path).stdout
    assert any(line.startswith("attack") and line.count("+ 2 unknown") == 2 for line in shown.splitlines())

    done = harness_here("run", "spec.yaml", "--out", "out", *FROM_FILES, guard, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "2 take unknown compute, 2 unknown time" in done.stderr
    cells = read_run(tmp_path / "out").cells
    found = {(cell.record.victim.name, cell.record.defense.name): cell for cell in cells}
    guarded = found["openai_compatible", "longest_word"].steps().to_pydict()
    assert set(guarded["attack_nominal"]) <= {None, 0.0}, "0 where the guard let nothing through, which is known"
    assert None in guarded["attack_nominal"]
    assert all(flops is not None for flops in guarded["defense_nominal"])
    after = strict(harness_here("plan", "spec.yaml", "--out", "out", "--json", *FROM_FILES, guard, cwd=tmp_path).stdout)
    assert after["rates"]["cpu"]["source"] == "measured over 2 cells of this run"


def test_the_live_view_says_unknown() -> None:
    import io

    from rich.console import Console

    from harness.cli.console.progress_views import LiveView
    from harness.flops import Flops
    from harness.run.reporter import CellProgress

    out = io.StringIO()
    with LiveView(Console(file=out, force_terminal=True, width=200)) as view:
        view.begin(2, 0, None)
        for index, amount in enumerate((math.nan, 5e9)):
            worker = view.worker(index)
            worker.stage("attack something")
            worker.cell(CellProgress(1, 2, 0.5, Flops(amount, amount)))
            worker.cell(CellProgress(2, 2, 0.5, Flops(amount, amount)))
        figures = [task.fields["figures"] for task in view.work.tasks]
    assert figures[0].endswith("compute unknown")
    assert figures[1].endswith("5 GFLOP")
    assert "attacks 5 GFLOP + unknown" in out.getvalue()
    assert "nan" not in out.getvalue().lower()


def test_clean_prompts_without_an_answer_are_no_wrong_ones(server: Server, folder: Path, tmp_path: Path) -> None:
    """What a run prints is what the standings say: the share of those that answered."""
    tokenizer = HFTokenizer.from_file(folder / "tokenizer.json")

    def disliked(row: list[int]) -> bool:
        text = tokenizer.decode([row])[0]
        return text.startswith("Which word") and text.count("a") % 2 == 0

    server.served.refuse = disliked
    server.served.reason = "this prompt is not to my liking"
    write_spec(tmp_path, server, folder)
    done = harness_here("run", "spec.yaml", "--out", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (cell,) = read_run(tmp_path / "out").cells
    answered = cell.record.n_clean - cell.record.n_clean_missing
    assert 0 < answered < cell.record.n_clean
    assert cell.record.clean_accuracy is not None
    right = cell.record.clean_accuracy * answered
    assert right == pytest.approx(round(right))
    assert f"clean accuracy {cell.record.clean_accuracy:.1%}" in done.stderr
