"""Import: images are joined by path, and what is missing is listed."""

import numpy as np
import pytest
import torch
from attribench.common.errors import InputError
from attribench.formats.shards import open_feature_shard
from attribench.import_features import VERSION, import_shard
from helpers import golden_bytes
from helpers.feature_files import FEATURES, PATHS, imported, write_feature_file


def test_missing_images_are_listed(tmp_path):
    feature_file = write_feature_file(tmp_path, "npz")
    with pytest.raises(InputError, match="has no feature of 2 of 3 images:\n  d/x.png\n  d/y.png"):
        imported(feature_file, tmp_path, ["d/x.png", PATHS[0], "d/y.png"])
    with pytest.raises(
        InputError, match=r"has no feature of 30 of 30 images:(\n  x/\d+.png){20}\n  … and 10 more\nThe.*d/0.png"
    ):
        imported(feature_file, tmp_path, [f"x/{i}.png" for i in range(30)])


def test_each_shard_refuses_a_file_that_lacks_an_image_of_another(tmp_path):
    feature_file = write_feature_file(tmp_path, "npz")
    for shard in ("00000-of-00002", "00001-of-00002"):
        with pytest.raises(InputError, match="has no feature of 1 of 3 images:\n  d/x.png$"):
            import_shard(
                feature_file,
                tmp_path / "a.h5",
                ["d/x.png", *PATHS[:2]],
                shard=shard,
                extractor="clip",
                collection="c",
            )


def test_a_file_that_lists_other_images_than_the_first_is_refused(tmp_path):
    job = {"shard": "00000-of-00001", "extractor": "clip", "collection": "c"}
    feature_file, output = write_feature_file(tmp_path, "npz"), tmp_path / "a.h5"
    import_shard(feature_file, output, PATHS[2:], **job)
    with pytest.raises(InputError, match=f"has 2 images more than c, which the first.*:\n  {PATHS[0]}\n  {PATHS[1]}$"):
        import_shard(feature_file, output, PATHS[2:], **job, are_all=True)


@pytest.mark.parametrize(
    ("theirs", "ours", "hint"),
    [
        ("", "dataset/", "'' where 'dataset/' is expected"),
        ("dataset/", "", "'dataset/' where '' is expected"),
        ("a/b/", "a/c/", "'a/b/' where 'a/c/' is expected"),
    ],
)
def test_another_beginning_is_pointed_out(tmp_path, theirs, ours, hint):
    names = [f"{i % 3}/{i // 3}.png" for i in range(10)]
    np.savez(tmp_path / "a.npz", features=FEATURES, paths=np.array([theirs + name for name in names]))
    with pytest.raises(InputError, match="has no feature of 10 of 10 images") as error:
        imported(tmp_path / "a.npz", tmp_path, [ours + name for name in names])
    assert str(error.value).endswith(f"\nIt has them all under another beginning: {hint}")
    with pytest.raises(InputError) as error:
        imported(tmp_path / "a.npz", tmp_path, [*(ours + name for name in names), f"{ours}4/4.png"])
    assert "another beginning" not in str(error.value)


def test_golden_bytes(tmp_path):
    rng = np.random.default_rng(0)
    values = torch.from_numpy(rng.integers(-(2**20), 2**20, (10, 4))) / 2**11
    made = {}
    for dtype in ("float16", "bfloat16", "float32", "float64"):
        torch.save({"feats": values.to(getattr(torch, dtype)), "paths": PATHS}, tmp_path / f"{dtype}.pth")
        output = tmp_path / f"{dtype}.h5"
        names = {"shard": "00001-of-00003", "extractor": "clip", "collection": "c"}
        import_shard(tmp_path / f"{dtype}.pth", output, PATHS[::-1], **names)
        with open_feature_shard(output) as shard:
            made |= {f"{dtype} features": shard.read(), f"{dtype} paths": shard.rows.paths}
            made |= {f"{dtype} valid": shard.rows.valid, f"{dtype} identity": str(shard.identity)}
    golden_bytes.check("import_features", VERSION, made)
