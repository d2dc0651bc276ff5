"""Read a clone's results."""

import csv

import h5py
import numpy as np
from helpers.clone import Clone


def table_rows(clone: Clone, table: str, **values: str) -> list[dict[str, str]]:
    """Return the rows of a table that have the `values`, as text."""
    with open(clone.folder / "results" / "tables" / f"{table}.csv", newline="") as file:
        return [row for row in csv.DictReader(file) if values.items() <= row.items()]


def cosines(clone: Clone, split: str, extractor: str = "color") -> tuple[list[dict[str, str]], np.ndarray]:
    """Return the split's manifest rows, and the float64 cosine of each with every row of split and database."""
    units, results = [], clone.folder / "results"
    for collection in (split, "sample_database"):
        with h5py.File(results / f"features/{collection}/{extractor}/00000-of-00001.h5") as file:
            features = file["features"][:].astype(np.float64)
        units.append(features / np.linalg.norm(features, axis=1, keepdims=True))
    with open(results / f"manifests/{split}.csv", newline="") as file:
        return list(csv.DictReader(file)), units[0] @ np.concatenate(units).T
