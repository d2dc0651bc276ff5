"""Measure extraction from a pixel shard beside the bare forward pass of the same network on data in memory."""

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from attribench.formats.shards import Rows, pixels_name, write_shard

from bench.measure import Contestant, Options, Row, compare

UNIT = "ms an image"
PREPROCESSING, SIZE = "bicubic-224-224", 224
# Batches that a round takes, on a CPU.
NETWORKS = {"tf_efficientnet_lite0": 48, "vit_base_patch16_224": 4}


def side_by_side(options: Options) -> Iterator[Row]:
    """Measure each network in float32 and in bf16, on the GPU if there is one."""
    yield from _networks(options, compiled=False)


def compiled(options: Options) -> Iterator[Row]:
    """Measure the same with networks that torch compiles: apart, because others are slower once something was compiled."""
    yield from _networks(options, compiled=True)


def _networks(options: Options, compiled: bool) -> Iterator[Row]:
    import torch
    from attribench.extract.extract import keep_freed_memory
    from attribench.extract.forward import CPU_BATCH, choose_device

    torch.set_num_threads(options.threads)
    keep_freed_memory()
    device = choose_device("auto")
    batches_on_gpu = 20
    for (model, batches), precision in product(NETWORKS.items(), ("float32", "bf16")):
        forward = _forward(model, precision, device, compiled)
        n = forward.batch_size * (max(1, round(batches * options.scale)) if device.type == "cpu" else batches_on_gpu)
        assert device.type != "cpu" or forward.batch_size == CPU_BATCH
        case = f"{model}, {precision}, {device.type}{', compiled' * compiled}"
        with TemporaryDirectory() as folder:
            yield from compare(case, UNIT, _contestants(forward, Path(folder), n), options)


def _forward(model: str, precision: str, device, compiled: bool):
    import timm
    from attribench.extract.extractors import Network
    from attribench.extract.forward import ForwardPass

    module = timm.create_model(model, pretrained=False, num_classes=0).eval()
    network = Network(module, (0.5,) * 3, (0.5,) * 3, "none")
    return ForwardPass(network, SIZE, precision=precision, device=device, compiled=compiled)


def _contestants(forward, folder: Path, n: int) -> list[Contestant]:
    import torch
    from attribench.extract.extract import extract_shard

    pixels = np.random.default_rng(0).integers(0, 256, (forward.batch_size, SIZE, SIZE, 3), np.uint8)
    rows = Rows.all_valid([str(i) for i in range(n)])
    with write_shard(folder / "pixels.h5", pixels_name(PREPROCESSING), (n, SIZE, SIZE, 3), "uint8", rows, {}) as shard:
        for _ in range(0, n, len(pixels)):
            shard.append(pixels)
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).to(forward.device).float().div_(255)
    module = forward.network.module  # never compiled

    def bare() -> None:
        bf16 = torch.autocast(forward.device.type, torch.bfloat16, enabled=forward.precision == "bf16")
        with torch.inference_mode(), bf16:
            for _ in range(0, n, len(pixels)):
                module(images)
        if forward.device.type == "cuda":
            torch.cuda.synchronize()

    def ours() -> None:
        job = dict(name="bench", collection="bench", preprocessing=PREPROCESSING, first_row=0)
        extract_shard(folder / "pixels.h5", folder / "features.h5", forward, **job)

    return [Contestant("bare forward pass", bare, n), Contestant("pixel shard to feature shard", ours, n)]


BENCHMARKS = [side_by_side, compiled]
