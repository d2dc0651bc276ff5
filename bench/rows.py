"""Rows to rank: made-up kinds, and the features of the sample benchmark's images."""

import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import yaml
from attribench.formats.features import Invalid, read_collection
from attribench.formats.manifest import read_manifest
from attribench.formats.shards import open_feature_shard
from attribench.rank.products import choose_products
from attribench.rank.ranker import Ranker

QUERIES_PER_ENTRY = 40
_SCORES = 10**12  # of a large ranking
QUERIES_PER_PROMPT = 20  # of the sample benchmark: 3,680 queries in all
REPOSITORY = Path(__file__).parents[1]
SAMPLE_SPLITS = [f"sample_{kind}{part}" for kind in ("style", "object") for part in ("", "_train", "_val")]
# The first two have no value below 0.
EXTRACTORS = {
    "efficientnet_lite0": {},
    "color": {},
    "vit_untrained": {"library": "timm", "model": "vit_small_patch16_224", "pretrained": "none"},
}


@dataclass(frozen=True)
class Kind:
    """Hold what made-up rows are like.

    n_exemplars: of an entry. ranked_well: or else they are anywhere in the ranking. copy: each image of the database is a
    copy of an exemplar, but for 1e-7. form: one of FORMS, which all rows are brought into.
    """

    n_exemplars: int
    ranked_well: bool = False
    copy: bool = False
    form: str = ""


WELL, DEEP = Kind(12, ranked_well=True), Kind(67)
KINDS = {"12 exemplars, well ranked": WELL, "67 exemplars, deep": DEEP}
# Of rows [n, d] in random directions, of unit length. All but the first are made by no extractor.
FORMS = {
    "images alike": lambda rows, rng: rows + 5 * _unit(np.cos(np.arange(rows.shape[1], dtype=np.float32)[None])),
    "codes of +1 and -1": lambda rows, rng: np.sign(rows),
    "codes of 0 and 1": lambda rows, rng: (rows > 0).astype(np.float32),
    "counts of words": lambda rows, rng: rng.poisson(0.3, rows.shape).astype(np.float32),
    "sparse": lambda rows, rng: _thinned(rows, rng),
    "probabilities": lambda rows, rng: np.exp(4 * np.sqrt(np.float32(rows.shape[1])) * rows),
    "a thousand images": lambda rows, rng: _one_of(1000, rows.shape, rng),
}
HARD = {f"67, deep, {form}": Kind(67, form=form) for form in FORMS}
HARD["67, near copies of them only"] = Kind(67, copy=True)


@dataclass(frozen=True)
class Data:
    """Queries [Q, d] and exemplars [E, d] with their entries, and database rows [N, d]: float32."""

    queries: np.ndarray
    query_entry: np.ndarray
    exemplars: np.ndarray
    exemplar_entry: np.ndarray
    database: np.ndarray

    def ranker(self, **options) -> Ranker:
        """Return a ranker of the queries, with the products of a large ranking, and no database row added yet."""
        products = {"products": choose_products(self.queries.shape[1], _SCORES)}
        own = self.queries, self.query_entry, self.exemplars, self.exemplar_entry
        return Ranker(*own, **products | options)

    def first(self, n_rows: int) -> "Data":
        """Return the same with the first rows of the database only."""
        return replace(self, database=self.database[:n_rows])


