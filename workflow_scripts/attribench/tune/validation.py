"""Validation: the mean average precision of mapped features on splits that are not trained on, by the ranking code."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from attribench.common.errors import InputError
from attribench.formats.features import CollectionFiles, Invalid, read_collection, stream_database
from attribench.formats.manifest import manifest_length, read_manifest
from attribench.formats.shards import FeatureIdentity
from attribench.metrics import average_precision
from attribench.rank.ranker import Ranker
from attribench.tune.collection import refuse_entries_without_exemplars

_ROWS = 8192  # that are mapped together


@dataclass(frozen=True)
class _Split:
    queries: np.ndarray
    query_entry: np.ndarray
    query_valid: np.ndarray
    exemplars: np.ndarray
    exemplar_entry: np.ndarray
    exemplar_valid: np.ndarray


class Validation:
    """Rank the queries of `sources` among their exemplars and the database's first images; their features are in memory.

    n_images: of the database. threads: of the ranking; they change no result. Raises InputError for an empty split, and
    for an entry without a valid exemplar.
    """

    def __init__(
        self,
        sources: list[CollectionFiles],
        database: CollectionFiles,
        n_images: int,
        identity: FeatureIdentity,
        threads: int,
    ):
        invalid, paths = Invalid(), set()
        self._splits = [_read(source, identity, invalid, paths) for source in sources]
        n_images = min(n_images, manifest_length(database.manifest))
        blocks = stream_database(
            database.shards, database.collection, n_images, invalid, identity, _ROWS, split_paths=paths
        )
        self._database = np.concatenate(
            [np.empty((0, identity.dimension), np.float32), *(rows[valid] for rows, valid in blocks)]
        )
        if not len(self._database):
            raise InputError(
                f"{database.manifest}: none of the first {n_images} images is valid; expected one, among which val queries "
                "are ranked"
            )
        self._threads = threads

    def mean_average_precision(self, real: nn.Module, synth: nn.Module, device: str) -> float:
        """Return the mean over the splits of mAP, of queries mapped by `synth` and images mapped by `real`."""
        database, means = _mapped(real, self._database, device), []
        for split in self._splits:
            ranker = Ranker(
                *(_mapped(synth, split.queries, device), split.query_entry),
                *(_mapped(real, split.exemplars, device), split.exemplar_entry),
                query_valid=split.query_valid,
                exemplar_valid=split.exemplar_valid,
                top_k=0,
                threads=self._threads,
            )
            ranker.add(database, None)
            ranks = ranker.finish()
            means.append(float(np.nanmean(average_precision(ranks.offsets, ranks.ranks))))
        return float(np.mean(means))


def _read(source: CollectionFiles, identity: FeatureIdentity, invalid: Invalid, paths: set[str]) -> _Split:
    """Read a split, and add its images to `paths`."""
    rows = read_manifest(source.manifest)
    paths.update(row.path for row in rows)
    features, valid, own = read_collection(source.shards, rows, source.collection, invalid)
    if difference := own.difference(identity):
        raise InputError(f"{source.shards[0]}: its features cannot be compared with the training splits': {difference}")
    entry = np.array([row.entry for row in rows], np.int64)
    is_query = np.array([row.role == "query" for row in rows], bool)
    can_rank = is_query & valid & np.isin(entry, entry[~is_query & valid])
    if not can_rank.any():
        raise InputError(
            f"{source.manifest}: no query of the val split {source.collection} can be ranked; expected a valid query with a "
            "valid exemplar"
        )
    refuse_entries_without_exemplars(source, rows, {*entry[~is_query & valid].tolist()})
    sides = [(features[chosen], entry[chosen], valid[chosen]) for chosen in (is_query, ~is_query)]
    return _Split(*sides[0], *sides[1])


def _mapped(head: nn.Module, rows: np.ndarray, device: str) -> np.ndarray:
    """Return float32 rows [n, p], as `head` maps them in evaluation."""
    head.eval()
    with torch.inference_mode():
        blocks = [rows[start : start + _ROWS] for start in range(0, len(rows), _ROWS)]
        mapped = [head(torch.from_numpy(np.asarray(b, np.float32)).to(device)).cpu() for b in blocks]
    head.train()
    return torch.cat(mapped).numpy()
