"""The given files (images, split files, feature files): has their content changed since they were last read?

The job that reads such files records size, time stamp and SHA-256 of each, under a token. When the workflow starts, files
whose size and time stamp are as recorded are taken as unchanged, and only the others are read again. A touched file or a
copied folder therefore changes nothing, a changed image does, and a million unchanged ones cost one `stat` each.
"""

import csv
import io
import os
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from attribench.errors import InputError
from attribench.files import sha256_file, write_text
from attribench.identity import digest

_COLUMNS = ("path", "bytes", "mtime_ns", "sha256")
_HASHING_THREADS = 8


class Row(NamedTuple):
    """A file as it was read: its path below the root, bytes, time stamp (ns) and SHA-256."""

    path: str
    bytes: int
    mtime_ns: int
    sha256: str


def record(record_path: Path | str, root: Path | str, files: list[str], token: str, threads: int = 1) -> None:
    """Write size, time stamp (ns) and SHA-256 of each of `files` (relative to `root`) under `token`.

    Raises InputError that names the files which are not there.
    """
    with ThreadPoolExecutor(max_workers=max(1, threads)) as pool:
        rows = list(pool.map(lambda file: row_of(root, file), files))
    missing = [file for file, row in zip(files, rows, strict=True) if row is None]
    if missing:
        shown = "".join(f"\n  {file}" for file in missing[:20])
        rest = f"\n  … and {len(missing) - 20} more" if len(missing) > 20 else ""
        raise InputError(f"{len(missing)} file(s) missing below {root} (expected: {len(files)}):{shown}{rest}")
    write_record(record_path, token, rows)


def write_record(record_path: Path | str, token: str, rows: list[Row]) -> None:
    """Write `rows` under `token`."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["token", token])
    writer.writerow(_COLUMNS)
    writer.writerows(rows)
    write_text(record_path, text.getvalue())


def current_token(record_path: Path | str, root: Path | str, files: list[str]) -> str:
    """The token that stands for the content of `files` as they are now.

    It is the recorded token while the content is as recorded, and otherwise one derived from what changed. Without a
    record it is derived from sizes and time stamps: no constant, which later content could be taken for. New time stamps
    of unchanged content are put into the record, so that the files are read once and not at every start.
    """
    if (token := recorded_token(record_path)) is None:
        return digest([[file, *(_stat(root, file) or ["missing"])] for file in files])
    known = _recorded(record_path)
    suspects = [file for file in files if not _is_unchanged(known.get(file), _stat(root, file))]
    with ThreadPoolExecutor(max_workers=_HASHING_THREADS) as pool:
        rows = dict(zip(suspects, pool.map(lambda file: row_of(root, file), suspects), strict=True))
    changes = [
        [file, row[3] if row else "missing"]
        for file, row in rows.items()
        if not row or row.sha256 != known.get(file, [""])[-1]
    ]
    changes += [[file, "gone"] for file in sorted(known.keys() - set(files))]
    if changes:
        return digest(token, changes)
    if rows:
        write_record(record_path, token, [rows.get(file) or Row(*known[file]) for file in files])
    return token


def is_as_recorded(record_path: Path | str, root: Path | str, file: str) -> bool:
    """Whether the record has `file`, and the file has the content that is recorded."""
    known = _recorded(record_path).get(file)
    found = _stat(root, file)
    if known is None or found is None:
        return False
    return _is_unchanged(known, found) or sha256_file(Path(root) / file) == known[-1]


def recorded_rows(record_path: Path | str) -> dict[str, Row]:
    """The record's rows by path; none when there is no record."""
    return {path: Row(path, int(size), int(mtime), sha) for path, size, mtime, sha in _recorded(record_path).values()}


def _recorded(record_path: Path | str) -> dict[str, list[str]]:
    """The record's rows by path, as text: of a million, few are needed as numbers."""
    try:
        with open(record_path, encoding="utf-8", newline="") as file:
            return {row[0]: row for row in islice(csv.reader(file), 2, None)}
    except FileNotFoundError:
        return {}


def _is_unchanged(known: list[str] | None, found: tuple[int, int] | None) -> bool:
    return known is not None and found is not None and known[1] == str(found[0]) and known[2] == str(found[1])


def recorded_token(record_path: Path | str) -> str | None:
    """The token in the record; None when there is no record."""
    try:
        with open(record_path, encoding="utf-8", newline="") as file:
            return next(csv.reader(file))[1]
    except FileNotFoundError:
        return None


def _stat(root: Path | str, file: str) -> tuple[int, int] | None:
    """Size and time stamp (ns); None when the file is not there."""
    try:
        status = os.stat(os.path.join(root, file))  # of a million files: a Path would take longer than the call
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status.st_size, status.st_mtime_ns


def row_of(root: Path | str, file: str) -> Row | None:
    """The file as it is now; None when it is not there."""
    try:
        status = os.stat(Path(root) / file)
        return Row(file, status.st_size, status.st_mtime_ns, sha256_file(Path(root) / file))
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
