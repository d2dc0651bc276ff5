"""Fingerprints: has the content of the given files (images, split files, feature files) changed since they were read?

The job that reads such files records size, time stamp and SHA-256 of each under a token, which stands for their content in
keys. While sizes and time stamps are as recorded, the files count as unchanged, and only others are read again. So a touched
file or a copied folder changes nothing, a changed image does, and a million unchanged images cost one `stat` each.

The token is chosen before the files are read, and may be chosen before they are downloaded; it stays while their content
does.
"""

import csv
import os
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

from attribench.common.errors import InputError, listed, shown
from attribench.common.files import reason, sha256_file
from attribench.common.tables_io import write_rows
from attribench.provenance.keys import digest

_HASHING_THREADS = 8


class Fingerprint(NamedTuple):
    """One file as it was read: path below the root, size in bytes, time stamp in nanoseconds, SHA-256 in hexadecimal."""

    path: str
    bytes: int
    mtime_ns: int
    sha256: str


class Record(NamedTuple):
    """Hold what a job read: fingerprints by path, under a token."""

    token: str
    fingerprints: dict[str, Fingerprint]


def take_fingerprint(root: Path | str, path: str) -> Fingerprint | None:
    """Read the file `path` below `root`; None when there is none that can be read."""
    file = os.path.join(root, path)
    try:
        status = os.stat(file)
        is_file = stat.S_ISREG(status.st_mode)  # to open a pipe would wait for ever
        return Fingerprint(path, status.st_size, status.st_mtime_ns, sha256_file(file)) if is_file else None
    except (OSError, ValueError):
        return None


def _why_not(root: Path | str, path: str) -> str:
    """Return why `take_fingerprint` could not read `path`; an empty text where there is no such file."""
    file = os.path.join(root, path)
    try:
        if not stat.S_ISREG(os.stat(file).st_mode):
            return "no file"
        open(file, "rb").close()
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except (OSError, ValueError) as error:
        return reason(error)
    return "cannot be read"


def write_fingerprints(output: Path | str, root: Path | str, files: list[str], token: str, threads: int = 1) -> None:
    """Write the fingerprints of `files` (below `root`) under `token`.

    Raises InputError that lists files which are missing or cannot be read.
    """
    with ThreadPoolExecutor(max(1, threads)) as pool:
        fingerprints = list(pool.map(lambda file: take_fingerprint(root, file), files))
    missing = [file for file, fingerprint in zip(files, fingerprints, strict=True) if fingerprint is None]
    if missing:
        unreadable = [f"{shown(file)} ({why})" for file in missing if (why := _why_not(root, file))]
        missing = [file for file in missing if not _why_not(root, file)]
        count = f"below {root} (expected: {len(files)})"
        problems = [f"{len(missing)} file(s) missing {count}:{listed(missing)}"] if missing else []
        problems += [f"{len(unreadable)} file(s) cannot be read {count}:{listed(unreadable)}"] if unreadable else []
        raise InputError("\n".join(problems))
    write_record(output, Record(token, {fingerprint.path: fingerprint for fingerprint in fingerprints}))


def write_record(output: Path | str, content: Record) -> None:
    """Write a record as CSV, atomically: the token, the names of the columns, a row for each file."""
    write_rows(output, chain([["token", content.token], Fingerprint._fields], content.fingerprints.values()))


def read_record(path: Path | str) -> Record | None:
    """Read the record at `path`; None when there is none."""
    if (token := recorded_token(path)) is None:
        return None
    return Record(token, {path: Fingerprint(path, int(size), int(time), sha) for path, size, time, sha in _rows(path)})


def recorded_token(path: Path | str) -> str | None:
    """Read the token of the record at `path`; None when there is none."""
    try:
        with open(path, encoding="utf-8", newline="") as file:
            return next(csv.reader(file))[1]
    except FileNotFoundError:
        return None


def _rows(path: Path | str) -> Iterator[list[str]]:
    """Yield path, size, time stamp and SHA-256 of each file of a record, as text."""
    with open(path, encoding="utf-8", newline="") as file:
        yield from islice(csv.reader(file), 2, None)


class Comparison(NamedTuple):
    """Hold the token of given files' present content, and the files that differ from their record in time alone."""

    token: str
    touched: dict[str, Fingerprint]


def compare(path: Path | str, root: Path | str, files: list[str]) -> Comparison:
    """Compare `files` (below `root`) with the record at `path`.

    The token is the recorded one while the content is as recorded, else one derived from what changed. Without a record
    it is derived from sizes and time stamps, so that other content later gets another token.
    """
    if (token := recorded_token(path)) is None:
        return Comparison(digest([[file, *(_stat(root, file) or ["missing"])] for file in files]), {})
    recorded, gone, new = {}, [], set(files)
    for file, size, time, sha256 in _rows(path):  # a million of them: as text, and without a Fingerprint for each
        if file not in new:
            gone.append(file)
            continue
        new.discard(file)
        status = _stat(root, file)
        if status is None or (str(status[0]), str(status[1])) != (size, time):
            recorded[file] = sha256
    suspects = [file for file in files if file in recorded or file in new]
    with ThreadPoolExecutor(_HASHING_THREADS) as pool:
        read = dict(zip(suspects, pool.map(lambda file: take_fingerprint(root, file), suspects), strict=True))
    digests = {file: found.sha256 if found else "missing" for file, found in read.items()}
    changes = [[file, sha256] for file, sha256 in digests.items() if sha256 != recorded.get(file)]
    changes += [[file, "gone"] for file in sorted(gone)]
    return Comparison(digest(token, changes), {}) if changes else Comparison(token, read)


def note_touched(path: Path | str, touched: dict[str, Fingerprint]) -> None:
    """Put the new time stamps of unchanged files into the record at `path`, so that they are not read at every start."""
    known = read_record(path)
    write_record(path, Record(known.token, known.fingerprints | touched))


def is_as_recorded(known: Record | None, root: Path | str, file: str) -> bool:
    """Return whether `file` (below `root`) has the content that the record states."""
    status = _stat(root, file)
    if known is None or file not in known.fingerprints or status is None:
        return False
    recorded = known.fingerprints[file]
    if status == (recorded.bytes, recorded.mtime_ns):
        return True
    found = take_fingerprint(root, file)
    return found is not None and found.sha256 == recorded.sha256


def _stat(root: Path | str, file: str) -> tuple[int, int] | None:
    """Return size and time stamp (ns); None when the file is not there, or the system refuses its path."""
    try:
        status = os.stat(os.path.join(root, file))  # of a million files: a Path would take longer than the call
    except (OSError, ValueError):
        return None
    return status.st_size, status.st_mtime_ns