def made_up(dimension: int, n_queries: int, n_rows: int, kind: Kind) -> Data:
    """Return rows in random directions. Exemplars that are ranked well lie where most are among a query's best hundredth."""
    rng = np.random.default_rng(dimension + kind.n_exemplars)

    def directions(n: int) -> np.ndarray:
        return _unit(rng.standard_normal((n, dimension), np.float32))

    query_entry = np.arange(n_queries) // (n_queries if kind.copy else QUERIES_PER_ENTRY)
    exemplar_entry = np.repeat(np.arange(query_entry[-1] + 1), kind.n_exemplars)
    centres = directions(query_entry[-1] + 1)
    queries = 0.8 * centres[query_entry] + 0.6 * directions(n_queries)
    # Scores of random rows have the deviation 1 / sqrt(d); so many of them above the mean are the exemplars' scores.
    deviations = rng.uniform(2.5, 5, len(exemplar_entry)).astype(np.float32) * kind.ranked_well
    toward = (deviations / 0.8 / np.sqrt(dimension))[:, None]
    exemplars = toward * centres[exemplar_entry] + np.sqrt(1 - toward**2) * directions(len(exemplar_entry))
    database = directions(n_rows)
    if kind.copy:
        database = _unit(exemplars[np.arange(n_rows) % len(exemplars)] + 1e-7 * database)
    if kind.form:
        queries, exemplars, database = (FORMS[kind.form](rows, rng) for rows in (queries, exemplars, database))
    return Data(queries, query_entry, exemplars, exemplar_entry, database.astype(np.float32))


def features(folder: Path, n_rows: int, threads: int) -> dict[str, Data]:
    """Return the features of the sample benchmark with `n_rows` database images, by extractor, of all its queries.

    They are made by the workflow below `folder`, which takes minutes the first time.
    """
    config = write_config(folder, n_rows).absolute()
    command = [sys.executable, "-m", "snakemake", "features", "--quiet", "all", "--cores", str(threads)]
    environment = {key: value for key, value in os.environ.items() if not key.endswith("_NUM_THREADS")}
    done = subprocess.run(
        [*command, "--configfile", str(config)],
        cwd=REPOSITORY,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(done.stdout[-2000:])
    return {extractor: _read(folder / "results", extractor) for extractor in EXTRACTORS}


def write_config(folder: Path, n_rows: int) -> Path:
    """Write the config of the run that makes `features`, below `folder`; its path."""
    settings = {
        "benchmark": "sample",
        "root": str(folder / "root"),
        "results": str(folder / "results"),
        "splits": SAMPLE_SPLITS,
        "extractors": list(EXTRACTORS),
        "extractor_registry": {name: entry for name, entry in EXTRACTORS.items() if entry},
        "sample": {"database_images": n_rows, "queries_per_prompt": QUERIES_PER_PROMPT},
        "database_shards": 1,
    }
    (folder / "root").mkdir(parents=True, exist_ok=True)  # one that is given has to exist
    config = folder / "config.yaml"
    config.write_text(yaml.safe_dump(settings))
    return config


def _read(results: Path, extractor: str) -> Data:
    queries, exemplars, query_entry, exemplar_entry, n_entries = [], [], [], [], 0
    for split in SAMPLE_SPLITS:
        rows = read_manifest(results / f"manifests/{split}.csv")
        found, _, _ = read_collection(
            [results / f"features/{split}/{extractor}/00000-of-00001.h5"], rows, split, Invalid()
        )
        for role, parts, entries in (("query", queries, query_entry), ("exemplar", exemplars, exemplar_entry)):
            index = [i for i, row in enumerate(rows) if row.role == role]
            parts.append(found[index])
            entries.append(n_entries + np.array([rows[i].entry for i in index]))
        n_entries += 1 + max(row.entry for row in rows)
    with open_feature_shard(results / f"features/sample_database/{extractor}/00000-of-00001.h5") as shard:
        database = shard.read()
    arrays = [np.concatenate(parts) for parts in (queries, query_entry, exemplars, exemplar_entry)]
    return Data(*arrays, database)


def _thinned(rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return of the values of `rows` [n, d] one in fifty, and one in each row; 0 for the others."""
    kept = rng.random(rows.shape, np.float32) < 0.02
    kept[np.arange(len(rows)), rng.integers(0, rows.shape[1], len(rows))] = True
    return rows * kept


def _one_of(n: int, shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Return rows [shape], each one of the same `n`, whatever `rng` is."""
    images = np.random.default_rng(0).standard_normal((n, shape[1]), np.float32)
    return images[rng.integers(0, n, shape[0])]


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)
