"""A small network, and features as the stages decode and extract make them."""

import torch
from attribench.decode.decode import decode_shard
from attribench.extract.extract import extract_shard, load_forward
from attribench.extract.extractors import preprocessing_of
from attribench.extract.forward import ForwardPass
from attribench.extract.registry import ExtractorEntry
from attribench.formats.shards import open_feature_shard

TINY = ExtractorEntry(
    library="timm",
    model="test_efficientnet",
    pretrained="none",
    resize=40,
    crop=32,
    interpolation="bilinear",
    mean=[0.4, 0.5, 0.6],
    std=[0.2, 0.3, 0.25],
)


def extracted(folder, root, paths, name, entry, *, precision="float32", batch_size=4, network=None):
    """Extract the images `paths` below `root` into `folder`/NAME.h5; return features, identity and rows.

    network: used in place of the one that `entry` names.
    """
    preprocessing = preprocessing_of(entry, root)
    decode_shard(folder / "pixels.h5", root, paths, [preprocessing], quarantine=True)
    how = {"precision": precision, "batch_size": batch_size}
    if network:
        forward = ForwardPass(network, preprocessing.crop, device=torch.device("cpu"), **how)
    else:
        forward = load_forward(name, entry, root, device="cpu", **how)
    shard = dict(name=name, collection="c", preprocessing=str(preprocessing), first_row=0)
    extract_shard(folder / "pixels.h5", folder / f"{name}.h5", forward, **shard)
    with open_feature_shard(folder / f"{name}.h5") as features:
        return features.read(), features.identity, features.rows
