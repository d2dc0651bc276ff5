"""The memory-mapped rows: their scores, and when they are made anew."""

from dataclasses import replace

import numpy as np
import pytest
from attribench.common.errors import InputError
from attribench.demo import rows as rows_module
from attribench.demo.method import exact_scores
from attribench.demo.rows import make_rows, open_rows, rows_key
from attribench.formats.features import CollectionFiles
from attribench.formats.manifest import ManifestRow, write_manifest
from attribench.formats.shards import FeatureIdentity, Rows, feature_attributes, write_shard

IDENTITY = FeatureIdentity("tiny", 24, "w", "p", "float32")
D = 24


def database(folder, features, valid=None, key="k"):
    """Write two shards of `features`, and return their files."""
    paths = [f"d/{i}.png" for i in range(len(features))]
    write_manifest(folder / "manifest.csv", [ManifestRow(path, "database") for path in paths])
    valid, cut, shards = np.ones(len(features), bool) if valid is None else valid, len(features) // 3, []
    for number, part in enumerate((slice(0, cut), slice(cut, None))):
        shards.append(folder / f"{number}.h5")
        rows = Rows(paths[part], valid[part], ["" if ok else "broken" for ok in valid[part]])
        attributes = feature_attributes(IDENTITY, "db", part.start, f"{key}{number}", {})
        with write_shard(shards[-1], "features", features[part].shape, str(features.dtype), rows, attributes) as writer:
            writer.append(features[part])
    return CollectionFiles("db", folder / "manifest.csv", "", shards)


def as_they_are(features):
    return features


def made(folder, files, real=as_they_are):
    return make_rows(folder / "rows", files, real, None, rows_key(files, None), lambda share: None)


@pytest.mark.parametrize("spread", [1.0, 0.01, 1e-5])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_scores_are_within_their_error_of_the_canonical_ones(tmp_path, spread, dtype, monkeypatch):
    monkeypatch.setattr(rows_module, "_BLOCK", 64)
    generator = np.random.default_rng(0)
    features = (generator.standard_normal(D) + spread * generator.standard_normal((300, D))).astype(dtype)
    rows = made(tmp_path, database(tmp_path, features))
    query = generator.standard_normal(D)
    unit = query / np.linalg.norm(query)
    exact, all_rows = exact_scores(unit[None], features), np.arange(300)
    assert 0 < np.abs(rows.scores(unit) - exact).max() <= rows.error < 1e-5 * max(spread, 1e-3)
    assert np.abs(rows.float64_scores(unit, all_rows) - exact).max() <= rows.float64_error < rows.error / 5
    read, paths = rows.features(np.array([0, 99, 100, 299]))
    assert np.array_equal(read, features[[0, 99, 100, 299]]) and paths[1:3] == ["d/99.png", "d/100.png"]


def test_invalid_images_have_no_score(tmp_path):
    features, valid = np.random.default_rng(1).standard_normal((30, D)).astype(np.float32), np.ones(30, bool)
    valid[[0, 17]], features[[0, 17]] = False, 0
    scores = made(tmp_path, database(tmp_path, features, valid)).scores(np.eye(D)[0])
    assert np.array_equal(np.isnan(scores), ~valid)


def test_images_beyond_the_manifests_end_have_no_row(tmp_path):
    """As with the config key database_limit, which leaves features as they are."""
    files = database(tmp_path, np.random.default_rng(4).standard_normal((30, D)).astype(np.float32))
    write_manifest(files.manifest, [ManifestRow(f"d/{i}.png", "database") for i in range(12)])
    rows = made(tmp_path, files)
    assert len(rows.scores(np.eye(D)[0])) == 12 and rows.starts.tolist() == [0, 10, 12]
    assert rows.features(np.array([9, 10, 11]))[1] == ["d/9.png", "d/10.png", "d/11.png"]


def test_rows_are_found_again_until_what_they_are_made_of_changes(tmp_path):
    features = np.random.default_rng(2).standard_normal((30, D)).astype(np.float32)
    files, mapper = database(tmp_path, features), tmp_path / "mapper.pth"
    first = made(tmp_path, files)
    found = open_rows(tmp_path / "rows", files, rows_key(files, None))
    assert np.array_equal(found.scores(np.eye(D)[0]), first.scores(np.eye(D)[0]))
    mapper.write_bytes(b"one")
    assert open_rows(tmp_path / "rows", files, rows_key(files, mapper)) is None
    changed = database(tmp_path, features * 2 + 1, key="new")
    assert open_rows(tmp_path / "rows", changed, rows_key(changed, None)) is None
    again = made(tmp_path, changed)
    assert not np.array_equal(again.scores(np.eye(D)[0]), first.scores(np.eye(D)[0]))
    with open(again.data, "r+b") as file:
        file.truncate(100)
    assert open_rows(tmp_path / "rows", changed, rows_key(changed, None)) is None


def test_what_cannot_be_scored_is_refused(tmp_path, monkeypatch):
    features = np.random.default_rng(3).standard_normal((30, D)).astype(np.float32)
    files = database(tmp_path, features)
    with pytest.raises(InputError, match="does not exist"):
        rows_key(replace(files, shards=[tmp_path / "none.h5"]), None)
    with pytest.raises(InputError, match="no image is valid"):
        made(tmp_path, database(tmp_path, features * 0, np.zeros(30, bool)))
    features[3, 3] = np.nan
    with pytest.raises(InputError, match="holds NaN"):
        made(tmp_path, database(tmp_path, features))
    monkeypatch.setattr(rows_module, "disk_usage", lambda folder: type("Usage", (), {"free": 1000}))
    with pytest.raises(InputError, match=r"0\.0 GB are free"):
        made(tmp_path, files)
    assert not (tmp_path / "rows" / "rows.h5").exists()
