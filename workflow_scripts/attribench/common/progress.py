"""Progress bars that read well in a log file: a line every few seconds, not a redrawn one."""

import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")


def progress(
    items: Iterable[T], what: str, total: int, unit: str = "img", count: Callable[[T], int] = lambda item: 1
) -> Iterator[T]:
    """Yield from `items`, and report count, rate and remaining time on stderr.

    `count` says how many units an item is, of which there are `total` in all.
    """
    with _bar(what, total, unit=unit) as bar:
        for item in items:
            yield item
            bar.update(count(item))


def byte_progress(what: str, total: int | None, initial: int = 0) -> tqdm:
    """Return a bar over `total` bytes (None: unknown), `initial` of which are there; its `update` takes what was added."""
    return _bar(what, total, unit="B", unit_scale=True, initial=initial)


def _bar(what: str, total: int | None, **options) -> tqdm:
    live = sys.stderr.isatty()
    return tqdm(desc=what, total=total, mininterval=0.5 if live else 5, ascii=not live, file=sys.stderr, **options)
