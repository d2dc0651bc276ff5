"""One source, from the net to the paths below the root that it provides."""

import logging
import os
import re
import shutil
import tempfile
from pathlib import Path

from filelock import FileLock, Timeout

from attribench import sources
from attribench.download.archives import Damaged, find_program, unpack
from attribench.download.drive import fetch_drive
from attribench.download.http import Remote, fetch, mirrored
from attribench.download.hub import hub_file
from attribench.download.lock_file import LOCK, lock_files, lock_revision, read_locked
from attribench.download.partial import Partial, Whole, fetched_bytes
from attribench.download.place import find_provided, is_there, put_in_place
from attribench.download.table import DownloadSettings, Source, covers, is_folder, local_name
from attribench.errors import InputError
from attribench.files import is_full_disk, sha256_file

STATE = ".downloads"  # below the root
UNPACKED = "unpacked-"  # begins the names of folders that archives are unpacked into


def download(
    root: Path | str, rows: list[tuple[str, Source]], wanted: list[str], token: str, settings: DownloadSettings
) -> None:
    """Put in place what a source provides and the root does not have, and record it under `token`.

    rows: the source with its name, then the one to fall back on where nothing of it can be had. What is there already stays
    as it is; what the source should provide and does not is an error if it is among `wanted`. Raises InputError with each
    URL and reason when all has failed; what has come by then stays for the next attempt.
    """
    name = rows[0][0]
    folder = Path(root) / STATE
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / f".{name}.lock", timeout=0):
            record = folder / f"{name}.csv"
            recorded = sources.recorded_rows(record)
            placed = _obtain_either(Path(root), rows, wanted, recorded, settings)
            sources.write_record(record, token, [row for _, row in sorted((recorded | placed).items())])
            for made, _ in rows:
                _remove_unpacked(folder / made)
                if not settings.keep_archives:
                    shutil.rmtree(folder / made, ignore_errors=True)
    except Timeout as error:  # an OSError, too
        raise InputError(
            f"{folder / name}: another run is downloading {name}; expected this one to be alone"
        ) from error
    except OSError as error:
        if is_full_disk(error):
            raise InputError(f"{folder / name}: could not be written, the disk is full ({error})") from error
        raise


def _obtain_either(
    root: Path, rows: list[tuple[str, Source]], wanted: list[str], recorded: dict, settings: DownloadSettings
) -> dict[str, sources.Row]:
    missing = [path for path in rows[0][1].provides if not is_there(root, path)]
    reasons = []
    for name, source in rows if missing else []:
        try:
            return _obtain(root, name, source, missing, wanted, recorded, settings)
        except InputError as error:
            logging.warning("%s: %s", name, error)
            reasons.append(f"{name}: {error}")
            if fetched_bytes(root / STATE / name):
                break  # to go on with it later costs less than to begin another
    if reasons:
        raise InputError("\n".join(reasons))
    return {}


def _obtain(
    root: Path,
    name: str,
    source: Source,
    missing: list[str],
    wanted: list[str],
    recorded: dict,
    settings: DownloadSettings,
) -> dict[str, sources.Row]:
    """Fetch, unpack, put the `missing` paths in place; the record's rows of what came."""
    folder = root / STATE / name
    is_archive = source.unpack != "none"
    paths = dict(zip(source.files, [None] * len(source.files) if is_archive else source.provides, strict=True))
    files = {
        file: _fetch(root, name, source, file, settings)
        for file, path in paths.items()
        if is_archive or path in missing
    }
    if is_archive:
        tree = _unpack(source, folder, settings, read_locked(folder.parent, name).files)
        found = _find(tree, missing, wanted)
    else:
        found = {paths[file]: folder / "files" / local_name(file) for file in files}
    _refuse_other_content(name, found, recorded)
    lock_files(folder.parent, name, files)
    rows = {}
    if is_archive:
        rows = {f"{STATE}/{name}/{local_name(file)}": whole for file, whole in files.items()}
        rows = {path: sources.Row(path, whole.bytes, 0, whole.sha256) for path, whole in rows.items()}
    os.sync()  # an unpacked folder must not appear before its content is on the disk
    for path, made in found.items():
        put_in_place(made, root / path)
        if not is_folder(path):
            rows[path] = sources.row_of(root, path)
    return rows


