"""From an unpacked archive into the root: the provided paths are found by name, and each appears whole by a rename."""

import errno
import os
import shutil
from pathlib import Path, PurePosixPath

from attribench.common.errors import InputError
from attribench.download.table import is_folder

_DEPTH = 3  # levels of folders that an archive may have above what it provides
_SHOWN = 20  # names in a message


def is_there(root: Path | str, path: str) -> bool:
    """Return whether the root has `path`: a file, or a folder with something in it."""
    target = Path(root) / path
    if not os.path.isdir(target):  # unlike Path.is_dir, False for what the system refuses
        return os.path.isfile(target) and not is_folder(path)
    with os.scandir(target) as entries:
        return any(entries)


def files_below(root: Path | str, path: str) -> list[str]:
    """Return `path` (below the root) if it is a file, or the files in that folder, but for hidden ones."""
    folder = Path(root) / path
    if not folder.is_dir():
        return [path]
    return sorted(f"{path.rstrip('/')}/{file.name}" for file in folder.iterdir() if not file.name.startswith("."))


def find_provided(tree: Path, path: str) -> Path:
    """Return the file or folder of the unpacked `tree` that `path` means.

    It is the one whose own path ends as `path` does; the longest such end counts. A tree that holds nothing but files is
    itself the folder `path`. Raises InputError that lists what the tree holds when there is none, or more than one.
    """
    parts = PurePosixPath(path).parts
    folders = _folders(tree)
    for start in range(len(parts)):
        matches = [match for folder in folders if _has_type(match := folder / Path(*parts[start:]), path)]
        # An outer folder of the same name, not one that lies within it.
        matches = [match for match in matches if not set(match.parents) & set(matches)]
        if len(matches) == 1:
            return matches[0]
        if matches:
            shown = ", ".join(str(match.relative_to(tree)) for match in matches)
            raise InputError(f"{path} is there {len(matches)} times: {shown}")
    if is_folder(path) and len(folders) == 1:
        return tree
    names = sorted(entry.name + "/" * entry.is_dir() for entry in os.scandir(tree))
    shown = ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
    raise InputError(f"the archive has no {path} (nor the end of that path); at its top it has {shown}")


def _has_type(candidate: Path, path: str) -> bool:
    return candidate.is_dir() if is_folder(path) else candidate.is_file()


def _folders(tree: Path) -> list[Path]:
    """Return the tree and the folders below it, down to a small depth."""
    folders, level = [tree], [tree]
    for _ in range(_DEPTH):
        entries = [entry for folder in level for entry in os.scandir(folder)]
        level = [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
        folders += level
    return folders


def install(made: Path, target: Path) -> None:
    """Move the file or folder `made` to `target`, which appears whole or not at all, also on another disk."""
    target = Path(os.path.realpath(target))  # an empty folder that is a link stays a link
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.replace(made, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        near = target.with_name(f".{target.name}.part")
        if made.is_dir():
            shutil.rmtree(near, ignore_errors=True)
            shutil.copytree(made, near, symlinks=True)
        else:
            shutil.copy2(made, near)
        os.sync()
        os.replace(near, target)
