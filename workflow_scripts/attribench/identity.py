"""What an output was made from, as one key: so that nothing is stale and nothing is made again needlessly.

Every job has a key: a digest of the code it runs, the settings it uses and the keys of all it reads. Two jobs with equal
keys make equal files; a job whose key changed must run again, whatever the clock says. Snakemake compares the key as a
param. It is also recorded beside each output, so that it travels with the results to another clone.
"""

import ast
import hashlib
import json
import os
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

from attribench.files import write_text

LIBRARY = Path(__file__).parent
_PACKAGE = LIBRARY.name


def digest(*parts: Any) -> str:
    """32 hexadecimal digits over `parts` (anything that JSON can hold), equal on every machine."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


@lru_cache
def code_digest(script: Path) -> str:
    """Digest of `script` and of just those modules of this library that it imports, directly or through others.

    Snakemake's own code trigger looks at the script's time stamp and at no module.
    """
    files = {script, *used_modules(script)}
    return digest(sorted((file.name, hashlib.sha256(file.read_bytes()).hexdigest()) for file in files))


def used_modules(script: Path) -> set[Path]:
    """The library's files that `script` needs: its imports, theirs, and the packages they lie in."""
    found: set[Path] = set()
    waiting = [script]
    while waiting:
        for module in _imports(waiting.pop()):
            if module not in found:
                found.add(module)
                waiting.append(module)
    return found


@lru_cache
def _imports(file: Path) -> tuple[Path, ...]:
    names: list[str] = []
    for node in ast.walk(ast.parse(file.read_bytes(), filename=str(file))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(file, node)
            names += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    return tuple(path for name in names for path in _module_files(name))


def _absolute(file: Path, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    package = (_PACKAGE, *file.relative_to(LIBRARY).parent.parts)
    return ".".join([*package[: len(package) - node.level + 1], *filter(None, [node.module])])


def _module_files(name: str) -> Iterable[Path]:
    """The files that importing `name` runs, if it is one of this library's."""
    parts = name.split(".")
    if parts[0] != _PACKAGE:
        return
    for depth in range(1, len(parts) + 1):
        path = LIBRARY.joinpath(*parts[1:depth])
        if (path / "__init__.py").exists():
            yield path / "__init__.py"
        elif path.with_suffix(".py").exists():
            yield path.with_suffix(".py")


def _record(output: Path | str) -> Path:
    output = Path(output)
    return output.parent / ".keys" / output.name


def record_key(output: Path | str, key: str) -> None:
    """Note beside `output` that the job with `key` made it."""
    write_text(_record(output), key + "\n")


def recorded_key(output: Path | str) -> str | None:
    """The key that `output` was made with; None when nothing is noted."""
    try:
        return _record(output).read_text().strip()
    except (FileNotFoundError, NotADirectoryError):
        return None


def is_made(output: Path | str, key: str) -> bool:
    """Whether `output` is there, made with `key`."""
    return os.path.exists(output) and recorded_key(output) == key


def forget_key(output: Path | str) -> None:
    """Remove the note, before `output` is made anew."""
    _record(output).unlink(missing_ok=True)
