"""The rank file: a ranking, and what else is needed to compute every metric without features (docs/formats.md).

Equal content gives equal bytes: the HDF5 format version is fixed, no times are stored, and the strings of a dataset
have one fixed length (which HDF5 also needs to checksum them).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import h5py
import numpy as np

from attribench.errors import InputError
from attribench.files import atomic_path
from attribench.ranking import Ranking

FORMAT_VERSION = 2
_CHUNK_BYTES = 1 << 20
_REMEDY = "delete it and run again to make it anew"


@dataclass(frozen=True)
class RankFile:
    """A ranking of Q queries by one method, E exemplars and M entries beside it; text arrays are arrays of `str`."""

    split: str
    extractor: str
    variant: str
    query_path: np.ndarray  # text [Q], in split order
    query_prompt_type: np.ndarray  # text [Q]
    query_entry: np.ndarray  # int64 [Q]
    exemplar_path: np.ndarray  # text [E]
    exemplar_entry: np.ndarray  # int64 [E]
    exemplar_valid: np.ndarray  # bool [E]
    class_id: np.ndarray  # text [M]
    category: np.ndarray  # text [M]
    neighbour_path: np.ndarray  # text [Q, k], "" pads
    ranking: Ranking
    invalid: Sequence[tuple[str, str, str, str]] = ()  # quarantined images: (collection, path, role, reason)
    near_duplicates: Sequence[tuple[str, str, float]] = ()  # (exemplar's path, database image's path, similarity)

    @property
    def all_exemplars(self) -> int | None:
        """With hard negatives, how many exemplars are candidates of every query; None: only its entry's."""
        return int(self.exemplar_valid.sum()) if self.ranking.hard_negatives else None

    def at_size(self, size: int) -> "RankFile":
        """The ranking among the first `size` images of the database, one of `ranking.sizes`; neighbours stay the whole's."""
        s = int(np.searchsorted(self.ranking.sizes, size))
        ranking = replace(self.ranking, ranks=self.ranking.ranks_at[s], n_database=int(self.ranking.n_database_at[s]))
        return replace(self, ranking=ranking)


def _layout(content: RankFile) -> dict[str, np.ndarray]:
    """The datasets by name."""
    ranking = content.ranking
    invalid = np.array(content.invalid, dtype=object).reshape(len(content.invalid), len(_INVALID))
    near = list(zip(*content.near_duplicates, strict=True)) or [(), (), ()]
    return {
        **{f"invalid/{name}": invalid[:, i] for i, name in enumerate(_INVALID)},
        "near_duplicates/exemplar": np.array(near[0], dtype=object),
        "near_duplicates/path": np.array(near[1], dtype=object),
        "near_duplicates/similarity": np.array(near[2], np.float64),
        "queries/path": content.query_path,
        "queries/prompt_type": content.query_prompt_type,
        "queries/entry": content.query_entry,
        "queries/valid": ranking.query_valid,
        "exemplars/path": content.exemplar_path,
        "exemplars/entry": content.exemplar_entry,
        "exemplars/valid": content.exemplar_valid,
        "entries/class_id": content.class_id,
        "entries/category": content.category,
        "offsets": ranking.offsets,
        "ranks": ranking.ranks,
        "scores": ranking.scores,
        "exemplar": ranking.exemplar,
        "sizes/images": ranking.sizes,
        "sizes/n_database": ranking.n_database_at,
        "sizes/ranks": ranking.ranks_at,
        "neighbours/index": ranking.neighbour_index,
        "neighbours/score": ranking.neighbour_score,
        "neighbours/path": content.neighbour_path,
    }


_NUMBERS = {"n_database": int, "n_database_invalid": int, "hard_negatives": bool}
_INVALID = ("collection", "path", "role", "reason")
# Each dataset's type and the name of each of its dimensions; equal names mean equal lengths.
_TYPES = {
    "queries/path": ("text", "Q"),
    "queries/prompt_type": ("text", "Q"),
    "queries/entry": ("int64", "Q"),
    "queries/valid": ("bool", "Q"),
    "exemplars/path": ("text", "E"),
    "exemplars/entry": ("int64", "E"),
    "exemplars/valid": ("bool", "E"),
    "entries/class_id": ("text", "M"),
    "entries/category": ("text", "M"),
    "offsets": ("int64", "O"),
    "ranks": ("int64", "R"),
    "scores": ("float64", "R"),
    "exemplar": ("int64", "R"),
    "sizes/images": ("int64", "S"),
    "sizes/n_database": ("int64", "S"),
    "sizes/ranks": ("int64", "SR"),
    "neighbours/index": ("int64", "Qk"),
    "neighbours/score": ("float64", "Qk"),
    "neighbours/path": ("text", "Qk"),
    **{f"invalid/{name}": ("text", "I") for name in _INVALID},
    "near_duplicates/exemplar": ("text", "D"),
    "near_duplicates/path": ("text", "D"),
    "near_duplicates/similarity": ("float64", "D"),
}


def write_rank_file(path: Path | str, content: RankFile) -> None:
    """Write `content` to `path`, atomically. Raises InputError when its arrays contradict each other."""
    layout = _layout(content)
    _check(path, layout)
    with atomic_path(path) as temporary, h5py.File(temporary, "w", libver=("v110", "v110")) as file:
        for name, (kind, _) in _TYPES.items():
            _write(file, name, kind, np.asarray(layout[name]))
        file.attrs["format_version"] = FORMAT_VERSION
        for name in ("split", "extractor", "variant"):
            file.attrs[name] = getattr(content, name)
        for name in _NUMBERS:
            file.attrs[name] = getattr(content.ranking, name)


