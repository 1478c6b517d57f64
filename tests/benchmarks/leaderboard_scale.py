"""How long the site of a large run takes to build, and how much memory: made-up records in the true format.

    python3 tests/benchmarks/leaderboard_scale.py                  # 10,000 cells
    python3 tests/benchmarks/leaderboard_scale.py --cells 2400 --profile

Prints seconds and peak memory of the build, which runs in a process of its own and those that it starts, and the size
of the site. Other work on the machine adds to wall time, so the minute is asked of what quiet cores would take:
processor time of the first process, and the even share of the others. The exit status is 1 where that is more than a
minute, or all processes together take more than 2 GiB.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

LIMIT_S, LIMIT_MIB = 60.0, 2048.0


def write(path: Path, cells: int, examples: int, steps: int) -> int:
    """A run of about ``cells`` cells: victims × defenses (some with rounds) × attacks × seeds; returns how many."""
    from tests.leaderboard import fake_run

    attacks, seeds, rounds = 4, 3, 4
    rows = max(1, cells // (attacks * seeds))
    fast = [_tables(fake_run.EXAMPLES, fake_run.STEPS, examples, steps, attack) for attack in range(attacks * 8)]
    fake_run._write_tables = lambda folder, cell: None  # type: ignore[assignment]  # ours are copied, which is faster
    fake_run.write_run(path, [])
    count = 0
    for row in range(rows):
        task, victim, rest = f"task{row % 5}", f"tiny(size={row // 5 % 8})", row // 40
        defense, round_ = ("none", None) if rest == 0 else (f"at{(rest - 1) // rounds}", (rest - 1) % rounds + 1)
        for attack in range(attacks):
            for seed in range(seeds):
                cell = fake_run.FakeCell(
                    task=task,
                    data_hash=f"{row % 5}" * 64,
                    victim=victim,
                    n_params=10_000 * 3 ** (row // 5 % 8),
                    defense=defense,
                    round=round_,
                    defense_flops=0.0 if round_ is None else 1e13 * round_,
                    attack=f"attack{attack}",
                    seed=seed,
                    examples=examples,
                    steps=steps,
                    first_success=(),
                )
                folder = fake_run.write_cell(path, cell)
                found = fast[(attack * 8 + (row * seeds + seed) % 8)]
                for name, content in found.items():
                    (folder / name).write_bytes(content)
                count += 1
    return count


def _tables(
    examples_schema: pa.Schema, steps_schema: pa.Schema, examples: int, steps: int, at: int
) -> dict[str, bytes]:
    """Both Parquet files of a cell: log-odds of success linear in log compute."""
    rng = np.random.default_rng(at)
    first = np.ceil(10 ** (0.3 * (at // 8) + rng.logistic(scale=0.3, size=examples)) * steps / 4)
    names = [f"e{i}" for i in range(examples)]
    count = examples * steps
    step = np.tile(np.arange(1, steps + 1, dtype=np.int32), examples)
    columns = {
        "example": np.repeat(names, steps),
        "step": step,
        "success": step >= np.repeat(first, steps),
        "loss": rng.random(count),
        "attack_text": [f"attack string {i} of some tokens that differ" for i in range(count)],
        "attack_tokens": rng.integers(0, 50_000, (count, 10), dtype=np.int32).tolist(),
        "queries": np.full(count, 128),
    }
    amounts = [
        f.name for f in steps_schema if f.name.endswith(("nominal", "executed")) and pa.types.is_floating(f.type)
    ]
    columns |= {name: np.full(count, 1e9) for name in amounts}
    listed = {
        "example": names,
        "label": np.zeros(examples, np.int32),
        "predicted": np.zeros(examples, np.int32),
        "attacked": np.ones(examples, bool),
    }
    out = {}
    for name, schema, given in (("steps", steps_schema, columns), ("examples", examples_schema, listed)):
        size = len(given["example"])
        arrays = [pa.array(given[f.name], f.type) if f.name in given else pa.nulls(size, f.type) for f in schema]
        sink = pa.BufferOutputStream()
        pq.write_table(pa.Table.from_arrays(arrays, schema=schema), sink, compression="zstd")
        out[f"{name}.parquet"] = sink.getvalue().to_pybytes()
    return out


def build(run: Path, site: Path, profile: bool, processes: int) -> None:
    """The measured part: read the run, build the site, print the figures as JSON."""
    from harness.records.read import read_run
    from leaderboard.site.build import build_site

    start = time.perf_counter()
    if profile:
        import cProfile
        import pstats

        profiler = cProfile.Profile()
        profiler.runcall(lambda: build_site([read_run(run)], site))
        pstats.Stats(profiler, stream=sys.stderr).sort_stats("tottime").print_stats(40)
    else:
        build_site([read_run(run)], site, processes=processes)
    wall = time.perf_counter() - start
    own, others = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    peak = (own.ru_maxrss + processes * others.ru_maxrss) / 1024  # of the others the largest is known
    used, shared = own.ru_utime + own.ru_stime, others.ru_utime + others.ru_stime
    quiet = used + shared / processes
    found = {"wall_s": wall, "own_s": used, "others_s": shared, "quiet_s": quiet, "peak_mib": peak}
    print(json.dumps({name: round(value, 1) for name, value in found.items()}))


def main() -> int:
    """Write, build, say."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=10_000)
    parser.add_argument("--examples", type=int, default=64)
    parser.add_argument("--steps", type=int, default=64)
    parser.add_argument("--keep", type=Path, help="folder for the run and the site; kept, and the run used again")
    parser.add_argument("--profile", action="store_true", help="in one process")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--build", nargs=2, type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.build:
        build(*given.build, given.profile, given.processes)
        return 0
    folder = given.keep or Path(tempfile.mkdtemp())
    run = folder / f"run{given.cells}"
    if not run.exists():
        print(f"{write(run, given.cells, given.examples, given.steps)} cells written to {run}", flush=True)
    site = folder / f"site{given.cells}"
    command = [sys.executable, __file__, "--build", str(run), str(site), "--processes", str(given.processes)]
    command += ["--profile"] if given.profile else []
    found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    files = [file for file in site.rglob("*") if file.is_file()]
    size = sum(file.stat().st_size for file in files) / 1e6
    data = json.loads((site / "data.json").read_text())
    rows = sum(len(section["rows"]) for section in data["sections"])
    print(
        f"{found['wall_s']} s here; processor: {found['own_s']} s, and {found['others_s']} s in {given.processes} more "
        f"processes, or {found['quiet_s']} s on as many quiet cores; peak {found['peak_mib']} MiB"
    )
    print(f"{rows} rows, {len(files)} files, {size:.1f} MB; the standings page loads {_first(site):.1f} MB")
    if given.keep is None:
        shutil.rmtree(folder)
    return int(found["quiet_s"] > LIMIT_S or found["peak_mib"] > LIMIT_MIB)


def _first(site: Path) -> float:
    loaded = [site / "index.html", *(site / "assets").iterdir()]
    return sum(file.stat().st_size for file in loaded) / 1e6


if __name__ == "__main__":
    raise SystemExit(main())
