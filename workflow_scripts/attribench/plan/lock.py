"""Snakemake's locks of a working folder, each kept as long as the run that it belongs to, and no longer.

A run that is killed leaves its locks, and starting again is all that a user should have to do. A run that ends takes the
locks of all runs with it, of those that are alive too (Snakemake 9.27 removes the whole folder). So each run notes beside
the locks which are its own, and the next command in that folder removes those of dead runs and puts back those of living
ones. A lock that no note names stays, and one of a run on another host, which may be alive.
"""

import json
import os
import socket
from itertools import count
from pathlib import Path
from typing import NamedTuple

import psutil

from attribench.common.files import write_text


class Lock(NamedTuple):
    """Hold what a lock file says: whether its files are a run's `input` or `output`, and their paths, a line each."""

    use: str
    files: str


class Locks:
    """Hold the locks in `folder` (.snakemake), as they were before this run had any."""

    def __init__(self, folder: Path | str):
        self._folder = Path(folder, "locks")
        self._notes = Path(folder, "runs")
        self._before = self._present()

    def settle(self) -> None:
        """Remove the locks of dead runs, and put back those that runs which are alive have lost.

        Where no lock is to go or to come back, no byte changes: a dry run settles the locks too.
        """
        notes, here, dead = self._runs()
        kept = {lock for path, note in notes.items() if path not in dead for lock in _locks_of(note)}
        present = self._present()
        for path in dead:
            files = [file for lock in {*_locks_of(notes[path])} - kept for file in present.get(lock, [])]
            for file in [*files, path] if files else []:
                file.unlink(missing_ok=True)
        for lock in {lock for path in here if path not in dead for lock in _locks_of(notes[path])} - {*present}:
            self._put(lock)
        self._before = self._present()

    def note_run(self) -> None:
        """Note the locks that came since this run began as its own.

        One of another run that began at the same time may be among them. It then stays until both are dead.
        """
        own = [lock for lock, files in self._present().items() if {*files} - {*self._before.get(lock, [])}]
        process = psutil.Process()
        note = {"host": _host(), "process": process.pid, "started": process.create_time(), "locks": own}
        for path in self._runs()[2]:
            path.unlink(missing_ok=True)
        write_text(self._note, json.dumps(note))

    def forget_run(self) -> None:
        """Remove this run's note, because the run is at its end."""
        self._note.unlink(missing_ok=True)

    @property
    def _note(self) -> Path:
        return self._notes / f"{socket.gethostname()}-{os.getpid()}.json"

    def _runs(self) -> tuple[dict[Path, dict], list[Path], list[Path]]:
        """Return the notes of all runs, and the paths of those that ran on this host, and of those of them that are dead."""
        texts = {path: _text(path) for path in self._notes.glob("*.json")}
        notes = {path: json.loads(text) for path, text in texts.items() if text}
        here = [path for path, note in notes.items() if note["host"] == _host()]
        return notes, here, [path for path in here if not _is_alive(notes[path])]

    def _present(self) -> dict[Lock, list[Path]]:
        """Return the locks that are there, each with the files that say so."""
        present: dict[Lock, list[Path]] = {}
        for path in sorted(self._folder.glob("*.*.lock")):
            if text := _text(path):
                present.setdefault(Lock(path.name.split(".")[1], text), []).append(path)
        return present

    def _put(self, lock: Lock) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        paths = (self._folder / f"{number}.{lock.use}.lock" for number in count())
        write_text(next(path for path in paths if not path.exists()), lock.files)


def _text(path: Path) -> str:
    """Return what the file holds; nothing if another run has just removed it."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""


def _locks_of(note: dict) -> list[Lock]:
    return [Lock(*lock) for lock in note["locks"]]


def _host() -> str:
    """Return the host's name, and the name space of its process numbers, which a container may have for itself."""
    space = "/proc/self/ns/pid"
    return f"{socket.gethostname()} {os.readlink(space) if os.path.islink(space) else ''}"


def _is_alive(note: dict) -> bool:
    """Return whether the noted process exists and has not ended; one that has ended may wait for its parent for long."""
    try:
        process = psutil.Process(note["process"])
        is_same = abs(process.create_time() - note["started"]) < 1  # seconds; numbers are used again
        return is_same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
