"""Whatever is wrong with a third-party package, the command line works, names it, and says how to leave it out."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.registry.broken import CASES, FINE, Broken
from tests.registry.outside import attack, harness, harness_anew, make_distribution, plugins

BUILT_IN = {"attack/gcg", "attack/random_token", "judge/wrong_label", "defense/none", "task/word_length", "victim/tiny"}


def install(site: Path, name: str, broken: Broken) -> None:
    files = {f"{name}.py": broken.files} if isinstance(broken.files, str) else broken.files
    make_distribution(site, f"{name}-dist", files, broken.points)
    if broken.latin:
        (site / f"{name}.py").write_text(str(broken.files), encoding="latin-1")
    if broken.metadata is not None:
        (site / f"{name}_dist-1.2.3.dist-info" / "METADATA").write_text(broken.metadata)


@pytest.fixture(scope="module")
def all_at_once(tmp_path_factory):
    """What is listed and said where every package is broken but one."""
    site, work = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("work")
    for name, broken in (CASES | FINE).items():
        install(site, name, broken)
    make_distribution(site, "good", {"good.py": attack("good")})
    began = time.monotonic()
    listed, said = plugins(site=site, cwd=work, run=harness_anew)
    return site, work, listed, said, time.monotonic() - began


def lines_of(name: str, said: str) -> list[str]:
    shown = {f"plugin package {name}-dist 1.2.3: ", f"plugin package {name}_dist ?: "}
    return [line for line in said.splitlines() if any(words in line for words in shown)]


@pytest.mark.parametrize("name", CASES)
def test_the_culprit_is_named_with_cause_and_mend(all_at_once, name):
    _, _, listed, said, _ = all_at_once
    (line,) = lines_of(name, said)
    for words in [*CASES[name].words, f"HARNESS_DISABLE_PLUGINS={name}"]:
        assert words in line
    assert len(line) < 2000
    assert (f"attack/{name}_attack" in listed) == CASES[name].works


def test_the_rest_works(all_at_once):
    _, _, listed, said, seconds = all_at_once
    assert listed.keys() >= BUILT_IN | {"attack/good", "attack/twice_attack"}
    assert listed["attack/gcg"]["distribution"] == "robustness-harness"
    assert not {"attack/half", "attack/outside"} & listed.keys()
    assert lines_of("twice", said) == []
    assert "Traceback" not in said
    assert len(said) < 30_000  # not the megabytes that one of them prints
    assert seconds < 500  # a thread that sleeps for ten minutes does not keep it from ending


def test_all_of_them_can_be_left_out_in_silence(all_at_once):
    site, work, *_ = all_at_once
    names = ",".join([f"{name}-dist" for name in CASES])
    listed, said = plugins(site=site, cwd=work, HARNESS_DISABLE_PLUGINS=names)
    assert said == ""
    assert listed.keys() >= BUILT_IN | {"attack/good"}


@pytest.mark.slow
def test_the_table_shows_them(all_at_once):
    site, work, *_ = all_at_once
    table = harness("plugins", site=site, cwd=work)
    assert table.returncode == 0
    left_out, noted = table.stdout.split("Left out")[1].split("Noted")
    assert "syntax-dist" in left_out
    assert "loud-dist" in noted
    helped = harness("--help", site=site, cwd=work)
    assert helped.returncode == 0
    assert "new-plugin" in helped.stdout


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_each_alone(tmp_path, name):
    install(tmp_path, name, CASES[name])
    listed, said = plugins(site=tmp_path)
    assert listed.keys() >= BUILT_IN
    (line,) = lines_of(name, said)
    assert all(words in line for words in CASES[name].words)
    assert "Traceback" not in said
