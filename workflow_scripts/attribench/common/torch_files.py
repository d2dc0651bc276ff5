"""PyTorch files of others: plain tensors, lists and text, or nothing."""

import re
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

from attribench.common.errors import InputError
from attribench.common.files import refuse_placeholder

_EXPORT = (
    "other objects could run any code: where it was made, save tensors, lists and text alone (of a network: "
    '`torch.save(network.state_dict(), "tensors.pth")`); '
)


def load_plain(path: Path | str, expected: str, *, mapped: bool = False) -> Any:
    """Return the content of the PyTorch file at `path`, on the CPU; `mapped` tensors stay on disk until they are read.

    A file that holds more than tensors, containers and text is not loaded, because loading it could run any code. Raises
    InputError with torch's reason, and what was `expected`, for such a file and for one that cannot be read.
    """
    import torch

    refuse_placeholder(path)
    if not mapped and (damaged := _damaged_member(path)):  # reads all of the file
        raise InputError(f"{path}: its part {damaged} is damaged (wrong checksum); expected {expected}")
    try:
        return torch.load(path, map_location="cpu", mmap=mapped, weights_only=True)
    except FileNotFoundError:
        raise InputError(f"{path}: the file does not exist; expected {expected}") from None
    except Exception as error:  # of a file that is none, torch's reader says whatever its first bytes lead it to
        reason = _reason(error)
        raise InputError(
            f"{path}: not a file of plain tensors ({reason}); {_EXPORT * ('nsupported' in reason)}expected {expected}"
        ) from error


def _damaged_member(path: Path | str) -> str | None:
    """Return the first part of an archive of `torch.save` whose checksum is wrong, which torch does not look at."""
    member = None
    try:
        with ZipFile(path) as archive:
            for member in archive.infolist():
                if member.CRC:  # torch can leave it out
                    with archive.open(member) as part:
                        while part.read(1 << 20):
                            pass
    except BadZipFile as error:
        return member.filename if member and "CRC" in str(error) else None
    except Exception:  # of no such file, or none of this form: what is wrong is torch's to say
        return None
    return None


def _reason(error: Exception) -> str:
    """Return what torch found, without its advice on how to load a file that may run any code."""
    found = re.search(r"WeightsUnpickler error: (.*?)(?:\.? Please use|\n|$)", str(error))
    reason = found[1] if found else (str(error).splitlines() or [""])[0]
    if not reason:
        return type(error).__name__
    return f"{type(error).__name__}: {reason}" if isinstance(error, LookupError) else reason
