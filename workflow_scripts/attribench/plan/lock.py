"""After a run that was killed: Snakemake's lock of a folder whose owner is dead.

Each run notes host and process number beside the lock. The next one on that host removes a lock whose owner no longer
exists; a lock of another host, or without a note, stays, since its owner may be alive.
"""

import os
import shutil
import socket
from pathlib import Path

import psutil


def note_run(folder: Path | str) -> None:
    """Note in `folder` (.snakemake) that this process holds the lock."""
    Path(folder, "owner").write_text(f"{socket.gethostname()} {os.getpid()}\n")


def remove_dead_lock(folder: Path | str) -> bool:
    """Remove the lock in `folder` (.snakemake) if its owner ran on this host and is dead; return whether it was."""
    try:
        host, process = Path(folder, "owner").read_text().split()
    except (FileNotFoundError, ValueError):
        return False
    if host != socket.gethostname() or _is_alive(int(process)) or not Path(folder, "locks").is_dir():
        return False
    shutil.rmtree(Path(folder, "locks"))
    return True


def _is_alive(process: int) -> bool:
    """Return whether the process exists and has not ended; one that has ended may wait for its parent for long."""
    try:
        return psutil.Process(process).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
