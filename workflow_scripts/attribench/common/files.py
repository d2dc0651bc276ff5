"""Files that are there whole or not at all."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from attribench.common.errors import InputError

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
        temporary.unlink(missing_ok=True)


def is_full_disk(error: BaseException) -> bool:
    """Return whether `error`, or what caused it, says that a disk, quota or file-size limit is exhausted.

    HDF5 wraps the system's error and keeps only its number in the text, so the text is read too.
    """
    import errno

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


def sha256_file(path: Path | str) -> str:
    """SHA-256 of the file's bytes, hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(_READ_BYTES):
            digest.update(block)
    return digest.hexdigest()
