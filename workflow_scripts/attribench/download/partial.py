"""A source's folder while it is fetched: the part of a file that has come, and the files that are whole.

Below `ROOT/.downloads/NAME/`: `parts/FILE` what has come of a file, `notes/FILE.part` what it is a part of,
`notes/FILE.whole` size and digest of the whole file, which then lies in `files/FILE`. A file there without that note is not
believed.
"""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from attribench.files import write_text


@dataclass(frozen=True)
class PartOf:
    """What a partial file is a part of: validator: the server's ETag or date; identity: a digest of the content that the
    hub states; total: bytes. Each None where unknown."""

    url: str
    validator: str | None
    identity: str | None
    total: int | None


@dataclass(frozen=True)
class Whole:
    """A file that came whole: its bytes, SHA-256 and URL."""

    bytes: int
    sha256: str
    url: str


class Partial:
    """One file on its way into `folder`."""

    def __init__(self, folder: Path, name: str):
        self.part = folder / "parts" / name
        self.file = folder / "files" / name
        self._part_of = folder / "notes" / f"{name}.part"
        self._whole = folder / "notes" / f"{name}.whole"
        for path in (self.part, self.file):
            path.parent.mkdir(parents=True, exist_ok=True)

    @property
    def size(self) -> int:
        """Bytes that have come."""
        return self.part.stat().st_size if self.part.exists() else 0

    @property
    def part_of(self) -> PartOf | None:
        """What it is a part of; None when nothing has come."""
        return PartOf(**_read(self._part_of)) if self.size and _read(self._part_of) else None

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
        """The whole file, if it is there."""
        note = _read(self._whole)
        if not note or not self.file.exists() or self.file.stat().st_size != note["bytes"]:
            return None
        return Whole(**note)

    def finish(self, whole: Whole) -> None:
        """Move the part to where whole files lie."""
        write_text(self._whole, json.dumps(asdict(whole)))
        with open(self.part, "rb") as file:
            os.fsync(file.fileno())
        os.replace(self.part, self.file)
        self._part_of.unlink(missing_ok=True)

    def forget(self) -> None:
        """Remove the whole file: it turned out to be damaged."""
        self._whole.unlink(missing_ok=True)
        self.file.unlink(missing_ok=True)


def fetched_bytes(folder: Path) -> int:
    """Bytes of the source of `folder` that have come already, whole files and parts."""
    files = [path for name in ("parts", "files") for path in (folder / name).rglob("*") if path.is_file()]
    return sum(path.stat().st_size for path in files)


def _read(path: Path) -> dict | None:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
