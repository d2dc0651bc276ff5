"""One pass over the features ranks by several variants: the files of each alone, for one reading."""

from collections import Counter

import numpy as np
import pytest
import torch
from attribench import features
from attribench.errors import InputError
from attribench.manifest import Row, database_rows, shard_names, write_manifest
from attribench.rank_file import read_rank_file
from attribench.rank_split import Options, Variant, rank_split
from attribench.shards import FeatureIdentity, Rows, ShardReader, feature_attributes, write_shard

DIMENSION, N_DATABASE = 12, 300
IDENTITY = FeatureIdentity("e", DIMENSION, "w", "p", "float32")
OPTIONS = Options(top_k=3, database_sizes=(20, 150), hard_negatives=True, near_duplicates=0.6)


def write_collection(folder, name, rows, values, n_shards):
    """A manifest, and feature shards in which every 17th image is invalid; the shards' paths."""
    write_manifest(folder / f"{name}.csv", rows)
    shards, cuts = [], np.linspace(0, len(rows), n_shards + 1).astype(int)
    for shard, first, last in zip(shard_names(n_shards), cuts, cuts[1:], strict=False):
        valid = np.arange(first, last) % 17 != 16
        content = Rows([row.path for row in rows[first:last]], valid, ["" if v else "broken" for v in valid])
        shards.append(folder / f"{name}/{shard}.h5")
        attributes = feature_attributes(IDENTITY, name, first, {})
        with write_shard(shards[-1], "features", (last - first, DIMENSION), "float32", content, attributes) as writer:
            writer.append(values[first:last])
    return shards


@pytest.fixture
def ranked(tmp_path):
    """Rank by the variants named, in one pass; the folder of the rank files."""
    rng = np.random.default_rng(5)
    rows = [Row(f"e{i}.jpg", "exemplar", i // 2, "", "", "") for i in range(10)]
    rows += [Row(f"q{i}.jpg", "query", i // 4, ("gpt", "object")[i % 2], "", "") for i in range(20)]
    values = {name: rng.standard_normal((n, DIMENSION)).astype(np.float32) for name, n in SIZES.items()}
    images = {"split": rows, "database": database_rows("database", [f"d/{i}.jpg" for i in range(N_DATABASE)])}
    shards = {name: write_collection(tmp_path, name, images[name], values[name], n) for name, n in SHARDS.items()}
    mappers = {"plain": None, "channel": tmp_path / "channel.pth", "linear": tmp_path / "linear.pth"}
    for name, state in {"channel": (1, DIMENSION), "linear": (5, DIMENSION)}.items():
        tensors = [{STATE[name]: torch.from_numpy(rng.standard_normal(state))} for _ in range(2)]
        torch.save(dict(zip(("real_mapper", "synth_mapper"), tensors, strict=True)), mappers[name])

    def rank(folder, *names, options=OPTIONS):
        rank_split(
            [Variant(name, mappers[name], tmp_path / folder / f"{name}.h5") for name in names],
            tmp_path / "split.csv",
            split_shards=shards["split"],
            database_shards=shards["database"],
            database="database",
            split="split",
            extractor="e",
            options=options,
            threads=2,
        )
        return tmp_path / folder

    return rank


SIZES = {"split": 30, "database": N_DATABASE}
SHARDS = {"split": 2, "database": 3}
STATE = {"channel": "weights", "linear": "weight"}


@pytest.mark.parametrize("options", [OPTIONS, Options()], ids=["all options", "none"])
def test_variants_together_give_the_files_of_each_alone(ranked, options):
    names = ("plain", "channel", "linear")
    together = ranked("together", *names, options=options)
    for name in names:
        alone = ranked("alone", name, options=options)
        assert (together / f"{name}.h5").read_bytes() == (alone / f"{name}.h5").read_bytes()
    found = {name: read_rank_file(together / f"{name}.h5") for name in names}
    assert [content.variant for content in found.values()] == list(names)
    assert len({content.ranking.ranks.tobytes() for content in found.values()}) == len(names)


def test_variants_share_the_read(ranked, monkeypatch):
    opened, read = Counter(), Counter()

    class Counting(ShardReader):
        def blocks(self, *arguments):
            for block in super().blocks(*arguments):
                read[self.path.parent.name] += len(block)
                yield block

        def read(self):
            read[self.path.parent.name] += len(self.data)
            return super().read()

    def feature_shard(path):
        opened[path.parent.name] += 1
        return Counting(path, "features")

    monkeypatch.setattr(features, "feature_shard", feature_shard)
    for names in (["linear"], ["plain", "channel", "linear"]):
        opened.clear(), read.clear()
        ranked("ranks", *names)
        assert read == SIZES, f"features read for {names}"
        # The database's shards once more, for the paths of the neighbours.
        assert opened == {"split": SHARDS["split"], "database": 2 * SHARDS["database"]}


def test_a_mapper_that_does_not_fit_stops_before_the_pass(ranked, tmp_path, monkeypatch):
    tensors = {"weights": torch.ones(1, DIMENSION + 1)}
    torch.save({"real_mapper": tensors, "synth_mapper": tensors}, tmp_path / "linear.pth")
    monkeypatch.setattr(features, "read_ahead", pytest.fail)
    with pytest.raises(InputError, match=r"linear\.pth: real_mapper: maps 13 dimensions; the features have 12"):
        ranked("ranks", "plain", "linear")
    assert not (tmp_path / "ranks").exists()
