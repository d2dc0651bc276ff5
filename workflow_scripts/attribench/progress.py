"""Progress bars that read well in a log file: a line every few seconds, not a redrawn one."""

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")


def progress(items: Iterable[T], what: str, total: int, unit: str = "img") -> Iterator[T]:
    """Yield from `items`, of which there are `total`, and report count, rate and remaining time on stderr."""
    live = sys.stderr.isatty()
    return iter(
        tqdm(items, desc=what, total=total, unit=unit, mininterval=0.5 if live else 5, ascii=not live, file=sys.stderr)
    )


def byte_progress(what: str, total: int | None, initial: int = 0) -> tqdm:
    """A bar over `total` bytes (None: unknown), `initial` of which are there; its `update` takes what was added."""
    live = sys.stderr.isatty()
    return tqdm(
        desc=what,
        total=total,
        initial=initial,
        unit="B",
        unit_scale=True,
        mininterval=0.5 if live else 5,
        ascii=not live,
        file=sys.stderr,
    )
