"""One source's job: fetch its files, unpack them, move what it provides into the root, and record it."""

import logging
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock, Timeout

from attribench.common.errors import InputError
from attribench.common.files import is_full_disk, sha256_file
from attribench.download.address import public_address, remote_file
from attribench.download.archives import Damaged, find_program, unpack
from attribench.download.http import Unreachable, fetch
from attribench.download.install import find_provided, install, is_there
from attribench.download.partial import Partial, Whole, fetched_bytes
from attribench.download.space import Budget
from attribench.download.table import STATE, DownloadSettings, Source, covers, is_folder, local_name
from attribench.extract.hub import PARENT, refuse_other_file
from attribench.provenance.fingerprints import Fingerprint, Record, read_record, take_fingerprint, write_record

_UNPACKED = "unpacked-"  # begins the names of folders that archives are unpacked into


@dataclass(frozen=True)
class _Job:
    """Hold a source, and what it is to bring.

    missing: provided paths that the root lacks. wanted: paths that must be there in the end. record: where what comes is
    recorded. recorded: what came before, by path; when it comes again, it must be the same.
    """

    name: str
    source: Source
    root: Path
    missing: list[str]
    wanted: list[str]
    record: Path
    recorded: dict[str, Fingerprint]
    settings: DownloadSettings

    @property
    def folder(self) -> Path:
        """Return the folder that the source's files are fetched into."""
        return self.root / STATE / self.name

    def recorded_path(self, file: str) -> str:
        """Return the path under which one of the source's `files` is recorded: an archive has one of its own."""
        if self.source.unpack == "none":
            return self.source.provides[self.source.files.index(file)]
        return f"{STATE}/{self.name}/{local_name(file)}"


def download(
    root: Path | str, rows: list[tuple[str, Source]], wanted: list[str], token: str, settings: DownloadSettings
) -> None:
    """Put what a source provides and the root lacks into the root, and record it under `token`.

    rows: the source with its name, then the one to fall back on where nothing of the first can be fetched. What is there
    stays as it is. What the source fails to provide is an error if it is among the `wanted` paths. Raises InputError with
    each URL and reason when all has failed; what has come by then is kept for the next attempt.
    """
    root, (name, source) = Path(root), rows[0]
    record = root / STATE / f"{name}.csv"
    with alone(root / STATE, name):
        known = read_record(record)
        recorded = known.fingerprints if known else {}
        missing = [path for path in source.provides if not is_there(root, path)]
        jobs = [_Job(*row, root, missing, wanted, record, recorded, settings) for row in rows]
        came = _obtain_either(jobs) if missing else {}
        write_record(record, Record(token, dict(sorted((recorded | came).items()))))
        for job in jobs:
            _remove_unpacked(job.folder)
            if not settings.keep_archives:
                shutil.rmtree(job.folder, ignore_errors=True)


@contextmanager
def alone(state: Path, name: str) -> Iterator[None]:
    """Keep runs of other working folders from the source `name`; report a full disk plainly."""
    state.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(state / f".{name}.lock", timeout=0):
            yield
    except Timeout as error:  # an OSError, too
        raise InputError(f"{state / name}: another run is downloading {name}; expected this one to be alone") from error
    except OSError as error:
        if is_full_disk(error):
            raise InputError(f"{state / name}: could not be written, the disk is full ({error})") from error
        raise


def _obtain_either(jobs: list[_Job]) -> dict[str, Fingerprint]:
    """Obtain the first source, or its fallback. Return what `_obtain` does."""
    budget = Budget(str(jobs[0].record.parent), jobs[0].settings.keep_archives)
    budget.add(jobs[0].name, jobs[0].source)
    logging.info("%s", budget.table)
    budget.refuse_if_too_large()
    reasons, is_unreachable = [], False
    for job in jobs:
        if reasons:
            logging.warning("%s", reasons[-1])
        try:
            return _obtain(job)
        except InputError as error:
            reasons.append(f"{job.name}: {error}")
            is_unreachable |= isinstance(error, Unreachable)
            if fetched_bytes(job.folder):
                break  # to go on with it later costs less than to begin another
    raise InputError("\n".join([*reasons, *(_other_ways(jobs[0]) if is_unreachable else [])]))


def _other_ways(job: _Job) -> list[str]:
    """Return the lines that say how to do without a connection to the source."""
    addresses = [public_address(job.source, file) for file in job.source.files]
    if job.source.unpack == "none":
        by_hand = [
            (address, path) for address, path in zip(addresses, job.source.provides, strict=True) if path in job.missing
        ]
    else:
        by_hand = [(f"unpacked from {' and '.join(addresses)}", path) for path in job.missing]
    return [
        "expected a connection, or another server (HF_ENDPOINT in the environment for the hub, the config key "
        "download.mirrors for any), or what is missing, put there by hand:",
        *(f"  {job.root / path}  <-  {address}" for address, path in by_hand),
    ]


