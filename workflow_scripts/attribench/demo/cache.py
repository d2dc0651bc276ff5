"""A cache of the results that were used last: what the page keeps in memory between answers."""

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any

from attribench.demo.run import MethodFiles


class Cache:
    """Keep the `most` results that were used last, by key; one is made at a time."""

    def __init__(self, most: int):
        self._most, self._lock, self._results = most, threading.Lock(), OrderedDict()

    def get(self, key: Hashable, make: Callable[[], Any], is_good: Callable[[Any], bool] = lambda result: True) -> Any:
        """Return the result for `key`; `make` makes it if none is kept that `is_good`. What it raises is not kept."""
        with self._lock:
            if key not in self._results or not is_good(self._results[key]):
                self._results[key] = make()
                while len(self._results) > self._most:
                    self._results.popitem(last=False)
            self._results.move_to_end(key)
            return self._results[key]


def file_times(files: MethodFiles, split: str) -> tuple:
    """Return what changes when a file is made anew that answers about images of `split` are made of."""
    paths = [c.manifest for c in (files.database, files.splits[split])]
    paths += [*files.database.shards, *files.splits[split].shards, files.mapper, files.calibrator]
    present = [Path(path) for path in paths if path and os.path.exists(path)]
    return files.method, split, *((str(path), path.stat().st_mtime_ns) for path in present)
