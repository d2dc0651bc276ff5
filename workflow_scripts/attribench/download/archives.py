"""Unpack 7z and tar archives, unless a member lies outside the archive's folder or the content is far too large.

A 7z archive may be cut into volumes. py7zr reads its list of members first; then the `7z` program unpacks it on all
processors, or py7zr does where there is no such program. A tar archive has no list: each member is checked before it is
written.
"""

import lzma
import re
import shutil
import subprocess
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from attribench.common.errors import InputError
from attribench.common.files import is_full_disk
from attribench.common.progress import byte_progress

_BLOCK = 1 << 20
PROGRAMS = ("7z", "7zz", "7za")


class Damaged(InputError):
    """Say that an archive is broken: fetching it anew may help."""


@dataclass
class SizeLimit:
    """Hold how large an archive's content may be: `expansion` times its `packed` bytes, and what is `free` on the disk."""

    archive: Path
    packed: int
    expansion: float
    free: int

    def check(self, unpacked: int) -> None:
        """Raise InputError when the content, of `unpacked` bytes so far, is too large."""
        if unpacked > self.expansion * self.packed:
            raise InputError(
                f"{self.archive}: holds {unpacked} bytes or more, packed in {self.packed}; expected at most "
                f"{self.expansion:g} times as many (config key download.expansion)"
            )
        if unpacked > self.free:
            raise InputError(f"{self.archive}: holds {unpacked} bytes or more, and the disk has {self.free} left")


def unpack(form: str, volumes: list[Path], target: Path, expansion: float, program: str | None = None) -> None:
    """Unpack the archive (a `7z` in one volume or many, in order, or a `tar`) into `target`, an empty folder.

    program: the 7z program, as `find_program` returns it; None: py7zr unpacks. Raises InputError for members that lie
    outside, links and special files, and too large a content; Damaged for an archive that is broken.
    """
    target.mkdir(parents=True, exist_ok=True)
    if missing := [volume.name for volume in volumes if not volume.is_file()]:
        raise InputError(f"{volumes[0].parent}: {', '.join(missing)} is missing; expected {len(volumes)} volumes")
    packed = sum(volume.stat().st_size for volume in volumes)
    limit = SizeLimit(volumes[0], packed, expansion, shutil.disk_usage(target).free)
    with _plain_errors(volumes[0]):
        if form == "tar":
            _unpack_tar(volumes[0], target, limit)
        elif program is None:
            with _open_7z(volumes) as archive:
                _check_members(archive, limit)
                _extract_with_py7zr(archive, target)
        else:
            with _open_7z(volumes) as archive:
                _check_members(archive, limit)
            _extract_with_program(program, volumes[0], target)


def find_program() -> str | None:
    """Return the 7z program, if one is installed."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


@contextmanager
def _plain_errors(archive: Path) -> Iterator[None]:
    import py7zr

    damage = (py7zr.exceptions.ArchiveError, tarfile.ReadError, EOFError, zlib.error, lzma.LZMAError)
    try:
        yield
    except tarfile.FilterError as error:
        raise InputError(f"{archive}: {error}; expected members inside the archive's folder") from error
    except damage as error:
        raise Damaged(f"{archive}: the archive is damaged ({type(error).__name__}: {error})") from error
    except OSError as error:
        if is_full_disk(error):
            raise InputError(f"{archive}: could not be unpacked, the disk is full ({error})") from error
        if error.errno is None:  # of the decompressors, about the data
            raise Damaged(f"{archive}: the archive is damaged ({error})") from error
        raise


def _check_name(archive: Path, name: str) -> None:
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or re.match("[A-Za-z]:", name):
        raise InputError(f"{archive}: member {name!r} lies outside the archive's folder")


# --- 7z -----------------------------------------------------------------------------------------------------------------


@contextmanager
def _open_7z(volumes: list[Path]) -> Iterator[Any]:
    import multivolumefile
    import py7zr

    if len(volumes) == 1:
        with py7zr.SevenZipFile(volumes[0]) as archive:
            yield archive
        return
    base = volumes[0].with_suffix("")
    present = sorted(base.parent.glob(f"{base.name}.*"))  # what multivolumefile takes for the volumes
    if present != volumes:
        names = [path.name for path in present]
        raise InputError(f"{base}: the volumes are {names}; expected {[path.name for path in volumes]}")
    with multivolumefile.MultiVolume(base, mode="rb") as joined, py7zr.SevenZipFile(joined) as archive:
        yield archive


def _check_members(archive: Any, limit: SizeLimit) -> None:
    unpacked = 0
    for member in archive.list():
        _check_name(limit.archive, member.filename)
        if not (member.is_file or member.is_directory):
            raise InputError(f"{limit.archive}: member {member.filename!r} is a link or special file; expected none")
        unpacked += member.uncompressed or 0
        limit.check(unpacked)


def _extract_with_py7zr(archive: Any, target: Path) -> None:
    import py7zr

    class Report(py7zr.callbacks.ExtractCallback):
        def report_update(self, decompressed_bytes: str) -> None:
            bar.update(int(decompressed_bytes))

        def report_start_preparation(self) -> None: ...
        def report_start(self, processing_file_path: str, processing_bytes: str) -> None: ...
        def report_end(self, processing_file_path: str, wrote_bytes: str) -> None: ...
        def report_warning(self, message: str) -> None: ...
        def report_postprocess(self) -> None: ...

    with byte_progress("unpacking", sum(member.uncompressed or 0 for member in archive.list())) as bar:
        archive.extractall(target, callback=Report())


def _extract_with_program(program: str, first: Path, target: Path) -> None:
    """Run the 7z program. Its percentages become a bar; its last lines are the reason when it fails."""
    command = [program, "x", "-y", "-bso0", "-bse1", "-bsp1", f"-o{target}", str(first)]
    last = ""
    with byte_progress("unpacking (percent)", 100) as bar:
        bar.unit_scale, bar.unit = False, "%"
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, errors="replace")
        for line in _chunks(process.stdout):
            if percent := re.match(r"\s*(\d+)%", line):
                bar.update(max(0, int(percent[1]) - bar.n))
            elif line.strip():
                last = f"{last}; {line.strip()}"[-500:]
    if process.wait() != 0:
        is_damaged = re.search("Data Error|CRC Failed|Unexpected end|Headers Error|as archive", last)
        raise (Damaged if is_damaged else InputError)(f"{first}: {program} failed ({process.returncode}{last})")


def _chunks(stream: Any) -> Iterator[str]:
    """Yield the lines of the program's output, which overwrites its progress with backspaces and returns."""
    text = ""
    while part := stream.read(64):
        *lines, text = re.split(r"[\r\n\b]+", text + part)
        yield from lines
    yield text


# --- tar ----------------------------------------------------------------------------------------------------------------


def _unpack_tar(path: Path, target: Path, limit: SizeLimit) -> None:
    if not hasattr(tarfile, "data_filter"):
        raise InputError(f"{path}: this Python unpacks no tar archive safely; expected Python 3.11.4 or later")
    unpacked = 0
    with open(path, "rb") as file, byte_progress("unpacking", limit.packed) as bar:
        with tarfile.open(fileobj=file, mode="r:*") as archive:
            for member in archive:
                _check_name(path, member.name)
                unpacked += member.size
                limit.check(unpacked)
                archive.extract(member, target, filter="data")
                bar.update(file.tell() - bar.n)
            # To the end of the compressed stream, where its checksum is; tarfile stops at the end of the archive.
            while archive.fileobj.read(_BLOCK):
                pass
    if unpacked == 0 and not any(target.iterdir()):
        raise Damaged(f"{path}: the archive is empty")
