"""Batches of rows of feature shards, in a random order that depends on the seed alone.

A pass shuffles the blocks of all shards, cuts them into windows, and shuffles the rows of a window: memory holds windows,
not all rows. A window's last rows that fill no batch are not used in this pass. So the rows of a batch follow from its
number, which lets a killed training go on.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import numpy as np

from attribench.common.hdf5 import open_checked, read_array
from attribench.common.prefetch import read_ahead

BLOCK_ROWS = 1024  # of a shard, read together
WINDOW_ROWS = 16_384  # twice the largest batch
_WINDOWS_AHEAD = 1


@dataclass(frozen=True)
class Part:
    """Hold which rows of a shard may be drawn: rows int64 [n], rising, with a number for each, int64 [n]."""

    path: Path
    rows: np.ndarray
    number: np.ndarray

    def blocks(self) -> Iterator["Part"]:
        """Yield the part in pieces that lie within `BLOCK_ROWS` rows of the shard."""
        cuts = np.flatnonzero(np.diff(self.rows // BLOCK_ROWS)) + 1
        pieces = (np.split(values, cuts) for values in (self.rows, self.number))
        return (Part(self.path, rows, number) for rows, number in zip(*pieces, strict=True) if len(rows))

    def read(self) -> np.ndarray:
        """Return the features of the rows, float32 [n, d]."""
        first, last = int(self.rows[0]), int(self.rows[-1])
        with open_checked(self.path, "shard") as file:  # its texts were read and checked before
            block = read_array(file["features"], slice(first, last + 1))
        return block[self.rows - first].astype(np.float32)


class Batches:
    """Draw batches of `size` rows of `parts`; or of all rows, where they are fewer."""

    def __init__(self, parts: list[Part], size: int, seed: tuple[int, ...]):
        self._blocks = [block for part in parts for block in part.blocks()]
        self._lengths = np.array([len(block.rows) for block in self._blocks], np.int64)
        self.n_rows = int(self._lengths.sum())
        self.size = min(size, self.n_rows)
        self._seed = seed
        self._kept: tuple[np.ndarray, np.ndarray] | None = None

    def from_batch(self, number: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield the batches from `number` on, without end: features float32 [size, d] and numbers int64 [size]."""
        for rows, numbers, skipped in read_ahead(self._windows(number), _WINDOWS_AHEAD):
            for start in range(skipped * self.size, len(rows) - self.size + 1, self.size):
                yield rows[start : start + self.size], numbers[start : start + self.size]

    def _windows(self, skipped: int) -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
        """Yield the rows of each window in their order, with how many of its batches are to be `skipped`."""
        for epoch in count():
            for window, blocks in enumerate(self._window_blocks(epoch)):
                n_batches = int(self._lengths[blocks].sum()) // self.size
                if skipped >= n_batches:
                    skipped -= n_batches
                    continue
                features, numbers = self._read(blocks)
                order = np.random.default_rng([*self._seed, 1, epoch, window]).permutation(len(features))
                yield features[order], numbers[order], skipped
                skipped = 0

    def _window_blocks(self, epoch: int) -> list[np.ndarray]:
        """Return the blocks, by number, of each window of a pass: nearly equal ones of WINDOW_ROWS rows or more."""
        order = np.random.default_rng([*self._seed, 0, epoch]).permutation(len(self._blocks))
        ends = np.cumsum(self._lengths[order])
        windows = max(1, self.n_rows // WINDOW_ROWS)
        cuts = np.searchsorted(ends, self.n_rows * np.arange(1, windows) / windows) + 1
        return [np.sort(blocks) for blocks in np.split(order, cuts) if len(blocks)]

    def _read(self, blocks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows of `blocks`, and keep them where they are all that there are."""
        if self._kept is None:
            chosen = [self._blocks[block] for block in blocks]
            read = np.concatenate([b.read() for b in chosen]), np.concatenate([b.number for b in chosen])
            if len(blocks) < len(self._blocks):
                return read
            self._kept = read
        return self._kept
