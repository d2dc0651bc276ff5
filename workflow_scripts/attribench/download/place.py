"""From the unpacked archive to the paths below the root that it provides: found by name, put in place by rename."""

import errno
import os
import shutil
from pathlib import Path, PurePosixPath

from attribench.download.table import is_folder
from attribench.errors import InputError

_DEPTH = 3  # folders above what is looked for: archives have been made in different places


def is_there(root: Path | str, path: str) -> bool:
    """Whether the root has `path`: a file, or a folder with something in it."""
    found = Path(root) / path
    if not found.is_dir():
        return found.is_file() and not is_folder(path)
    with os.scandir(found) as entries:
        return any(entries)


def find_provided(tree: Path, path: str) -> Path:
    """The file or folder of the unpacked `tree` that `path` means: the one whose own path ends as `path` does, where the
    longest such end counts. A tree that holds nothing but files is itself the folder that was asked for.

    Raises InputError that lists what the tree holds when there is none, or more than one.
    """
    parts = PurePosixPath(path).parts
    folders = _folders(tree)
    for start in range(len(parts)):
        found = [folder / Path(*parts[start:]) for folder in folders]
        found = [candidate for candidate in found if _is_kind(candidate, path)]
        # An outer folder of the same name, not one that lies within it.
        found = [candidate for candidate in found if not set(candidate.parents) & set(found)]
        if len(found) == 1:
            return found[0]
        if found:
            raise InputError(
                f"{path} is there {len(found)} times: {', '.join(str(f.relative_to(tree)) for f in found)}"
            )
    if is_folder(path) and len(folders) == 1:
        return tree
    listed = sorted(entry.name + "/" * entry.is_dir() for entry in os.scandir(tree))
    shown = ", ".join(listed[:20]) + (f" and {len(listed) - 20} more" if len(listed) > 20 else "")
    raise InputError(f"the archive has no {path} (nor the end of that path); at its top it has {shown}")


def _is_kind(candidate: Path, path: str) -> bool:
    return candidate.is_dir() if is_folder(path) else candidate.is_file()


def _folders(tree: Path) -> list[Path]:
    """The tree and the folders below it down to a small depth."""
    found, level = [tree], [tree]
    for _ in range(_DEPTH):
        level = [
            Path(entry.path) for folder in level for entry in os.scandir(folder) if entry.is_dir(follow_symlinks=False)
        ]
        found += level
    return found


def put_in_place(source: Path, target: Path) -> None:
    """Move `source` to `target`, which appears whole or not at all, also on another disk."""
    target = Path(os.path.realpath(target))  # an empty folder that is a link stays a link
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.replace(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        near = target.with_name(f".{target.name}.part")
        if source.is_dir():
            shutil.rmtree(near, ignore_errors=True)
            shutil.copytree(source, near, symlinks=True)
        else:
            shutil.copy2(source, near)
        os.sync()
        os.replace(near, target)
