"""Keys: what a job's result was made from, and how a file carries the key of the job that made it.

Every job has a key: a digest of its code, the settings it uses and the keys of all it reads. Jobs with equal keys make equal
files; a job whose key changed has to run again. Snakemake compares the key as a param. A file carries its key to wherever
it is copied: an HDF5 file as its attribute `key`, any other in `.keys/NAME` beside it, with the SHA-256 of its content.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

from attribench.common.errors import InputError
from attribench.common.files import sha256_file, write_text

LIBRARY = Path(__file__).parents[1]
_PACKAGE = LIBRARY.name
# Where this working folder's own products are noted, beside Snakemake's records of them, which go when this folder goes.
_MADE_HERE = Path(".snakemake/attribench")


def digest(*parts: Any) -> str:
    """Return 32 hexadecimal digits over `parts` (anything that JSON can hold), equal on every machine."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def key_of(stage: str, *, code: int | str, settings: Any = (), reads: Iterable[str] = ()) -> str:
    """Return the key of a job of `stage`.

    code: a version number, raised by hand when results change, or a `code_digest`. settings: anything that JSON can hold.
    reads: the keys and tokens of all that the job reads.
    """
    return digest(stage, code, settings, list(reads))


# --- code -------------------------------------------------------------------------------------------------------------


@lru_cache
def code_digest(script: Path) -> str:
    """Return the digest of `script` and of the modules of this library that it imports, directly or through others."""
    files = {script, *used_modules(script)}
    return digest(sorted((file.name, sha256_file(file)) for file in files))


def used_modules(script: Path) -> set[Path]:
    """Return the library's files that `script` needs: its imports, theirs, and the packages they lie in."""
    modules: set[Path] = set()
    waiting = [script]
    while waiting:
        for module in _imports(waiting.pop()):
            if module not in modules:
                modules.add(module)
                waiting.append(module)
    return modules


# What follows `from` or `import`, and the names that are imported from it, in brackets or not. To parse every module would
# take a third of a dry run's time. The linter refuses relative imports.
_IMPORT = re.compile(rf"^[ \t]*(?:from|import) ({_PACKAGE}[\w.]*)(?: import (\([^)]*|.*))?", re.MULTILINE)


@lru_cache
def _imports(file: Path) -> set[Path]:
    """Return the files that the imports in `file` run, of this library."""
    found = _IMPORT.findall(file.read_text(encoding="utf-8"))
    names = [
        name for base, imported in found for name in (base, *(f"{base}.{n}" for n in re.findall(r"\w+", imported)))
    ]
    parents = {".".join(parts[:n]) for parts in (name.split(".") for name in names) for n in range(1, len(parts) + 1)}
    return {_modules()[name] for name in parents & _modules().keys()}


@lru_cache
def _modules() -> dict[str, Path]:
    """Return every module's file, by the name that imports it."""
    files = {path.relative_to(LIBRARY.parent).with_suffix(""): path for path in LIBRARY.rglob("*.py")}
    return {".".join(name.parts).removesuffix(".__init__"): path for name, path in files.items()}


# --- files ------------------------------------------------------------------------------------------------------------


def holds_its_key(path: Path | str) -> bool:
    """Return whether the file at `path` holds its key itself."""
    return str(path).endswith(".h5")


def write_key(path: Path | str, key: str) -> None:
    """Write `key` beside the file or folder at `path`, with the digest of a file's content."""
    content = "" if os.path.isdir(path) else sha256_file(path)
    write_text(_key_file(path), f"{key} {content}\n")


def forget_key(path: Path | str) -> None:
    """Remove the key beside the file or folder at `path`, if there is one."""
    _key_file(path).unlink(missing_ok=True)


def carried_key(path: Path | str) -> str | None:
    """Return the key that the file at `path` was made with; None for a file that is missing or carries none."""
    if not os.path.exists(path):
        return None
    return _key_inside(path) if holds_its_key(path) else _key_beside(path)[0]


def is_current(path: Path | str, key: str) -> bool:
    """Return whether the file at `path` exists and was made with `key`."""
    return carried_key(path) == key


def refuse_other_key(path: Path | str, expected: str) -> None:
    """Raise InputError that names `path` unless its content was made with the key `expected`."""
    key = carried_key(path)
    if key == expected and not holds_its_key(path) and not os.path.isdir(path):
        # The key beside a file may be that of another one, which lay at its place before.
        key = expected if _key_beside(path)[1] == sha256_file(path) else "another file's"
    if key != expected:
        raise InputError(
            f"{path}: was made with other settings, other data or another version (key {key or 'none'}; expected "
            f"{expected}); delete it and run again to make it anew: rm {path}"
        )


def note_made_here(path: Path | str) -> None:
    """Note that a job of this working folder makes the file at `path`, so that Snakemake has a record of it."""
    _MADE_HERE.mkdir(parents=True, exist_ok=True)
    (_MADE_HERE / digest(str(path))).touch()


def was_made_here(path: Path | str) -> bool:
    """Return whether a job of this working folder made the file at `path`."""
    return (_MADE_HERE / digest(str(path))).exists()


def _key_file(path: Path | str) -> Path:
    path = Path(path)
    return path.parent / ".keys" / path.name


def _key_beside(path: Path | str) -> tuple[str | None, str]:
    """Return the key noted beside `path` and the digest noted with it."""
    try:
        key, _, content = _key_file(path).read_text().strip().partition(" ")
    except (FileNotFoundError, NotADirectoryError):
        return None, ""
    return key, content


def _key_inside(path: Path | str) -> str | None:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            return file.attrs.get("key")
    except OSError:
        return None
