"""Keep what has come of a source's files, below `ROOT/.downloads/NAME/`, so that a download that was killed goes on.

`parts/FILE`: what has come of a file. `notes/FILE.part`: what it is a part of. `files/FILE`: a whole file.
`notes/FILE.whole`: its size and digest; a file without this note is not taken for whole. `notes/commit`: of a repo on the
hub, the branch and the commit that it was when the download began.
"""

import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from attribench.common.files import sha256_file, write_text


@dataclass(frozen=True)
class PartOf:
    """Hold what a partial file is a part of; None: unknown.

    validator: the server's ETag or date. identity: stands for the content (`http.Remote`). total: bytes of the whole file.
    """

    url: str
    validator: str | None
    identity: str | None
    total: int | None


@dataclass(frozen=True)
class Whole:
    """Hold bytes and SHA-256 of a file that came whole."""

    bytes: int
    sha256: str


class Partial:
    """Hold one file that is fetched into a source's `folder`."""

    def __init__(self, folder: Path, name: str):
        self.part = folder / "parts" / name
        self.file = folder / "files" / name
        self._part_of = folder / "notes" / f"{name}.part"
        self._whole = folder / "notes" / f"{name}.whole"
        for path in (self.part, self.file):
            path.parent.mkdir(parents=True, exist_ok=True)

    @property
    def size(self) -> int:
        """Return the number of bytes that have come."""
        return self.part.stat().st_size if self.part.exists() else 0

    @property
    def part_of(self) -> PartOf | None:
        """Return what the part is a part of; None when nothing has come."""
        note = _read(self._part_of)
        return PartOf(**note) if self.size and note else None

    def begin(self, part_of: PartOf) -> None:
        """Start from nothing."""
        self.discard()
        write_text(self._part_of, json.dumps(asdict(part_of)))

    def discard(self) -> None:
        """Remove what has come."""
        for path in (self.part, self._part_of):
            path.unlink(missing_ok=True)

    @property
    def whole(self) -> Whole | None:
        """Return size and digest of the whole file, if it is there."""
        note = _read(self._whole)
        if not note or not self.file.exists() or self.file.stat().st_size != note["bytes"]:
            return None
        return Whole(note["bytes"], note["sha256"])

    def finish(self, whole: Whole) -> None:
        """Move the part to the whole files."""
        write_text(self._whole, json.dumps(asdict(whole)))
        with open(self.part, "rb") as file:
            os.fsync(file.fileno())
        os.replace(self.part, self.file)
        self._part_of.unlink(missing_ok=True)

    def take(self, copy: Path) -> None:
        """Take `copy`, a file that lies on this machine already, for the whole file; it stays where it is."""
        self.discard()
        try:
            os.link(os.path.realpath(copy), self.part)
        except OSError:  # on another disk, say
            shutil.copyfile(copy, self.part)
        self.finish(Whole(self.size, sha256_file(self.part)))

    def forget(self) -> None:
        """Remove the whole file, which turned out to be damaged."""
        self._whole.unlink(missing_ok=True)
        self.file.unlink(missing_ok=True)


def fetched_bytes(folder: Path) -> int:
    """Return how many bytes lie in a source's `folder`, as whole files and parts."""
    files = [path for name in ("parts", "files") for path in (folder / name).rglob("*") if path.is_file()]
    return sum(path.stat().st_size for path in files)


def noted_commit(folder: Path, branch: str) -> str | None:
    """Return the commit that `branch` was when the download into `folder` began; None before that."""
    return (_read(folder / "notes" / "commit") or {}).get(branch)


def note_commit(folder: Path, branch: str, commit: str) -> None:
    """Note that the download into `folder` takes `branch` at `commit`."""
    write_text(folder / "notes" / "commit", json.dumps({branch: commit}))


def _read(path: Path) -> dict | None:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
