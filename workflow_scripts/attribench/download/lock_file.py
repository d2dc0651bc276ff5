"""`ROOT/.downloads/lock.json`: commit, size and SHA-256 of what was fetched, by source and file.

Few of the files have published digests. What the first fetch found is noted here and expected ever after. To take a file
that changed upstream, remove its source from the lock.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from attribench.download.partial import Whole
from attribench.errors import InputError
from attribench.files import write_text

LOCK = "lock.json"


@dataclass(frozen=True)
class Locked:
    """What the lock says of a source: its commit, None where there is none, and bytes and SHA-256 by file."""

    revision: str | None
    files: dict[str, dict]


def read_locked(folder: Path, name: str) -> Locked:
    """What the lock in `folder` says of source `name`."""
    known = _read(folder / LOCK).get(name, {})
    return Locked(known.get("revision"), known.get("files", {}))


def lock_revision(folder: Path, name: str, revision: str) -> None:
    """Note the commit of source `name`: later files, and later fetches, are of the same one."""
    _change(folder, name, lambda known: known | {"revision": revision})


def lock_files(folder: Path, name: str, files: dict[str, Whole]) -> None:
    """Note the files of source `name` that turned out to be good."""
    found = {file: {"bytes": whole.bytes, "sha256": whole.sha256, "url": whole.url} for file, whole in files.items()}
    _change(folder, name, lambda known: known | {"files": known.get("files", {}) | found})


def _change(folder: Path, name: str, change) -> None:
    with FileLock(folder / f".{LOCK}.lock"):
        content = _read(folder / LOCK)
        content[name] = change(content.get(name, {}))
        write_text(folder / LOCK, json.dumps(content, indent=1, sort_keys=True) + "\n")


def _read(path: Path) -> dict:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise InputError(f"{path}: is not JSON ({error}); expected what a download wrote") from error