def _obtain(job: _Job) -> dict[str, Fingerprint]:
    """Fetch, unpack and install what is missing. Return the fingerprints of archives and files that came, by path."""
    is_archive = job.source.unpack != "none"
    files = [file for file in job.source.files if is_archive or job.recorded_path(file) in job.missing]
    fetched = {file: _fetch(job, file) for file in files}
    if is_archive:
        provided = _find_missing(job, _unpack(job))
    else:
        provided = {job.recorded_path(file): job.folder / "files" / local_name(file) for file in files}
    _refuse_other_files(job, fetched)
    _refuse_other_content(job, provided)
    os.sync()  # an unpacked folder must not appear before its content is on the disk
    came = {}
    for file, whole in fetched.items() if is_archive else ():
        path = job.recorded_path(file)
        came[path] = Fingerprint(path, whole.bytes, 0, whole.sha256)
    for path, made in provided.items():
        install(made, job.root / path)
        if not is_folder(path):
            came[path] = take_fingerprint(job.root, path)
    return came


# --- fetching -----------------------------------------------------------------------------------------------------------


class _Expected(NamedTuple):
    """Hold what a file must be (None: not known), and who says so, for messages."""

    sha256: str | None = None
    size: int | None = None
    known_from: str = ""


def _expected(job: _Job, file: str) -> _Expected:
    """Return what one of the source's `files` must be: as the table says, or as it was when it came before."""
    if file in job.source.sha256:
        return _Expected(job.source.sha256[file], known_from=f" (config key sources.{job.name}.sha256)")
    if known := job.recorded.get(job.recorded_path(file)):
        return _Expected(known.sha256, known.bytes, f" (recorded in {job.record} when it was first fetched)")
    return _Expected()


def _fetch(job: _Job, file: str) -> Whole:
    """Fetch one of the source's `files`, unless it has come whole already."""
    expected = _expected(job, file)
    partial = Partial(job.folder, local_name(file))
    if (whole := partial.whole) is not None:
        if expected.sha256 in (None, whole.sha256):
            return whole
        partial.forget()
    logging.info("%s: fetching %s", job.name, file)
    remote = remote_file(job.source, file, job.folder, job.settings)
    if expected.sha256 not in (None, remote.sha256):
        if remote.sha256 is not None:
            raise InputError(
                f"{remote.url}: SHA-256 is {remote.sha256}, as the hub states; expected {expected.sha256}"
                f"{expected.known_from}"
            )
        size = expected.size or remote.size
        remote = replace(remote, sha256=expected.sha256, size=size, known_from=expected.known_from)
    return fetch(remote, partial, job.settings)


def _refuse_other_files(job: _Job, files: Iterable[str]) -> None:
    """Raise InputError for a file of a network that cannot be what is wanted, and forget it."""
    for file in files if job.source.provides[0].startswith(f"{PARENT}/") else ():
        partial = Partial(job.folder, local_name(file))
        try:
            refuse_other_file(partial.file)
        except InputError as error:
            partial.forget()
            raise InputError(f"{public_address(job.source, file)}: {error}; it was removed") from error


def _refuse_other_content(job: _Job, provided: dict[str, Path]) -> None:
    """Raise InputError for a file that differs from the one that came before: the same token stands for it in keys."""
    for path, made in provided.items():
        if path in job.recorded and (digest := sha256_file(made)) != job.recorded[path].sha256:
            raise InputError(
                f"{path}: SHA-256 is {digest}; expected {job.recorded[path].sha256}, which source {job.name} gave before. "
                f"To take the new one, remove {STATE}/{job.record.name}"
            )


# --- unpacking ----------------------------------------------------------------------------------------------------------


def _unpack(job: _Job) -> Path:
    """Unpack the source's archive into a new folder, which is returned."""
    _remove_unpacked(job.folder)
    # Its name is new each time: the 7z program of a run that was killed may still be writing into the old one.
    tree = Path(tempfile.mkdtemp(prefix=_UNPACKED, dir=job.folder))
    volumes = [job.folder / "files" / local_name(file) for file in job.source.files]
    try:
        unpack(job.source.unpack, volumes, tree, job.settings.expansion, find_program())
    except Damaged as error:
        is_hub = job.source.kind == "hub"  # which states a digest of each file
        unverified = [file for file in job.source.files if not is_hub and _expected(job, file).sha256 is None]
        for file in unverified:
            Partial(job.folder, local_name(file)).forget()
        hint = "it was removed: start again to fetch it anew" if unverified else "its digest is right: it came so"
        raise InputError(f"{error}; {hint}") from error
    return tree


def _find_missing(job: _Job, tree: Path) -> dict[str, Path]:
    """Return where the unpacked `tree` has the missing paths; raise InputError when it lacks a wanted one."""
    provided = {}
    for path in job.missing:
        try:
            provided[path] = find_provided(tree, path)
        except InputError as error:
            if any(covers(path, one) for one in job.wanted):
                raise
            logging.warning("%s", error)
    return provided


def _remove_unpacked(folder: Path) -> None:
    for old in folder.glob(f"{_UNPACKED}*"):
        shutil.rmtree(old, ignore_errors=True)
