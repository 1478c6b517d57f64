"""The file of a submission: a zip of four members that are stored as they are, byte for byte the only way to write
them.

Nothing is compressed, so the file is as large as what it holds; nothing is ever extracted; what differs in any header
from what `write_container` writes is refused.
"""

from __future__ import annotations

import hashlib
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from leaderboard.submission.file_format.errors import RefusedError, escaped
from leaderboard.submission.file_format.limits import (
    MAX_CELLS_BYTES,
    MAX_FILE_BYTES,
    MAX_MANIFEST_BYTES,
    MAX_SPEC_BYTES,
)

MANIFEST, CELLS, RECORDS, SPEC = "manifest.json", "cells.json", "records.parquet", "spec.yaml"
MEMBERS = {CELLS: MAX_CELLS_BYTES, MANIFEST: MAX_MANIFEST_BYTES, RECORDS: MAX_FILE_BYTES, SPEC: MAX_SPEC_BYTES}
"""In this order, and how large each may be."""

_END = struct.Struct("<4s4H2LH")  # end of central directory; PKWARE APPNOTE 6.3.10, section 4.3.16
_MAX_NAMED_MEMBERS = 64  # of which the names are still read, to say what is wrong
_BLOCK = 2**20
_COMPARED_FIELDS = (
    "date_time",
    "compress_type",
    "comment",
    "extra",
    "create_system",
    "flag_bits",
    "volume",
    "internal_attr",
    "external_attr",
)


@dataclass(frozen=True)
class Member:
    """Where a member's bytes lie in the file, and their hash."""

    name: str
    offset: int
    size: int
    sha256: str


def write_container(path: Path, contents: Mapping[str, bytes]) -> None:
    """Write the members; the same bytes give the same file."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as file:
        for name in MEMBERS:
            file.writestr(_info(name), contents[name])


def read_container(path: Path) -> dict[str, Member]:
    """The members of a submission, hashed, none of them kept in memory.

    Raises:
        RefusedError: anything about the file is not as `write_container` leaves it.
    """
    try:
        if not path.is_file():  # also keeps us from waiting on a pipe
            raise RefusedError(f"{path}: no such file. Give what `harness leaderboard pack` wrote.")
        with path.open("rb") as file:
            size = path.stat().st_size
            if size > MAX_FILE_BYTES:
                raise RefusedError(f"{path}: {size:,} bytes, more than {MAX_FILE_BYTES:,}")
            _check_end(path, file, size)
            with zipfile.ZipFile(file) as archive:
                infos = archive.infolist()
            return _members(path, file, infos, size)
    except (zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError, struct.error, ValueError) as error:
        raise RefusedError(f"{path}: not a readable zip file ({escaped(str(error))})") from None
    except OSError as error:
        raise RefusedError(f"{path}: cannot be read ({error.strerror or error})") from None


def read_member(path: Path, member: Member) -> bytes:
    """A member's bytes; as many as `MEMBERS` allows at most."""
    with path.open("rb") as file:
        file.seek(member.offset)
        return file.read(member.size)


def file_sha256(path: Path) -> str:
    """Of a whole file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _info(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    info.create_system = 3
    info.external_attr = 0o100644 << 16  # a plain file
    return info


def _check_end(path: Path, file: BinaryIO, size: int) -> None:
    """The last record, before any library believes what it says."""
    file.seek(max(0, size - _END.size))
    end = file.read(_END.size)
    if len(end) < _END.size or not end.startswith(b"PK\x05\x06"):
        raise RefusedError(f"{path}: truncated, not a zip file, or bytes were added at its end")
    _, disk, first_disk, on_disk, total, length, offset, comment = _END.unpack(end)
    if disk or first_disk or on_disk != total or comment:
        raise RefusedError(f"{path}: part of a multi-part zip file, or it has a comment")
    if total > _MAX_NAMED_MEMBERS or length > 2**16:
        raise RefusedError(f"{path}: holds {total:,} members; a submission holds {len(MEMBERS)}")
    if offset + length + _END.size != size:
        raise RefusedError(f"{path}: its list of members is not where it says: bytes are missing or were added")


def _members(path: Path, file: BinaryIO, infos: list[zipfile.ZipInfo], size: int) -> dict[str, Member]:
    names = [info.filename for info in infos]
    for info in infos:
        _check_info(path, info, names)
    missing = [name for name in MEMBERS if name not in names]
    if missing:
        raise RefusedError(f"{path}: the member {missing[0]} is missing")
    if names != list(MEMBERS):
        raise RefusedError(f"{path}: the members are in another order than {', '.join(MEMBERS)}")
    members: dict[str, Member] = {}
    offset = 0
    for info in infos:
        expected = _info(info.filename)
        expected.file_size = expected.compress_size = info.file_size
        expected.CRC = info.CRC
        header = expected.FileHeader()
        file.seek(offset)
        different = [
            name
            for name in zipfile.ZipInfo.__slots__
            if name in _COMPARED_FIELDS and getattr(info, name) != getattr(expected, name)
        ]
        if info.header_offset != offset or file.read(len(header)) != header or different:
            listed = f" ({', '.join(different)})" if different else ""
            raise RefusedError(f"{path}: {info.filename}: its headers are not those of a submission{listed}")
        sha256, crc = _hashes(file, info.file_size)
        if crc != info.CRC:
            raise RefusedError(f"{path}: {info.filename}: damaged, its CRC-32 differs")
        members[info.filename] = Member(info.filename, offset + len(header), info.file_size, sha256)
        offset += len(header) + info.file_size
    if offset + sum(46 + len(name) for name in names) + _END.size != size:
        raise RefusedError(f"{path}: has bytes that belong to no member")
    return members


def _hashes(file: BinaryIO, size: int) -> tuple[str, int]:
    """sha256 and CRC-32 of the next ``size`` bytes."""
    sha256, crc = hashlib.sha256(), 0
    while size and (block := file.read(min(size, _BLOCK))):
        sha256.update(block)
        crc = zlib.crc32(block, crc)
        size -= len(block)
    return sha256.hexdigest(), crc


def _check_info(path: Path, info: zipfile.ZipInfo, names: list[str]) -> None:
    name = info.filename
    if name not in MEMBERS:
        raise RefusedError(
            f"{path}: the member {escaped(name)} does not belong here; a submission has {', '.join(MEMBERS)}"
        )
    if names.count(name) > 1:
        raise RefusedError(f"{path}: the member {name} appears twice")
    if info.flag_bits & 0x1:
        raise RefusedError(f"{path}: {name}: is encrypted")
    if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
        raise RefusedError(f"{path}: {name}: is compressed; the members of a submission are stored as they are")
    if info.external_attr >> 16 & 0o170000 != 0o100000:
        raise RefusedError(f"{path}: {name}: is a link, a folder or a device, not a plain file")
    if info.file_size > MEMBERS[name]:
        raise RefusedError(f"{path}: {name}: {info.file_size:,} bytes, more than {MEMBERS[name]:,}")
