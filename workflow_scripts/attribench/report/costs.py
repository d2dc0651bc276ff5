"""Add up what a run took: time and memory of each stage's jobs, and the disk that its results fill."""

import csv
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_MB = 1e6
_MEBIBYTE = 2**20  # bytes; what Snakemake's benchmark files count memory in


@dataclass(frozen=True)
class StageCost:
    """Hold what a stage's jobs took: their number, wall-clock and processor seconds, and the largest peak memory, in MB.

    The last two are NaN where no job ran long enough to be measured, which a processor time of 0 shows.
    """

    stage: str
    jobs: int
    seconds: float
    cpu_seconds: float
    peak_mb: float


@dataclass(frozen=True)
class FolderSize:
    """Hold a folder's number of files and megabytes."""

    folder: str
    files: int
    megabytes: float


def stage_costs(folder: Path | str) -> list[StageCost]:
    """Return the cost of each stage with benchmark files below `folder`, the longest first."""
    top, rows = Path(folder), {}
    for path in sorted(top.rglob("*.tsv")):
        stage = path.relative_to(top).parts[0].removesuffix(".tsv")
        with open(path, newline="", encoding="utf-8") as file:
            rows.setdefault(stage, []).extend(csv.DictReader(file, delimiter="\t"))
    costs = []
    for stage, jobs in rows.items():
        measured = [job for job in jobs if _number(job.get("cpu_time")) > 0]
        cpu_seconds = sum(_number(job["cpu_time"]) for job in measured) if measured else math.nan
        peak = max((_number(job.get("max_rss")) for job in measured), default=math.nan) * _MEBIBYTE / _MB
        costs.append(StageCost(stage, len(jobs), sum(_number(job["s"]) for job in jobs), cpu_seconds, peak))
    return sorted(costs, key=lambda cost: -cost.seconds)


def total_cost(costs: Sequence[StageCost]) -> StageCost:
    """Return what all stages took: the sums, and the largest peak memory of a job."""
    measured = [cost for cost in costs if not math.isnan(cost.cpu_seconds)]
    return StageCost(
        "all",
        sum(cost.jobs for cost in costs),
        sum(cost.seconds for cost in costs),
        sum(cost.cpu_seconds for cost in measured) if measured else math.nan,
        max((cost.peak_mb for cost in measured), default=math.nan),
    )


def total_size(sizes: Sequence[FolderSize]) -> FolderSize:
    """Return the sums over folders."""
    return FolderSize("all", sum(size.files for size in sizes), sum(size.megabytes for size in sizes))


def folder_sizes(*folders: Path | str) -> list[FolderSize]:
    """Return the size of each folder inside `folders`, the largest first; without links and hidden folders (keys)."""
    inside = [path for folder in folders for path in sorted(Path(folder).glob("[!.]*")) if path.is_dir()]
    sizes = [_size_of(path) for path in dict.fromkeys(path for path in inside if not path.is_symlink())]
    return sorted(sizes, key=lambda size: -size.megabytes)


def _size_of(folder: Path) -> FolderSize:
    files, size = 0, 0
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            try:
                size += os.lstat(os.path.join(parent, name)).st_size
            except FileNotFoundError:  # another job has just moved it
                continue
            files += 1
    return FolderSize(folder.as_posix(), files, size / _MB)


def _number(text: str | None) -> float:
    """Return a benchmark file's number; 0 where it has none (`-`, `NA`), as for jobs too short to be measured."""
    try:
        return float(text or 0)
    except ValueError:
        return 0.0
