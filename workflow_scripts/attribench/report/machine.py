"""Describe where and by what the page was made: the commit, versions of packages, the machine."""

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

from attribench.plots.captions import count, listing

# Those that results come from; the whole list is in envs/requirements.txt.
_PACKAGES = (
    *("snakemake", "numpy", "scipy", "pandas", "numba", "torch", "torchvision", "timm", "open_clip_torch"),
    *("pillow", "kornia-rs", "h5py", "matplotlib"),
)
_SECONDS = 20
_NAMED = 6  # files with changes


def commit_of(repository: Path) -> str:
    """Return the commit of the clone at `repository`, and which files that git tracks differ from it."""
    top = _output("git", "-C", str(repository), "rev-parse", "--show-toplevel")
    if not top or Path(top).resolve() != repository.resolve():
        return "unknown: the code does not lie in a clone"
    commit = _output("git", "-C", str(repository), "rev-parse", "HEAD")
    if not commit:
        return "unknown: no commit yet"
    changed = (
        _output("git", "-C", str(repository), "--no-optional-locks", "diff", "--name-only", "HEAD") or ""
    ).splitlines()
    if not changed:
        return f"{commit}, unchanged"
    named = changed[:_NAMED] + [f"{len(changed) - _NAMED} more"] * (len(changed) > _NAMED)
    return f"{commit}, with uncommitted changes in {count(len(changed), 'file')}: {listing(named)}"


def versions() -> dict[str, str]:
    """Return the version of Python and of the packages that results come from, by name; those not installed are left out."""
    version_of = {"Python": platform.python_version()}
    for package in _PACKAGES:
        try:
            version_of[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return version_of


def machine() -> dict[str, str]:
    """Return what this machine is: system, processor, cores, memory, GPU."""
    import psutil

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "System": platform.platform(),
        "Processor": _processor(),
        "Cores": f"{cores} of {os.cpu_count()}" if cores != os.cpu_count() else f"{cores}",
        "Memory": f"{psutil.virtual_memory().total / 1e9:.1f} GB",
        "GPU": gpus(_output("nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader,nounits") or ""),
    }


def gpus(table: str) -> str:
    """Return what nvidia-smi says of the GPUs, `NAME, MiB` a line, as `NAME, 151 GB; ...`; `none` where it says nothing."""
    rows = [line.rpartition(", ") for line in table.splitlines()]
    return (
        "; ".join(f"{name}, {int(size) * 2**20 / 1e9:.0f} GB" if size.isdigit() else name for name, _, size in rows)
        or "none"
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _output(*command: str) -> str | None:
    """Return what a command prints; None where it is not installed, fails, or hangs."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
