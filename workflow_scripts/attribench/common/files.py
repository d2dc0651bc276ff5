"""Files that are there whole or not at all."""

import errno
import hashlib
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from attribench.common.errors import InputError, shown

_READ_BYTES = 1 << 20


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside `path` with the same suffix; when the block ends well, fsync it and rename it there.

    When the block raises, the temporary file is removed and `path` is as before. A full disk becomes an `InputError` that
    names `path`, because the user, not the code, has to act.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        yield temporary
        _sync(temporary)
        os.replace(temporary, path)
        _sync(path.parent)
    except (OSError, RuntimeError) as error:  # h5py raises either
        if is_full_disk(error):
            raise InputError(f"{path}: could not be written, the disk is full ({error})") from error
        raise
    finally:
        with suppress(OSError):  # what happened before says more
            temporary.unlink()


def is_full_disk(error: BaseException) -> bool:
    """Return whether `error`, or what caused it, says that a disk, quota or file-size limit is exhausted.

    HDF5 wraps the system's error and keeps only its number in the text, so the text is read too.
    """
    numbers = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    while error is not None:
        if getattr(error, "errno", None) in numbers or any(f"errno = {n}," in str(error) for n in numbers):
            return True
        error = error.__cause__ or error.__context__
    return False


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path | str, text: str) -> None:
    """Write `text` to `path` as UTF-8 with the line ends it has, atomically."""
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        file.write(text)


@contextmanager
def open_given(path: Path | str, what: str, expected: str = "") -> Iterator[BinaryIO]:
    """Yield the given file at `path`, open for reading bytes.

    Raises InputError, calling it `what`, for one that is missing, that is no file, or that the system will not open: for its
    name's length, a zero byte in it, a link to itself, or because it may not be read.
    """
    expectation = f"; expected {expected}" if expected else ""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # to open a pipe would wait for ever
            raise InputError(f"{path}: the {what} is no file{expectation}")
        file = open(path, "rb")
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{path}: the {what} does not exist{expectation}") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{shown(str(path))}: the {what} cannot be read ({reason(error)}){expectation}") from error
    with file:
        yield file


def reason(error: Exception) -> str:
    """Return what the system says of `error`, without the path."""
    return getattr(error, "strerror", None) or str(error)


def is_refused(error: BaseException) -> bool:
    """Return whether the system refused a path: for its rights or length, a link to itself, or a read-only disk."""
    numbers = (errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ELOOP, errno.EROFS)
    return isinstance(error, OSError) and error.errno in numbers


def sha256_file(path: Path | str) -> str:
    """SHA-256 of the file's bytes, hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(_READ_BYTES):
            digest.update(block)
    return digest.hexdigest()


def git_sha1_file(path: Path | str) -> str:
    """SHA-1 of the file as git stores it, hexadecimal; the hub states it for files outside LFS."""
    digest = hashlib.sha1(f"blob {os.path.getsize(path)}\0".encode(), usedforsecurity=False)
    with open(path, "rb") as file:
        while block := file.read(_READ_BYTES):
            digest.update(block)
    return digest.hexdigest()


# What a file begins with that stands in for another one, and what it is.
_PLACEHOLDERS = (
    (rb"version https://git-lfs", "a pointer of Git LFS, not the file that it stands for; get that by `git lfs pull`"),
    (
        rb"(\.\./)*(\.git)?/annex/objects/",
        "a pointer of git-annex, not the file that it stands for; get that by `git annex get`",
    ),
    (rb"\s*<(!doctype|html|\?xml)", "a web page, not the file; download it anew, by the link to the file itself"),
)


def refuse_placeholder(path: Path | str) -> None:
    """Raise InputError for an empty file, and for a pointer or a web page in place of the file; a missing one is none."""
    try:
        with open(path, "rb") as file:
            begin = file.read(512).removeprefix(b"\xef\xbb\xbf")
    except OSError:
        return
    if not begin:
        raise InputError(f"{path}: is empty; expected the whole file")
    for pattern, what in _PLACEHOLDERS:
        if re.match(pattern, begin, re.IGNORECASE):
            raise InputError(f"{path}: is {what}")
