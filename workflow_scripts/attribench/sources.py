"""The given files (images, split files, feature files): has their content changed since they were last read?

The job that reads such files records size, time stamp and SHA-256 of each, under a token. When the workflow starts, files
whose size and time stamp are as recorded are taken as unchanged, and only the others are read again. A touched file or a
copied folder therefore changes nothing, a changed image does, and a million unchanged ones cost one `stat` each.
"""

import csv
import io
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from attribench.errors import InputError
from attribench.files import sha256_file, write_text
from attribench.identity import digest

_COLUMNS = ("path", "bytes", "mtime_ns", "sha256")
FIRST = "first"  # the token of files that nothing was recorded of


def record(record_path: Path | str, root: Path | str, files: list[str], token: str, threads: int = 1) -> None:
    """Write size, time stamp (ns) and SHA-256 of each of `files` (relative to `root`) under `token`.

    Raises InputError that names the files which are not there.
    """
    with ThreadPoolExecutor(max_workers=max(1, threads)) as pool:
        rows = list(pool.map(lambda file: _row(Path(root), file), files))
    missing = [file for file, row in zip(files, rows, strict=True) if row is None]
    if missing:
        shown = "".join(f"\n  {file}" for file in missing[:20])
        rest = f"\n  … and {len(missing) - 20} more" if len(missing) > 20 else ""
        raise InputError(f"{len(missing)} file(s) missing below {root} (expected: {len(files)}):{shown}{rest}")
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["token", token])
    writer.writerow(_COLUMNS)
    writer.writerows(rows)
    write_text(record_path, text.getvalue())


def current_token(record_path: Path | str, root: Path | str, files: list[str]) -> str:
    """The token that stands for the content of `files` as they are now.

    It is `FIRST` before anything was recorded, the recorded token while the content is as recorded, and otherwise one
    derived from what changed.
    """
    token = recorded_token(record_path)
    if token is None:
        return FIRST
    with open(record_path, encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))[2:]
    known = {path: (int(size), int(mtime), sha) for path, size, mtime, sha in rows}
    changes = [change for file in files if (change := _change(Path(root), file, known.get(file)))]
    changes += [[file, "gone"] for file in sorted(known.keys() - set(files))]
    return digest(token, changes) if changes else token


def recorded_token(record_path: Path | str) -> str | None:
    """The token in the record; None when there is no record."""
    try:
        with open(record_path, encoding="utf-8", newline="") as file:
            return next(csv.reader(file))[1]
    except FileNotFoundError:
        return None


def _change(root: Path, file: str, known: tuple[int, int, str] | None) -> list[str] | None:
    try:
        status = os.stat(root / file)
    except (FileNotFoundError, NotADirectoryError):
        return [file, "missing"]
    if known and status.st_size == known[0] and status.st_mtime_ns == known[1]:
        return None
    sha = sha256_file(root / file)
    return None if known and sha == known[2] else [file, sha]


def _row(root: Path, file: str) -> tuple[str, int, int, str] | None:
    try:
        status = os.stat(root / file)
        return file, status.st_size, status.st_mtime_ns, sha256_file(root / file)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
