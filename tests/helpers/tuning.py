"""Small collections to tune on: manifests, records of their files and feature shards, with entries that are made up."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from attribench.formats.features import CollectionFiles
from attribench.formats.manifest import ManifestRow, shard_names, shard_slice, write_manifest
from attribench.formats.shards import FeatureIdentity, Rows, feature_attributes, write_shard
from attribench.provenance.fingerprints import Fingerprint, Record, write_record
from attribench.tune.settings import Training

QUICK = Training(steps=40, evaluate_every=10, batch=32, learning_rate=0.01, penalty=[0.0], threads=1)


def write_source(
    folder: Path,
    name: str,
    rows: Sequence[ManifestRow],
    features: np.ndarray,
    *,
    n_shards: int = 1,
    invalid: Sequence[int] = (),
    contents: dict[str, str] | None = None,
    extractor: str = "made",
) -> CollectionFiles:
    """Write the collection `name`, of which the rows `invalid` have no features; `contents` are SHA-256 by path."""
    manifest, record = folder / f"{name}.csv", folder / f".{name}.csv"
    write_manifest(manifest, list(rows))
    prints = {row.path: Fingerprint(row.path, 1, 1, (contents or {}).get(row.path, row.path)) for row in rows}
    write_record(record, Record("token", prints))
    shards, valid = [], np.ones(len(rows), bool)
    valid[list(invalid)] = False
    features = np.where(valid[:, None], features, 0).astype(np.float32)
    for shard in shard_names(n_shards):
        part = shard_slice(len(rows), shard)
        identity = FeatureIdentity(extractor, features.shape[1], "w", "p", "float32")
        reasons = ["" if ok else "broken" for ok in valid[part]]
        of_shard = Rows([row.path for row in rows[part]], valid[part], reasons)
        path = folder / f"{name}-{shard}.h5"
        attributes = feature_attributes(identity, name, part.start, "k", {})
        with write_shard(path, "features", features[part].shape, "float32", of_shard, attributes) as writer:
            writer.append(features[part])
        shards.append(path)
    return CollectionFiles(name, manifest, record, shards)


def write_split(
    folder: Path, name: str, exemplars: Sequence[np.ndarray], queries: Sequence[np.ndarray], **options
) -> CollectionFiles:
    """Write a split: `exemplars` [m, d] and `queries` [q, d] of each entry."""
    rows = [
        ManifestRow(f"{name}/{role}-{entry}-{number}.png", role, entry, "gpt" if role == "query" else "")
        for role, images in (("exemplar", exemplars), ("query", queries))
        for entry, of_entry in enumerate(images)
        for number in range(len(of_entry))
    ]
    return write_source(folder, name, rows, np.concatenate([*exemplars, *queries]), **options)


def write_database(folder: Path, features: np.ndarray, **options) -> CollectionFiles:
    """Write a database of images with `features` [n, d]."""
    rows = [ManifestRow(f"database/{number}.png", "database") for number in range(len(features))]
    return write_source(folder, "database", rows, features, **options)


def related(rng: np.random.Generator, n_entries: int, transform: np.ndarray | None, *, most: int = 3):
    """Return exemplars and queries of entries: queries are `transform` [d, d] of an exemplar; None: of nothing."""
    exemplars, queries = [], []
    d = 16 if transform is None else len(transform)
    for _ in range(n_entries):
        own = rng.standard_normal((rng.integers(1, most + 1), d))
        base = rng.standard_normal((4, d)) if transform is None else own[rng.integers(0, len(own), 4)] @ transform.T
        exemplars.append(own)
        queries.append(base)
    return exemplars, queries
