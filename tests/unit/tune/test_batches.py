"""Batches of rows: each row once a pass, in an order that the seed alone decides, from any batch on."""

from itertools import islice

import numpy as np
import pytest
from attribench.formats.manifest import shard_names, shard_slice
from attribench.tune import batches
from attribench.tune.batches import Batches, Part
from helpers.tuning import write_database

FEATURES = np.arange(100, dtype=np.float32)[:, None] + np.zeros((1, 3), np.float32)


@pytest.fixture(params=[1, 7])
def parts(tmp_path, request):
    """All rows but 40 to 49, of one shard and of seven; a row's features are its label."""
    source = write_database(tmp_path, FEATURES + 1, n_shards=request.param)
    slices = [shard_slice(100, shard) for shard in shard_names(request.param)]
    numbers = [np.array([n for n in range(part.start, part.stop) if n // 10 != 4]) for part in slices]
    return [
        Part(path, rows - part.start, rows) for path, rows, part in zip(source.shards, numbers, slices, strict=True)
    ]


def drawn(parts, size, seed=0, start=0, n=30):
    taken = list(islice(Batches(parts, size, (seed,)).from_batch(start), n))
    assert all((features[:, 0] == labels + 1).all() for features, labels in taken)
    return [labels.tolist() for _, labels in taken]


@pytest.mark.parametrize("window", [1000, 20])
def test_a_pass_has_every_row_once_in_an_order_of_its_own(parts, monkeypatch, window):
    monkeypatch.setattr(batches, "WINDOW_ROWS", window)
    monkeypatch.setattr(batches, "BLOCK_ROWS", 6)
    labels = drawn(parts, 1, n=180)
    passes = [[label for batch in part for label in batch] for part in (labels[:90], labels[90:])]
    for one in passes:
        assert sorted(one) == [*range(40), *range(50, 100)]
    assert passes[0] != passes[1] and passes[0] != sorted(passes[0])
    assert drawn(parts, 1, n=180) == labels
    assert drawn(parts, 1, seed=1, n=180) != labels


@pytest.mark.parametrize("window", [1000, 20])
def test_batches_are_the_same_from_any_one_on(parts, monkeypatch, window):
    monkeypatch.setattr(batches, "WINDOW_ROWS", window)
    monkeypatch.setattr(batches, "BLOCK_ROWS", 6)
    whole = drawn(parts, 7)
    assert all(len({*batch}) == 7 for batch in whole)
    for start in (0, 1, 5, 17, 29):
        assert drawn(parts, 7, start=start, n=30 - start) == whole[start:]


def test_memory_holds_windows_and_not_all_rows(parts, monkeypatch):
    monkeypatch.setattr(batches, "WINDOW_ROWS", 20)
    monkeypatch.setattr(batches, "BLOCK_ROWS", 6)
    stream = Batches(parts, 5, (0,))
    sizes = [len(rows) for rows, _, _ in islice(stream._windows(0), 12)]
    assert max(sizes) <= 20 + 6 + 10 and stream._kept is None


def test_fewer_rows_than_a_batch_are_one(parts):
    assert Batches(parts, 1000, (0,)).size == 90
    assert sorted(drawn(parts, 1000, n=1)[0]) == [*range(40), *range(50, 100)]
