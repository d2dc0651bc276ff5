"""A small feature file in each of the formats that are imported, and importing it."""

from pathlib import Path

import h5py
import numpy as np
import torch
from attribench.formats.manifest import shard_names
from attribench.formats.shards import open_feature_shard
from attribench.import_features import import_shard

PATHS = [f"d/{i}.png" for i in range(10)]
FEATURES = np.random.default_rng(0).normal(size=(10, 4)).astype(np.float32)
FORMATS = ["pth", "columns.pth", "old.pth", "split.pth", "npz", "packed.npz", "columns.npz", "bytes.npz", "npy"]
FORMATS += ["columns.npy", "h5", "packed.h5"]


def write_feature_file(folder: Path, name: str) -> Path:
    """Write FEATURES and PATHS to `folder` in one of FORMATS; return the path."""
    path = folder / f"source.{name}"
    if name in ("pth", "old.pth"):
        content = {"feats": torch.from_numpy(FEATURES), "paths": PATHS}
        torch.save(content, path, _use_new_zipfile_serialization=name == "pth")
    elif name == "columns.pth":
        torch.save({"features": torch.from_numpy(FEATURES.T.copy()).T, "paths": tuple(PATHS)}, path)
    elif name == "split.pth":
        queries = {"gpt": PATHS[3:6], "object": PATHS[6:]}
        tensors = {"gpt": torch.from_numpy(FEATURES[3:6]), "object": torch.from_numpy(FEATURES[6:])}
        content = {"exemplar_paths": PATHS[:3], "exemplar_tensors": torch.from_numpy(FEATURES[:3])}
        torch.save({**content, "synth_paths": queries, "synth_tensors": tensors}, path)
    elif name.endswith("npz"):
        save = np.savez_compressed if name == "packed.npz" else np.savez
        paths = np.array([text.encode() for text in PATHS] if name == "bytes.npz" else PATHS)
        save(path, paths=paths, features=np.asfortranarray(FEATURES) if name == "columns.npz" else FEATURES)
    elif name.endswith("npy"):
        np.save(path, np.asfortranarray(FEATURES) if name == "columns.npy" else FEATURES)
        path.with_suffix(".txt").write_text("\n".join(PATHS))
    else:
        packed = {"chunks": (3, 2), "compression": "gzip"} if name == "packed.h5" else {}
        with h5py.File(path, "w") as file:
            file.create_dataset("features", data=FEATURES, **packed)
            file["paths"] = np.array([text.encode() for text in PATHS]) if packed else PATHS
    return path


def imported(feature_file: Path, folder: Path, paths: list[str], n_shards: int = 1):
    """Import `paths` into `folder`; return features, paths and first rows of the shards taken together."""
    features, stored, first_rows = [], [], []
    for shard in shard_names(n_shards):
        output = folder / f"{shard}.h5"
        import_shard(feature_file, output, paths, shard=shard, extractor="clip", collection="c", key="k")
        with open_feature_shard(output) as content:
            features.append(content.read())
            stored += content.rows.paths
            first_rows.append(int(content.data.file.attrs["first_row"]))
            assert content.rows.valid.all() and content.data.file.attrs["key"] == "k"
            assert (content.identity.extractor, content.identity.precision) == ("clip", str(features[-1].dtype))
    return np.concatenate(features), stored, first_rows
