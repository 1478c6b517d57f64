"""Packages from outside: found by their metadata, each under a guard."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.registry.outside import attack, harness, make_distribution, plugins

pytestmark = pytest.mark.slow  # starts many processes

BUILT_IN = {"attack/gcg", "attack/random_token", "judge/wrong_label", "judge/proxy_label", "defense/none"}


def test_a_package_from_outside_is_listed_with_its_distribution(tmp_path: Path) -> None:
    make_distribution(tmp_path, "Good-Attacks", {"good_attacks.py": attack()})
    listed, said = plugins(site=tmp_path)
    assert "Good-Attacks" not in said
    assert listed.keys() >= BUILT_IN
    assert listed["attack/outside"] == {
        "kind": "attack",
        "name": "outside",
        "access": "scores",
        "summary": "An attack from outside.",
        "distribution": "Good-Attacks",
        "version": "1.2.3",
    }


WITHOUT_STEP = attack(cls="Lame").replace("def step", "def stepp")
WRONG_ARGUMENT = attack().replace("(register)", "(registr)").replace("register(Outside)", "registr(Outside)")
BROKEN = {
    "raises": ("raise RuntimeError('no luck')", ["RuntimeError: no luck", "raises.py:1"]),
    "lacks": ("import surely_not_installed", ["ModuleNotFoundError", "surely_not_installed"]),
    "syntax": ("def f(:\n    pass", ["SyntaxError", "syntax.py", "line 1"]),
    "leaves": ("import sys\nsys.exit(3)", ["SystemExit: 3"]),
    "misspelt": (
        attack().replace("harness_register_attacks", "harness_register_atacks"),
        ["harness_register_atacks of 'misspelt'", "did you mean 'harness_register_attacks'?"],
    ),
    "unmarked": (
        attack().replace("@hookimpl", ""),
        ["harness_register_attacks of 'unmarked' is not marked", "@hookimpl"],
    ),
    "argument": (WRONG_ARGUMENT, ["argument 'registr'", "did you mean 'register'?"]),
    "hookless": ("x = 1", ["'hookless' has no function marked with @hookimpl"]),
    "lame": (WITHOUT_STEP, ["attack class lame.Lame", "lacks the method step", "harness.Attack"]),
    "instance": (attack().replace("register(Outside)", "register(Outside())"), ["is not a class"]),
    "midway": (
        attack("half", "Half") + "    raise KeyError('later')\n",
        ["failed while registering", "KeyError", "midway.py:"],
    ),
    "twin": (
        attack("gcg", "Twin"),
        ["two attacks are called 'gcg'", "robustness-harness", "twin.Twin of twin-dist 1.2.3"],
    ),
}


def test_broken_packages_are_named_with_cause_and_mend_and_the_rest_works(tmp_path: Path) -> None:
    for name, (source, _) in BROKEN.items():
        make_distribution(tmp_path, f"{name}-dist", {f"{name}.py": source})
    make_distribution(tmp_path, "good", {"good.py": attack()})
    listed, said = plugins(site=tmp_path)
    assert listed.keys() >= {*BUILT_IN, "attack/outside"}
    assert listed["attack/gcg"]["distribution"] == "robustness-harness"
    assert "attack/half" not in listed  # what it had registered before it failed is gone as well
    for name, (_, words) in BROKEN.items():
        lines = [line for line in said.splitlines() if f"plugin package {name}-dist 1.2.3: " in line]
        assert len(lines) == 1, (name, said)
        for word in [*words, f"HARNESS_DISABLE_PLUGINS={name}-dist"]:
            assert word in lines[0], name
    helped = harness("--help", site=tmp_path)
    assert helped.returncode == 0
    assert "plugins" in helped.stdout
    table = harness("plugins", site=tmp_path)
    assert "Left out" in table.stdout
    assert "lacks the method step" in table.stdout
    assert "Traceback" not in table.stdout + table.stderr + said


@pytest.mark.parametrize("name", ["point_name", "Bad.Dist", "x, bad_dist"])
def test_disabled_packages_are_not_even_imported(tmp_path: Path, name: str) -> None:
    make_distribution(tmp_path, "bad-dist", {"bad.py": "raise RuntimeError"}, {"point-name": "bad"})
    listed, said = plugins(site=tmp_path, HARNESS_DISABLE_PLUGINS=name)
    assert listed.keys() >= BUILT_IN
    assert "bad" not in said


def test_a_package_can_list_modules_and_a_broken_one_falls_out_alone(tmp_path: Path) -> None:
    lists = "from harness import hookimpl\n@hookimpl\ndef harness_plugin_modules():\n"
    lists += "    return ['many.one', 'many.two', 'many.no']\n"
    files = {"many/__init__.py": lists, "many/one.py": attack("one"), "many/two.py": "1 / 0"}
    make_distribution(tmp_path, "many", files, {"many": "many"})
    listed, said = plugins(site=tmp_path)
    assert listed["attack/one"]["distribution"] == "many"
    assert "importing 'many.two' failed: ZeroDivisionError" in said
    assert "importing 'many.no' failed: ModuleNotFoundError" in said


RELEASED = """
name: released
version: "1"
tasks: [word_length]
victims: [{tiny: {size: 7k}}]
attacks: [kept]
"""


def test_a_release_that_changes_no_number_keeps_keys(tmp_path: Path) -> None:
    """Of a package that says so, also for the modules that it lists; the record names the release itself."""
    lists = "from harness import hookimpl\n@hookimpl\ndef harness_plugin_modules():\n    return ['kept.one']\n"
    hashes = {}
    for version, says in (("1.2.3", ""), ("1.3.0", ""), ("1.4.0", "1.3.0"), ("1.5.0", "1.3.0")):
        site = tmp_path / version
        more = f"@hookimpl\ndef harness_results_version():\n    return '{says}'\n" if says else ""
        files = {"kept/__init__.py": lists + more, "kept/one.py": attack("kept")}
        make_distribution(site, "kept", files, {"kept": "kept"}, version)
        (site / "spec.yaml").write_text(RELEASED)
        done = harness("validate", "spec.yaml", "--spec-only", "--json", site=site, cwd=site)
        assert done.returncode == 0, done.stderr
        hashes[version] = json.loads(done.stdout)["hash"]
        assert plugins(site=site)[0]["attack/kept"]["version"] == version
    assert hashes["1.3.0"] == hashes["1.4.0"] == hashes["1.5.0"] != hashes["1.2.3"]


def test_printing_at_import_does_not_spoil_the_json(tmp_path: Path) -> None:
    make_distribution(tmp_path, "loud", {"loud.py": "print('hello')\n" + attack()})
    listed, said = plugins(site=tmp_path)
    assert "attack/outside" in listed
    assert "hello" in said


def test_what_is_left_of_a_half_removed_package_is_passed_over(tmp_path: Path) -> None:
    make_distribution(tmp_path, "good", {"good.py": attack()})
    (tmp_path / "odd-1.dist-info").mkdir()
    (tmp_path / "odd-1.dist-info" / "entry_points.txt").write_text("[harness]\nodd = odd\n")
    listed, said = plugins(site=tmp_path)
    assert "attack/outside" in listed
    assert "odd" not in said


@pytest.mark.slow
def test_a_package_installed_by_pip(tmp_path: Path) -> None:
    project, site = tmp_path / "project", tmp_path / "site"
    project.mkdir()
    (project / "really_installed.py").write_text(attack("really"))
    (project / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
        '[project]\nname = "really-installed"\nversion = "4.5"\n'
        '[project.entry-points.harness]\nreally = "really_installed"\n'
        '[tool.setuptools]\npy-modules = ["really_installed"]\n'
    )
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--target", str(site)]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, str(project)], check=True, capture_output=True)
    listed, _ = plugins(site=site)
    assert (listed["attack/really"]["distribution"], listed["attack/really"]["version"]) == ("really-installed", "4.5")
