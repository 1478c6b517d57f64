"""The corpus: files that a submitter could make, each with the reason why it is refused. Made from a valid one."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from leaderboard.submission.file_format.container import CELLS, MANIFEST, MEMBERS, RECORDS, SPEC, _info
from tests.leaderboard.submission.forge import Parts, forged, with_cells

Make = Callable[[Parts, Path], None]


def zipped(out: Path, members: Iterable[tuple[zipfile.ZipInfo, bytes]]) -> None:
    """A zip file of any members."""
    with zipfile.ZipFile(out, "w") as file:
        for info, content in members:
            file.writestr(info, content)


def with_member(name: str, content: bytes = b"x") -> Make:
    """One more member."""
    return lambda parts, out: zipped(out, [*((_info(n), parts[n]) for n in MEMBERS), (_info(name), content)])


def with_info(change: Callable[[zipfile.ZipInfo], Any]) -> Make:
    """The header of the spec changed."""

    def make(parts: Parts, out: Path) -> None:
        infos = {name: _info(name) for name in MEMBERS}
        change(infos[SPEC])
        zipped(out, [(infos[name], parts[name]) for name in MEMBERS])

    return make


def deflated(parts: Parts, out: Path, **contents: bytes) -> None:
    def compressed(name: str) -> zipfile.ZipInfo:
        info = _info(name)
        info.compress_type = zipfile.ZIP_DEFLATED
        return info

    zipped(out, [(compressed(name), contents.get(name.split(".")[0], parts[name])) for name in MEMBERS])


def bytes_of(change: Callable[[bytes], bytes]) -> Make:
    """The bytes of the valid file changed."""

    def make(parts: Parts, out: Path) -> None:
        forged(parts, out)
        out.write_bytes(change(out.read_bytes()))

    return make


def _encrypted(whole: bytes) -> bytes:
    """The flag of the first member set, in both of its headers."""
    at = whole.index(b"PK\x01\x02")
    changed = bytearray(whole)
    changed[6] |= 1
    changed[at + 8] |= 1
    return bytes(changed)


def _many(parts: Parts, out: Path) -> None:
    zipped(out, ((_info(f"m{at}"), b"") for at in range(3000)))


def _tar(parts: Parts, out: Path) -> None:
    with tarfile.open(out, "w:gz") as file:
        for name, content in parts.items():
            info = tarfile.TarInfo(f"../{name}")
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))


def _sparse(parts: Parts, out: Path) -> None:
    with out.open("wb") as file:
        file.truncate(2**40)


def _pipe(parts: Parts, out: Path) -> None:
    import os

    os.mkfifo(out)


def _reordered(parts: Parts, out: Path) -> None:
    zipped(out, [(_info(name), parts[name]) for name in reversed(MEMBERS)])


CONTAINERS: dict[str, tuple[Make, str]] = {
    "a member that climbs": (with_member("../../etc/cron.d/x"), "does not belong"),
    "a member with an absolute path": (with_member("/etc/passwd"), "does not belong"),
    "a member with a drive": (with_member("C:\\x.json"), "does not belong"),
    "a member of code": (with_member("conftest.py"), "does not belong"),
    "a pickle": (with_member("weights.pkl"), "does not belong"),
    "a name that drives the terminal": (with_member("\x1b[2Jx"), r"'\\x1b\[2Jx' does not belong"),
    "a member twice": (with_member(SPEC), "appears twice"),
    "a link": (with_info(lambda i: setattr(i, "external_attr", 0o120777 << 16)), "is a link"),
    "a folder": (with_info(lambda i: setattr(i, "external_attr", 0o040755 << 16)), "is a link, a folder"),
    "an executable": (with_info(lambda i: setattr(i, "external_attr", 0o100755 << 16)), "external_attr"),
    "a member with a comment": (with_info(lambda i: setattr(i, "comment", b"hi")), "comment"),
    "a member with an extra field": (with_info(lambda i: setattr(i, "extra", b"\x99\x99\x02\x00hi")), "extra"),
    "a member of another date": (with_info(lambda i: setattr(i, "date_time", (2024, 1, 1, 0, 0, 0))), "date_time"),
    "an encrypted member": (bytes_of(_encrypted), "is encrypted"),
    "compressed members": (deflated, "is compressed"),
    "a zip bomb": (lambda parts, out: deflated(parts, out, cells=bytes(2**28)), "is compressed"),
    "a member missing": (
        lambda parts, out: zipped(out, [(_info(n), parts[n]) for n in MEMBERS if n != RECORDS]),
        "records.parquet is missing",
    ),
    "another order": (_reordered, "another order"),
    "thousands of members": (_many, "3,000 members"),
    "bytes behind": (bytes_of(lambda whole: whole + b"#!/bin/sh"), "truncated"),
    "bytes before": (bytes_of(lambda whole: b"#!/bin/sh\n" + whole), "bytes are missing or were added"),
    "cut in the middle": (bytes_of(lambda whole: whole[: len(whole) // 2]), "truncated"),
    "cut at the end": (bytes_of(lambda whole: whole[:-1]), "truncated"),
    "a comment": (bytes_of(lambda whole: whole[:-2] + b"\x02\x00hi"), "truncated"),
    "several disks": (bytes_of(lambda whole: whole[:-18] + b"\x01\x00" + whole[-16:]), "multi-part"),
    "an empty file": (lambda parts, out: out.write_bytes(b"") and None, "truncated, not a zip file"),
    "no zip at all": (lambda parts, out: out.write_bytes(b"\x80\x04K." * 1000) and None, "truncated, not a zip file"),
    "a tar file": (_tar, "truncated, not a zip file"),
    "a terabyte of nothing": (_sparse, "bytes, more than"),
    "a pipe": (_pipe, "no such file"),
    "a folder of that name": (lambda parts, out: out.mkdir(), "no such file"),
}


def manifest(raw: Callable[[bytes], bytes]) -> Make:
    """The bytes of the manifest changed."""

    def make(parts: Parts, out: Path) -> None:
        forged(parts, out)
        with zipfile.ZipFile(out) as file:
            told = file.read(MANIFEST)
        zipped(out, [(_info(name), raw(told) if name == MANIFEST else parts[name]) for name in MEMBERS])

    return make


def told(**fields: Any) -> Make:
    """Fields of the manifest replaced."""
    return lambda parts, out: forged(parts, out, **fields) and None


def told_run(**fields: Any) -> Make:
    """Fields of what it says of the run replaced."""

    def make(parts: Parts, out: Path) -> None:
        forged(parts, out, run=json.loads(parts[MANIFEST])["run"] | fields)

    return make


def cells(change: Callable[[list[dict[str, Any]]], Any]) -> Make:
    """The manifests of cells changed."""
    return lambda parts, out: forged(with_cells(parts, change), out) and None


def cells_raw(content: bytes | Callable[[bytes], bytes]) -> Make:
    """The bytes of the manifests of cells replaced."""

    def make(parts: Parts, out: Path) -> None:
        forged(parts | {CELLS: content if isinstance(content, bytes) else content(parts[CELLS])}, out)

    return make


def first(**fields: Any) -> Make:
    """Fields of the first cell replaced; ``a__b`` is field b of field a."""

    def change(found: list[dict[str, Any]]) -> None:
        for name, value in fields.items():
            *path, last = name.split("__")
            place = found[0]
            for part in path:
                place = place[part]
            place[last] = value

    return cells(change)


JSON: dict[str, tuple[Make, str]] = {
    "a future format": (told(format=99), "format 99, this version reads format 1"),
    "a format that is true": (told(format=True), "format"),
    "an unknown field": (told(hook="os.system"), "hook"),
    "a number as text": (told(rows="12"), "rows"),
    "negative rows": (told(rows=-1), "rows"),
    "other rows": (told(rows=7), "its manifest says 7"),
    "a name that is a path": (told_run(spec_name="../../../root/.bashrc"), "spec_name"),
    "a version that is a path": (told_run(spec_version="1/../../x"), "spec_version"),
    "records of the future": (told_run(format=7), "records of format 7"),
    "more cells than there are": (told_run(cells=3), "2 cells, and its manifest says 3"),
    "no cells": (told_run(cells=0), "cells"),
    "a forged hash": (manifest(lambda raw: raw.replace(b'"sha256": "', b'"sha256": "0', 1)), "sha256"),
    "a hash of other bytes": (
        lambda parts, out: zipped(out, [(_info(n), parts[n] + b"\n" * (n == SPEC)) for n in MEMBERS]),
        "not what the manifest says",
    ),
    "NaN": (manifest(lambda raw: raw.replace(b'"rows": ', b'"rows": NaN, "x": ')), "NaN is not a JSON number"),
    "infinity": (manifest(lambda raw: raw.replace(b'"rows": ', b'"rows": 1e999, "x": ')), "1e999' is too large"),
    "an endless integer": (manifest(lambda raw: raw.replace(b'"rows": ', b'"rows": ' + b"9" * 9999)), "64 bits"),
    "a name twice": (manifest(lambda raw: raw.replace(b'"rows": ', b'"rows": 1, "rows": ')), "appears twice"),
    "deep nesting": (manifest(lambda raw: b'{"format":' + b"[" * 30_000), "nested deeper"),
    "40 levels": (manifest(lambda raw: b'{"format":' + b"[" * 40 + b"]" * 40 + b"}"), "nested deeper"),
    "no UTF-8": (manifest(lambda raw: raw.replace(b"robustness", b"robustn\xff\xfess")), "is not UTF-8"),
    "UTF-16": (manifest(lambda raw: raw.decode().encode("utf-16")), "is not UTF-8"),
    "half a surrogate pair": (manifest(lambda raw: raw.replace(b"robustness", b"\\ud800")), "surrogate"),
    "a control character": (manifest(lambda raw: raw.replace(b"robustness", b"\\u001b[2J")), "control character"),
    "no object": (manifest(lambda raw: b"[1, 2]"), "valid dictionary|instance of Manifest"),
    "not closed": (manifest(lambda raw: raw[:-5]), "not valid JSON"),
    "millions of empty lists": (cells_raw(b"[" + b"[]," * 4_000_000 + b"[]]"), "values, more than"),
    "a string without end": (first(error="x" * 100_000), "a string of 100,000 characters"),
    "cells that are no list": (cells_raw(b'{"a": 1}'), "not a list of cells"),
    "a cell that is no object": (cells_raw(b"[3, 4]"), "not a record of format"),
    "a cell of an older format": (first(format=1), "not a record of format"),
    "a cell with another field": (first(code="import os"), "code"),
    "a cell with a text for a number": (first(n_clean="20"), "n_clean"),
    "a cell with a number for a truth": (first(stop_on_success=0), "stop_on_success"),
    "a cell without a field": (cells(lambda found: found[0].pop("threat")), "threat"),
    "a cell twice": (cells(lambda found: found.__setitem__(1, found[0])), "appears twice"),
    "a key that is a path": (first(key="../../../../tmp/x"), "content address|not among its cells"),
    "a key of another cell": (first(key="0" * 20), "not among its cells"),
    "an artifact that is a path": (first(victim_facts__artifact="/root/.ssh"), "content address"),
    "a failed cell": (first(status="failed"), "only finished cells"),
    "another accounting": (first(accounting="mine"), "counts compute differently"),
    "a cell of another spec": (first(spec_hash="0" * 64), "of another spec"),
    "a cell without its victim": (first(victim_facts=None), "lacks the facts of its victim"),
    "a negative count": (first(n_truncated=-3), "negative"),
    "more right than asked": (first(n_clean_correct=10**6), "clean examples"),
    "more attacked than right": (first(n_attacked=10**6), "examples are attacked"),
    "a billion steps": (first(attack_steps=10**9), "steps is out of range"),
    "a family written from right to left": (first(victim_facts__family="tiny\u202e)b5 ,tpg("), "family 'tiny"),
    "a version that nobody sees": (first(versions={"torch": "2.\u200b3"}), "is not a library's version"),
    "a remark for a library": (first(versions={"checked by us": "yes"}), "is not a library's version"),
    "a remark for a date": (told_run(created="today, and replayed by all"), "created"),
    "a remark for a version": (told_run(harness_version="0.1.0, certified by all"), "harness_version"),
    "negative compute of a victim": (first(victim_facts__preparation__nominal=-1.0), "negative or not finite"),
    "a victim made for less": (first(victim_facts__reference_flops=1.0), "reference_flops"),
    "clean answers for nothing": (first(clean_compute={"nominal": 0.0, "executed": 0.0}), "take at least"),
    "clean answers of unknown compute": (first(clean_compute={"nominal": None, "executed": None}), "unknown"),
    "a defense of nothing that cost something": (first(defense_facts__search__nominal=1.0), "without rounds"),
    "other data in one cell": (first(data_hash="0" * 64), "disagree about a task's data"),
    "another target in one cell": (first(target_asr=0.9), "target ASR"),
    "a target that is no rate": (cells(lambda found: [c.update(target_asr=1.5) for c in found]), "target ASR 1.5"),
}