def read_rank_file(path: Path | str) -> RankFile:
    """Read a rank file. Raises InputError, naming the file, when it is missing, corrupt or no rank file."""
    try:
        with h5py.File(path, "r") as file:
            attributes = dict(file.attrs)
            version = attributes.get("format_version")
            if version != FORMAT_VERSION or "neighbours" not in file:
                raise InputError(f"{path}: expected a rank file of format {FORMAT_VERSION}, found format {version}")
            layout = {name: _read(file[name], kind) for name, (kind, _) in _TYPES.items()}
    except FileNotFoundError:
        raise InputError(f"{path}: the rank file does not exist") from None
    except KeyError as error:
        raise InputError(f"{path}: not a rank file, it lacks a dataset ({error})") from error
    except (OSError, RuntimeError, TypeError, ValueError) as error:
        raise InputError(f"{path}: corrupt, or no HDF5 file ({error}); {_REMEDY}") from error
    _check(path, layout)
    wanted = ("split", "extractor", "variant", *_NUMBERS)
    if missing := [name for name in wanted if name not in attributes]:
        raise InputError(f"{path}: not a rank file, it lacks the attribute {', '.join(missing)}")
    names = ("offsets", "ranks", "scores", "exemplar")
    ranking = Ranking(
        **{name: layout[name] for name in names},
        neighbour_index=layout["neighbours/index"],
        neighbour_score=layout["neighbours/score"],
        query_valid=layout["queries/valid"],
        sizes=layout["sizes/images"],
        ranks_at=layout["sizes/ranks"],
        n_database_at=layout["sizes/n_database"],
        **{name: kind(attributes[name]) for name, kind in _NUMBERS.items()},
    )
    return RankFile(
        **{name: str(attributes[name]) for name in ("split", "extractor", "variant")},
        **{f"query_{name}": layout[f"queries/{name}"] for name in ("path", "prompt_type", "entry")},
        **{f"exemplar_{name}": layout[f"exemplars/{name}"] for name in ("path", "entry", "valid")},
        **{name: layout[f"entries/{name}"] for name in ("class_id", "category")},
        neighbour_path=layout["neighbours/path"],
        ranking=ranking,
        invalid=_rows(layout, "invalid", _INVALID),
        near_duplicates=_rows(layout, "near_duplicates", ("exemplar", "path", "similarity")),
    )


def _rows(layout: dict[str, np.ndarray], group: str, names: Sequence[str]) -> list[tuple]:
    return list(zip(*(layout[f"{group}/{name}"].tolist() for name in names), strict=True))


def _write(file: h5py.File, name: str, kind: str, values: np.ndarray) -> None:
    dtype: object = kind
    if kind == "text":
        encoded = [str(value).encode() for value in values.ravel()]
        dtype = h5py.string_dtype("utf-8", max(map(len, encoded), default=0) or 1)
        values = np.array(encoded, dtype=dtype).reshape(values.shape)
    if values.size == 0:  # HDF5 allows no chunks here, and there is nothing to checksum
        file.create_dataset(name, values.shape, dtype)
        return
    row_bytes = max(1, values[:1].nbytes)
    chunks = (int(np.clip(_CHUNK_BYTES // row_bytes, 1, len(values))), *values.shape[1:])
    file.create_dataset(name, data=values, dtype=dtype, chunks=chunks, fletcher32=True)


def _read(dataset: h5py.Dataset, kind: str) -> np.ndarray:
    if kind == "text":
        return np.asarray(dataset.asstr()[...], dtype=object)
    values = dataset[...]
    if values.dtype != np.dtype(kind):
        raise TypeError(f"{dataset.name} is {values.dtype}; expected {kind}")
    return values


def _check(path: Path | str, layout: dict[str, np.ndarray]) -> None:
    """Refuse arrays of unequal lengths, and ranks that no ranking can have."""
    sizes = {"O": (len(layout["queries/entry"]) + 1,)}
    for name, (_, dimension) in _TYPES.items():
        shape = np.shape(layout[name])
        expected = sizes.setdefault(dimension, shape)
        if shape != expected or len(shape) != len(dimension):
            raise InputError(f"{path}: {name} has shape {list(shape)}; expected {list(expected)}, as the rest")
    if sizes["Qk"][0] != sizes["Q"][0]:
        raise InputError(f"{path}: {sizes['Qk'][0]} queries have neighbours; expected {sizes['Q'][0]}")
    if sizes["SR"] != sizes["S"] + sizes["R"]:
        raise InputError(f"{path}: sizes/ranks has shape {list(sizes['SR'])}; expected {[*sizes['S'], *sizes['R']]}")
    offsets, ranks = np.asarray(layout["offsets"]), np.asarray(layout["ranks"])
    lengths = np.diff(offsets)
    if offsets[0] != 0 or offsets[-1] != len(ranks) or (lengths < 0).any():
        raise InputError(f"{path}: offsets do not divide the {len(ranks)} ranks among the queries")
    if not np.array_equal(lengths > 0, layout["queries/valid"]):
        raise InputError(f"{path}: queries/valid does not say which queries have ranks")
    previous = np.concatenate([[0], ranks[:-1]])
    previous[offsets[:-1][lengths > 0]] = 0
    if (ranks <= previous).any():
        raise InputError(f"{path}: the ranks of a query are not rising from 1 on")
    for name, group in (("exemplar", "E"), ("queries/entry", "M"), ("exemplars/entry", "M")):
        values = np.asarray(layout[name])
        if len(values) and (values.min() < 0 or values.max() >= sizes[group][0]):
            raise InputError(
                f"{path}: {name} holds {values.min()} to {values.max()}; expected 0 to {sizes[group][0] - 1}"
            )
