"""How threads of torch wait for each other."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from harness.engine.threads import give_way_soon


@pytest.mark.parametrize("own", [{"GOMP_SPINCOUNT": "7"}, {"OMP_WAIT_POLICY": "active"}])
def test_what_the_user_says_stands(own: dict[str, str]) -> None:
    environment = dict(own)
    give_way_soon(environment)
    assert environment == own


def test_commands_set_it_before_torch_is_there() -> None:
    look = (
        "import os, sys; from harness.cli.main import main; main(['--version']); "
        "print(os.environ['GOMP_SPINCOUNT'], 'torch' in sys.modules)"
    )
    plain = {name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    told = subprocess.run([sys.executable, "-c", look], env=plain, capture_output=True, text=True, check=True)
    assert told.stdout.split()[-2:] == ["10000", "False"]
