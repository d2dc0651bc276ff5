"""Networks of one's own: `model: FILE.py:FUNCTION` names a function that makes one.

It returns a torch module and its preprocessing: a dict of resize, crop, interpolation, mean and std, and squash if it is
wanted. It is called without arguments or, where `pretrained` is a file, with that file's path.
"""

import ast
import importlib.util
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from attribench.common.errors import InputError, first_line, nearest
from attribench.decode.preprocessing import Preprocessing
from attribench.extract.checkpoints import require_weights_file, weights_digest, weights_file
from attribench.extract.libraries import Loaded, NetworkInput
from attribench.extract.registry import ExtractorEntry, WeightsFile

_KEYS = {"resize", "crop", "interpolation", "mean", "std"}


def stated_inputs(entry: ExtractorEntry, root: Path) -> list[NetworkInput]:
    """Return what the function states of the images."""
    return [_checked_input(_in_errors(entry, root), _returned(entry, root)[1])]


def files(entry: ExtractorEntry, root: Path) -> list[str]:
    """Return the file, and those below its folder that it imports, directly or through others."""
    file, _ = _file_and_function(entry, root)
    found, waiting = [], [file]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.append(path)
            waiting += _imported(path, file.parent)
    return [str(path) for path in found]


def load(entry: ExtractorEntry, root: Path, size: int) -> Loaded:
    """Return what the function makes; code counts in its digest as tensors do."""
    import torch

    module = _returned(entry, root)[0]
    code = sha256(b"".join(Path(path).read_bytes() for path in files(entry, root))).hexdigest()
    try:
        module = module.to(torch.float32).eval()
        return Loaded(module, weights_digest(module, f"python {_file_and_function(entry, root)[1]} {code}"))
    except Exception as error:  # of any module
        raise _fault(_in_errors(entry, root), error) from error


def outline(entry: ExtractorEntry, root: Path, size: int) -> Any | None:
    """Return what the function makes, if the file that it takes is there."""
    weights = entry.pretrained
    if isinstance(weights, WeightsFile) and not weights_file(weights, root).is_file():
        return None
    return _returned(entry, root)[0].float().eval()


def _file_and_function(entry: ExtractorEntry, root: Path) -> tuple[Path, str]:
    """Return the file that `model` names, absolute, and the function."""
    file, _, function = entry.model.rpartition(":")
    path = (root / file).absolute()
    if not path.is_file():
        raise InputError(
            f"model {entry.model}: {path} does not exist; expected a Python file below the root, or absolute"
        )
    return path, function


def _in_errors(entry: ExtractorEntry, root: Path) -> str:
    """Return what errors call the function."""
    path, function = _file_and_function(entry, root)
    return f"{path}, function {function}"


def _returned(entry: ExtractorEntry, root: Path) -> tuple[Any, Any]:
    """Return the module and the preprocessing that the function returns."""
    import torch

    weights = weights_file(entry.pretrained, root) if isinstance(entry.pretrained, WeightsFile) else None
    if weights:
        require_weights_file(weights)
    path, function = _file_and_function(entry, root)
    made = _import_and_call(path, function, weights, entry.seed)
    if not (isinstance(made, tuple) and len(made) == 2 and isinstance(made[0], torch.nn.Module)):
        raise InputError(
            f"{_in_errors(entry, root)}: returned {type(made).__name__}; expected (torch.nn.Module, preprocessing)"
        )
    return made


@cache
def _import_and_call(path: Path, function: str, weights: Path | None, seed: int) -> Any:
    """Return what the function returns, called once in a process."""
    import torch

    where = f"{path}, function {function}"
    try:
        with _importable(path.parent):
            spec = importlib.util.spec_from_file_location(
                f"extractor_{sha256(str(path).encode()).hexdigest()[:8]}", path
            )
            module = importlib.util.module_from_spec(spec)
            sys.modules[spec.name] = module  # dataclasses and others look their module up
            spec.loader.exec_module(module)
            make: Callable | None = getattr(module, function, None)
            if not callable(make):
                functions = [name for name, value in vars(module).items() if callable(value)]
                raise InputError(f"{where}: there is no such function in the file{nearest(function, functions)}")
            torch.manual_seed(seed)
            return make(*([weights] if weights else []))
    except InputError:
        raise
    except (Exception, SystemExit) as error:  # of any code, and a script's own end
        raise _fault(where, error, path) from error


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Let the block import modules that lie in `folder`. They are forgotten after it: others may have the same names."""
    before = set(sys.modules)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for name in set(sys.modules) - before:
            if Path(getattr(sys.modules[name], "__file__", None) or "/").is_relative_to(folder):
                del sys.modules[name]


def _fault(where: str, error: BaseException, path: Path | None = None) -> InputError:
    """Return the error for one of the user's own code, with the line of the file where it came up."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    line = f", line {lines[-1]}" if lines else ""
    return InputError(f"{where}{line}: {type(error).__name__}: {first_line(error)}")


def _checked_input(where: str, stated: Any) -> NetworkInput:
    """Return the preprocessing that the function states. Raises InputError that names the keys which are wrong."""
    expected = f"expected a dict of {', '.join(sorted(_KEYS))} (and squash)"
    if not isinstance(stated, dict) or not _KEYS <= set(stated) <= _KEYS | {"squash"}:
        found = sorted(map(str, stated)) if isinstance(stated, dict) else type(stated).__name__
        raise InputError(f"{where}: its preprocessing is {found}; {expected}")
    try:  # as the registry checks what an entry gives
        given = ExtractorEntry(
            library="python", model="any.py:any", **{key: _plain(value) for key, value in stated.items()}
        )
    except ValidationError as error:
        key, what = ".".join(map(str, error.errors()[0]["loc"])), error.errors()[0]["msg"]
        raise InputError(f"{where}: its preprocessing is {stated}; {key}: {what}; {expected}") from error
    preprocessing = Preprocessing(given.resize, given.crop, given.interpolation, bool(given.squash))
    return NetworkInput(preprocessing, tuple(given.mean), tuple(given.std))


def _plain(value: Any) -> Any:
    """Return numbers of NumPy or torch, or sequences of such, as Python's own."""
    value = value.tolist() if hasattr(value, "tolist") else value
    return list(map(_plain, value)) if isinstance(value, tuple | list) else value


def _imported(path: Path, folder: Path) -> list[Path]:
    """Return the files below `folder` that the Python file at `path` imports."""
    try:
        tree = ast.parse(path.read_bytes(), filename=str(path))
    except SyntaxError as error:
        raise InputError(f"{path}, line {error.lineno}: {error.msg}; expected Python") from error
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join([*_package(path, folder, node.level), *filter(None, [node.module])])
            names += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    found = []
    for name in names:
        for depth in range(1, name.count(".") + 2):
            part = folder.joinpath(*name.split(".")[:depth])
            found += [file for file in (part / "__init__.py", part.with_name(part.name + ".py")) if file.is_file()]
    return list(dict.fromkeys(found))


def _package(path: Path, folder: Path, level: int) -> tuple[str, ...]:
    """Return the names of the package that an import with `level` dots begins at."""
    parts = path.relative_to(folder).parent.parts
    return parts[: len(parts) - level + 1] if level else ()
