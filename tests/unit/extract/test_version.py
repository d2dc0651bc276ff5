"""Extraction makes the same features of given pixels until its VERSION is raised."""

import numpy as np
from attribench.extract import VERSION
from attribench.extract.extract import extract_shard, load_forward
from attribench.extract.extractors import preprocessing_of
from attribench.extract.registry import ExtractorEntry
from attribench.formats.shards import Rows, open_feature_shard, pixels_name, write_shard
from helpers.extraction import TINY
from helpers.golden_bytes import check

COLOR = ExtractorEntry(library="color", resize=32, crop=32, interpolation="bicubic")
# By VERSION: every 32nd number of the features of three images. Processors differ in the last bits.
NETWORK = {
    1: [
        [0.001328, 0.00194, -0.001787, -0.008144, -0.001536, -0.005693, 0.004185, -0.006045],
        [0.001987, 0.018958, -0.009268, -0.014836, 0.004704, -0.002269, -0.003582, -0.0146],
        [0.001367, -0.001187, 0.001417, 0.000544, -0.001305, -0.001662, 0.000496, 0.001015],
    ]
}


def features_of(folder, name, entry):
    """Return features and identity that extract makes of random pixels."""
    preprocessing = preprocessing_of(entry)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    pixels[1, :, :, 0] = 200
    pixels[2] //= 4
    rows = Rows.all_valid(["a.png", "b.png", "c.png"])
    with write_shard(folder / "p.h5", pixels_name(str(preprocessing)), pixels.shape, "uint8", rows, {}) as writer:
        writer.append(pixels)
    forward = load_forward(name, entry, folder, device="cpu")
    shard = dict(name=name, collection="c", preprocessing=str(preprocessing), first_row=0)
    extract_shard(folder / "p.h5", folder / "f.h5", forward, **shard)
    with open_feature_shard(folder / "f.h5") as features:
        return features.read(), features.identity


def test_golden_bytes_of_the_colour_histogram(tmp_path):
    features, identity = features_of(tmp_path, "color", COLOR)
    assert (features > 0).sum(axis=1).tolist() == [439, 64, 8]
    check("extract", VERSION, {"features": features, "identity": str(identity)})


def test_golden_numbers_of_a_network(tmp_path):
    features, identity = features_of(tmp_path, "tiny", TINY)
    assert (identity.dimension, identity.precision) == (256, "float32")
    assert identity.preprocessing == "bilinear-40-32 mean 0.4,0.5,0.6 std 0.2,0.3,0.25"
    assert features.std(axis=0).mean() > 0.003
    message = f"extract makes other features: raise its VERSION, which is {VERSION}, and enter these in NETWORK"
    np.testing.assert_allclose(features[:, ::32], NETWORK[VERSION], rtol=0, atol=1e-5, err_msg=message)
