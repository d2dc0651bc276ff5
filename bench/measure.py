"""Contestants side by side: interleaved rounds in one process, so that a machine's moods meet all of them alike."""

import multiprocessing
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import psutil

_REST = 0.1  # seconds: threads of the contestant before have stopped waiting for more in a loop
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


@dataclass(frozen=True)
class Options:
    """Hold what the user chose: `scale` shrinks or grows the data, `large` adds what needs hours and tens of GB of disk.

    With the clock `cpu`, seconds are those of the processor, for a machine that others use; use it with one thread, since
    threads that wait for each other burn time.
    """

    scale: float = 1.0
    rounds: int = 5
    threads: int = 1
    clock: str = "wall"
    large: bool = False
    folder: str = "results/bench"


@dataclass(frozen=True)
class Contestant:
    """Hold one way to do a case's work. `run` does `work` units of it, or of a part small enough to wait for."""

    name: str
    run: Callable[[], object]
    work: float


@dataclass(frozen=True)
class Row:
    """Hold a line of the table: `value` in `unit`, the median over `rounds`; `ratio` is to the case's first contestant."""

    case: str
    name: str
    unit: str
    value: float
    ratio: float | None = None
    rounds: list[float] = field(default_factory=list)


def compare(case: str, unit: str, contestants: list[Contestant], options: Options) -> list[Row]:
    """Measure all contestants in turn, `options.rounds` times after one round to warm up, in `unit` per unit of work.

    A ratio is the median of the rounds' ratios: neighbours in time are compared. The `unit` is ms or s.
    """
    clock, per_second = CLOCKS[options.clock], {"ms": 1e3, "s": 1.0}[unit.split()[0]]
    times = np.empty((options.rounds + 1, len(contestants)))
    for times_of_round in times:
        for i, contestant in enumerate(contestants):
            time.sleep(_REST)
            start = clock()
            contestant.run()
            times_of_round[i] = (clock() - start) / contestant.work * per_second
    times = times[1:]
    ratios = np.median(times / times[:, :1], axis=0)
    return [
        Row(case, contestant.name, unit, float(np.median(times[:, i])), float(ratios[i]), times[:, i].tolist())
        for i, contestant in enumerate(contestants)
    ]


def in_fresh_process(function: Callable, *arguments: Any) -> Any:
    """Return what `function` returns in a process of its own, where nothing was loaded before."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


@dataclass
class Memory:
    """By how many GB this process has `grown`, at most, in resident memory."""

    grown: float = 0.0


@contextmanager
def peak_memory() -> Iterator[Memory]:
    """Watch this process while the block runs; the figure is there at its end."""
    process, stop, memory = psutil.Process(), threading.Event(), Memory()
    before = process.memory_info().rss

    def look() -> None:
        while True:
            memory.grown = max(memory.grown, (process.memory_info().rss - before) / 1e9)
            if stop.wait(0.01):
                return

    watch = threading.Thread(target=look, daemon=True)
    watch.start()
    try:
        yield memory
    finally:
        stop.set()
        watch.join()