def _find(tree: Path, missing: list[str], wanted: list[str]) -> dict[str, Path]:
    """What the archive has of the `missing` paths."""
    found = {}
    for path in missing:
        try:
            found[path] = find_provided(tree, path)
        except InputError as error:
            if any(covers(path, one) for one in wanted):
                raise
            logging.warning("%s", error)
    return found


def _fetch(root: Path, name: str, source: Source, file: str, settings: DownloadSettings) -> Whole:
    folder = root / STATE
    locked = read_locked(folder, name)
    known = locked.files.get(file, {})
    sha256, known_from = known.get("sha256"), f" (recorded in {folder / LOCK} when it was first fetched)"
    if file in source.sha256:
        sha256, known_from, known = source.sha256[file], f" (config key sources.{name}.sha256)", {}
    partial = Partial(folder / name, local_name(file))
    if (whole := partial.whole) is not None:
        if sha256 in (None, whole.sha256):
            return whole
        partial.forget()
    logging.info("%s: fetching %s", name, file)
    if source.kind == "drive":
        return fetch_drive(source, sha256, known_from, partial, settings)
    if source.kind == "http":
        url = mirrored(source.url + file, settings.mirrors)
        return fetch(Remote(url, known.get("bytes"), sha256, known_from=known_from), partial, settings)
    # A branch is read once; a commit in the table counts more than the one that was fetched before.
    is_commit = re.fullmatch("[0-9a-f]{40}", source.revision)
    revision = source.revision if is_commit else locked.revision or source.revision
    remote, commit = hub_file(source, file, revision, settings)
    if sha256 and remote.sha256 not in (None, sha256):
        raise InputError(f"{remote.url}: SHA-256 is {remote.sha256}, as the hub states; expected {sha256}{known_from}")
    if commit != locked.revision:
        lock_revision(folder, name, commit)
    return fetch(remote, partial, settings)


def _unpack(source: Source, folder: Path, settings: DownloadSettings, locked: dict) -> Path:
    """Unpack the source's archive into a new folder below `folder`, which is returned."""
    _remove_unpacked(folder)
    # Its name is new each time: the 7z program of a run that was killed may still be writing into the old one.
    tree = Path(tempfile.mkdtemp(prefix=UNPACKED, dir=folder))
    volumes = [folder / "files" / local_name(file) for file in source.files]
    try:
        unpack(source.unpack, volumes, tree, settings.expansion, find_program())
    except Damaged as error:
        unverified = [f for f in source.files if source.kind != "hub" and f not in source.sha256 and f not in locked]
        for file in unverified:
            Partial(folder, local_name(file)).forget()
        hint = "it was removed: start again to fetch it anew" if unverified else "its digest is right: it came so"
        raise InputError(f"{error}; {hint}") from error
    return tree


def _remove_unpacked(folder: Path) -> None:
    for old in folder.glob(f"{UNPACKED}*"):
        shutil.rmtree(old, ignore_errors=True)


def _refuse_other_content(name: str, found: dict[str, Path], recorded: dict) -> None:
    """A file that was deleted and comes again stands under its old token, so it must be what it was."""
    for path, made in found.items():
        if path in recorded and (digest := sha256_file(made)) != recorded[path].sha256:
            raise InputError(
                f"{path}: SHA-256 is {digest}; expected {recorded[path].sha256}, which source {name} gave before. To take "
                f"the new one, remove {STATE}/{name}.csv and the source's entry in {STATE}/{LOCK}"
            )
