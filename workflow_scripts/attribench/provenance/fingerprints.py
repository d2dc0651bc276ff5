"""Fingerprints: has the content of the given files (images, split files, feature files) changed since they were read?

The job that reads such files records size, time stamp and SHA-256 of each under a token, which stands for their content in
keys. While sizes and time stamps are as recorded, the files count as unchanged, and only others are read again. So a touched
file or a copied folder changes nothing, a changed image does, and a million unchanged images cost one `stat` each.

The token is chosen before the files are read, and may be chosen before they are downloaded; it stays while their content
does. The record of a collection also says how it is cut into shards, and which shards are unchanged since an earlier token.
"""

import csv
import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, takewhile
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


class Listed(NamedTuple):
    """Say how a collection was listed and cut into shards.

    images: their number, those beyond `database_limit` too. cut: the number by which `shard_slice` cuts. shards: by name,
    the tokens of those that kept an earlier one. limit: `database_limit`, if it was set before the images were known.
    """

    images: int
    cut: int
    shards: dict[str, str]
    limit: int | None = None


class Record(NamedTuple):
    """Hold what a job read: fingerprints by path, under a token; and of a collection how it was listed."""

    token: str
    fingerprints: dict[str, Fingerprint]
    listed: Listed | None = None


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


def write_fingerprints(
    output: Path | str,
    root: Path | str,
    files: list[str],
    token: str,
    threads: int = 1,
    *,
    unread: Iterable[str] = (),
    how_listed: Listed | None = None,
) -> None:
    """Write the fingerprints of `files` (below `root`) under `token`.

    Raises InputError that lists files which are missing or cannot be read. Only files whose size or time stamp is not as
    recorded are read. unread: other files, whose records are kept as they are. how_listed: how a collection was listed.
    """
    known = record.fingerprints if (record := read_record(output)) else {}

    def fingerprint_of(file: str) -> Fingerprint | None:
        recorded = known.get(file)
        is_same = recorded is not None and _stat(root, file) == (recorded.bytes, recorded.mtime_ns)
        return recorded if is_same else take_fingerprint(root, file)

    with ThreadPoolExecutor(max(1, threads)) as pool:
        fingerprints = list(pool.map(fingerprint_of, files))
    missing = [file for file, fingerprint in zip(files, fingerprints, strict=True) if fingerprint is None]
    if missing:
        unreadable = [f"{shown(file)} ({why})" for file in missing if (why := _why_not(root, file))]
        missing = [file for file in missing if not _why_not(root, file)]
        count = f"below {root} (expected: {len(files)})"
        problems = [f"{len(missing)} file(s) missing {count}:{listed(missing)}"] if missing else []
        problems += [f"{len(unreadable)} file(s) cannot be read {count}:{listed(unreadable)}"] if unreadable else []
        raise InputError("\n".join(problems))
    kept = [known[file] for file in unread if file in known]
    write_record(output, Record(token, {found.path: found for found in (*fingerprints, *kept)}, how_listed))


def write_record(output: Path | str, content: Record) -> None:
    """Write a record as CSV, atomically: the token, how a collection was listed, names of columns, a row for each file."""
    head: list[tuple] = [("token", content.token)]
    if content.listed:
        images, cut, shards, limit = content.listed
        head += [
            ("listed", images, cut, "" if limit is None else limit),
            *(("shard", *shard) for shard in shards.items()),
        ]
    write_rows(output, chain(head, [Fingerprint._fields], content.fingerprints.values()))


def read_record(path: Path | str) -> Record | None:
    """Read the record at `path`; None when there is none."""
    if (token := recorded_token(path)) is None:
        return None
    fingerprints = {file: Fingerprint(file, int(size), int(time), sha) for file, size, time, sha in _rows(path)}
    return Record(token, fingerprints, read_listed(path))


class Content(NamedTuple):
    """Hold the number of a record's files, their digest in hexadecimal, and of a collection how many images were listed."""

    files: int
    digest: str
    images: int | None


def recorded_content(path: Path | str) -> Content | None:
    """Return what the record at `path` holds, whatever the time stamps of the files; None when there is none.

    The digest is the SHA-256 of a line for each file, in its order: SHA-256, two spaces, path.
    """
    if recorded_token(path) is None:
        return None
    n, whole = 0, hashlib.sha256()
    for file, _, _, sha256 in _rows(path):
        whole.update(f"{sha256}  {file}\n".encode())
        n += 1
    listed = read_listed(path)
    return Content(n, whole.hexdigest(), listed.images if listed else None)


def read_listed(path: Path | str) -> Listed | None:
    """Read how the collection with the record at `path` was listed; None where that is not recorded."""
    found = None
    try:
        for name, *values in _head(path):
            if name == "listed":
                images, cut, limit = values
                found = Listed(int(images), int(cut), {}, int(limit) if limit else None)
            elif name == "shard" and found:
                found.shards[values[0]] = values[1]
    except FileNotFoundError:
        return None
    return found


def recorded_files(path: Path | str) -> list[str]:
    """Return the files in the record at `path`, in its order."""
    return [file for file, *_ in _rows(path)]


def recorded_token(path: Path | str) -> str | None:
    """Read the token of the record at `path`; None when there is none."""
    try:
        with open(path, encoding="utf-8", newline="") as file:
            return next(csv.reader(file))[1]
    except FileNotFoundError:
        return None


def _head(path: Path | str) -> Iterator[list[str]]:
    """Yield the rows of a record above the names of the columns."""
    with open(path, encoding="utf-8", newline="") as file:
        yield from takewhile(lambda row: row != list(Fingerprint._fields), csv.reader(file))


def _rows(path: Path | str) -> Iterator[list[str]]:
    """Yield path, size, time stamp and SHA-256 of each file of a record, as text."""
    with open(path, encoding="utf-8", newline="") as file:
        rows = csv.reader(file)
        for row in rows:
            if row == list(Fingerprint._fields):
                break
        yield from rows


class Comparison(NamedTuple):
    """Hold the token of given files' present content.

    touched: those that differ from their record in time alone. changed: those that do in content, or are not recorded.
    """

    token: str
    touched: dict[str, Fingerprint]
    changed: frozenset[str] = frozenset()


def compare(path: Path | str, root: Path | str, files: list[str], unread: Iterable[str] = ()) -> Comparison:
    """Compare `files` (below `root`) with the record at `path`.

    The token is the recorded one while the content is as recorded, else one derived from what changed. Without a record
    it is derived from sizes and time stamps, so that other content later gets another token. unread: other files that are
    there, which may be recorded too and are not looked at.
    """
    if (token := recorded_token(path)) is None:
        return Comparison(digest([[file, *(_stat(root, file) or ["missing"])] for file in files]), {})
    recorded, gone, new, unread = {}, [], set(files), set(unread)
    for file, size, time, sha256 in _rows(path):  # a million of them: as text, and without a Fingerprint for each
        if file not in new:
            if file not in unread:
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
    changed = frozenset(file for file, _ in changes)
    changes += [[file, "gone"] for file in sorted(gone)]
    return Comparison(digest(token, changes), {}, changed) if changes else Comparison(token, read)


def note_touched(path: Path | str, touched: dict[str, Fingerprint]) -> None:
    """Put the new time stamps of unchanged files into the record at `path`, so that they are not read at every start."""
    known = read_record(path)
    write_record(path, known._replace(fingerprints=known.fingerprints | touched))


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
