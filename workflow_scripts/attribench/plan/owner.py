"""Note whose results a folder holds: the benchmark and the root of the runs that write into it."""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from attribench.common.errors import InputError
from attribench.common.files import write_text

_NOTE = ".benchmark.json"


class Owner(NamedTuple):
    """Name a benchmark and its root, as the config has it: relative to the working folder, or absolute."""

    benchmark: str
    root: str


def read_owner(folder: str) -> Owner | None:
    """Return whose results `folder` holds; None if no run has noted it. Raises InputError for a damaged note."""
    path = Path(folder, _NOTE)
    try:
        return Owner(**json.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, TypeError) as error:
        raise InputError(f"{path}: not a note of a run ({error}); expected benchmark and root; remove it") from error


def note_owner(folder: str, owner: Owner) -> None:
    """Note in `folder` whose results it holds."""
    if read_owner(folder) != owner:
        write_text(Path(folder, _NOTE), json.dumps(owner._asdict()) + "\n")


def refuse_among_images(key: str, folder: str, image_folders: Iterable[str]) -> None:
    """Raise InputError if `folder`, of config key `key`, lies in a folder of images: figures there would become images."""
    for images in image_folders:
        if Path(folder).resolve().is_relative_to(Path(images).resolve()):
            raise InputError(
                f"config key {key}: {folder} lies in {images}, whose images are read; expected a folder outside of it"
            )


def refuse_other_owner(key: str, folder: str, owner: Owner, has_same_images: bool) -> None:
    """Raise InputError if `folder`, of config key `key`, holds what a run of another benchmark or root has made.

    A root may have moved: another one is taken if the old one is gone, or if its images are those that were read.
    """
    other = read_owner(folder)
    if other is None or other == owner:
        return
    is_same_root = os.path.realpath(other.root) == os.path.realpath(owner.root)
    has_moved = is_same_root or has_same_images or not os.path.exists(other.root)
    if other.benchmark == owner.benchmark and has_moved:
        return
    example = f"{folder}_{owner.benchmark if other.benchmark != owner.benchmark else 'other'}"
    raise InputError(
        f"config key {key}: {folder} holds what was made of benchmark `{other.benchmark}` (root {other.root}), which a run "
        f"of `{owner.benchmark}` (root {owner.root}) would replace; expected another folder, e.g. {key}={example}, or "
        f"remove it: rm -r {folder}"
    )
