"""Folders of images: the images below one, without going in circles, and what is left out of it and why."""

import errno
import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from attribench.common.errors import InputError, shown
from attribench.common.files import reason
from attribench.common.images import image_endings

ENDING, HIDDEN = "no image by its ending", "hidden"
CYCLE, TWICE = "link to a folder above", "link to a folder that is listed already"
_SNAKEMAKE = ".snakemake_timestamp"  # which Snakemake puts into folders that it makes
_MOST_ENDINGS = 50  # that are counted one by one


class LeftOut(NamedTuple):
    """Count what was left out for one reason: `count` files or folders with an ending, and the path of the first."""

    reason: str
    ending: str
    count: int
    example: str


class Listing(NamedTuple):
    """Hold the images below a folder as sorted paths, and what was left out."""

    images: list[str]
    left_out: list[LeftOut]


def list_images(top: Path | str, what: str = "folder") -> Listing:
    """Return the images below `top`, by paths relative to it: files that end as an image does, and are not hidden.

    A folder is listed once: by its own path, or by the first of the links that lead there. Links to folders above are not
    followed. Raises InputError for a folder that is missing (`what` names it), or may not be listed, for a link to nothing,
    and for an image whose name is not UTF-8.
    """
    if not os.path.isdir(top):
        found = "is no folder" if os.path.lexists(top) else "does not exist"
        raise InputError(f"{shown(str(top))}: the {what} {found}; expected a folder of images")
    endings, images = image_endings(), []
    left_out: list[tuple[str, str, str]] = []
    seen, above = {_identity(top)}, _folders_above(top)
    waiting, links = [""], []  # folders to list
    while waiting or links:
        if not waiting:  # all that lies below the others was seen
            links.sort(reverse=True)
            path = links.pop()
            identity = _identity(os.path.join(top, path))
            if identity in seen or identity in above:
                left_out.append((TWICE if identity in seen else CYCLE, "", path))
                continue
            seen.add(identity)
            above |= _folders_above(os.path.join(top, path))
            waiting.append(f"{path}/")
        beginning = waiting.pop()
        for entry in _entries(os.path.join(top, beginning)):
            name = entry.name
            path, ending = beginning + name, _ending(name)
            if name[0] == ".":
                left_out += [(HIDDEN, "", path)] if name != _SNAKEMAKE else []
            elif _is_folder(entry) and entry.is_symlink():
                links.append(path)
            elif _is_folder(entry):
                seen.add(_identity(entry.path))
                waiting.append(f"{path}/")
            elif ending in endings:
                images.append(path)
            elif entry.is_symlink() and not os.path.exists(entry.path):
                raise InputError(f"{shown(entry.path)}: a link to nothing; expected what it leads to, or no link")
            else:
                left_out.append((ENDING, ending, path))
    for path in images:
        if not path.isprintable() and path != path.encode(errors="ignore").decode():
            file = os.fsencode(os.path.join(top, path))
            raise InputError(f"{file!r}: the file name is not UTF-8; expected one that is")
    return Listing(sorted(images), count_left_out(left_out))


def count_left_out(files: Iterable[tuple[str, str, str]]) -> list[LeftOut]:
    """Count `files`, each a reason, an ending and a path, by reason and ending: the most frequent first."""
    counts: dict[tuple[str, str], int] = {}
    examples: dict[tuple[str, str], str] = {}
    for why, ending, path in sorted(files):
        key = (why, ending)
        counts[key] = counts.get(key, 0) + 1
        examples.setdefault(key, path)
    ordered = sorted(counts, key=lambda key: (key[0], -counts[key], key[1]))
    rest = ordered[_MOST_ENDINGS:]
    rows = [LeftOut(*map(_text, key), counts[key], _text(examples[key])) for key in ordered[:_MOST_ENDINGS]]
    if rest:
        rows.append(LeftOut(ENDING, "others", sum(counts[key] for key in rest), _text(examples[rest[0]])))
    return rows


def left_out_text(rows: Iterable[LeftOut]) -> str:
    """Return what was left out as a sentence's part: `12 no image by its ending (.txt 11, none 1), 1 hidden`."""
    groups: dict[str, list[LeftOut]] = {}
    for row in rows:
        groups.setdefault(row.reason, []).append(row)
    parts = []
    for why, group in groups.items():
        endings = ", ".join(f"{row.ending or 'without one'} {row.count}" for row in group)
        parts.append(f"{sum(row.count for row in group)} {why}" + (f" ({endings})" if why == ENDING else ""))
    return ", ".join(parts)


def _ending(name: str) -> str:
    """Return the ending of a file's name in lower case, with the dot; `os.path.splitext` takes three times as long."""
    dot = name.rfind(".")
    return name[dot:].lower() if dot > 0 else ""


def _entries(folder: str) -> list[os.DirEntry]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        name = shown(folder.rstrip("/") or "/")
        raise InputError(
            f"{name}: the folder cannot be listed ({reason(error)}); expected one that may be read"
        ) from error


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError as error:
        if error.errno == errno.ELOOP:  # a link to itself: a file that cannot be read
            return False
        raise InputError(f"{shown(entry.path)}: cannot be read ({reason(error)})") from error


def _folders_above(folder: Path | str) -> frozenset[tuple[int, int]]:
    """Return what identifies the folders above `folder`, where it really lies."""
    return frozenset(filter(None, map(_identity, Path(os.path.realpath(folder)).parents)))


def _identity(folder: Path | str) -> tuple[int, int] | None:
    """Return what tells a folder from any other, whatever links lead there; None for one that cannot be reached."""
    try:
        status = os.stat(folder)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _text(name: str) -> str:
    """Return a file name, or a part of one, as text that can be written: one that is not UTF-8 with marks in it."""
    return os.fsencode(name).decode(errors="replace")
