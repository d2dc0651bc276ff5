"""Decoding: several preprocessings of an image beside one, several processes beside one, and the memory that it takes."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from attribench.decode.decode import decode_shard
from attribench.decode.preprocessing import Preprocessing, load_pixels
from attribench.decode.reading import AS_PUBLISHED, Reading
from PIL import Image
from skimage import data

from bench.measure import Contestant, Options, Row, compare, in_fresh_process, peak_memory

UNIT = "ms an image"
# Those of the published extractors: clip, dino, moco, vit, sscd.
PUBLISHED = [
    Preprocessing.parse(text)
    for text in ("bicubic-224-224", "bicubic-256-224", "bilinear-256-224", "bilinear-384-384", "bilinear-288-288")
]
IMAGES = 64


@contextmanager
def photographs(n: int, ending: str = "png") -> Iterator[tuple[Path, list[str]]]:
    """Yield a folder with `n` files of 512 x 512 pixels, and their names. Each shows most of one of four photographs."""
    wholes = [Image.fromarray(image) for image in (data.astronaut(), data.coffee(), data.chelsea(), data.rocket())]
    with TemporaryDirectory() as folder:
        names = [f"{i}.{ending}" for i in range(n)]
        rng = np.random.default_rng(0)
        for i, name in enumerate(names):
            image = wholes[i % len(wholes)]
            width, height = 0.95 * np.array(image.size)
            left, top = rng.uniform(0, 0.05, 2) * image.size
            box = (left, top, left + width, top + height)
            image.resize((512, 512), Image.Resampling.BICUBIC, box).save(Path(folder) / name)
        yield Path(folder), names


def side_by_side(options: Options) -> Iterator[Row]:
    """Measure all published preprocessings from one decoding, one of them alone, and a decoding for each."""
    with photographs(max(4, round(IMAGES * options.scale))) as (folder, names):

        def load(groups: list) -> None:
            for name in names:
                for group in groups:
                    load_pixels(folder / name, group)

        contestants = [
            Contestant("one preprocessing", lambda: load([PUBLISHED[:1]]), len(names)),
            Contestant("the five published ones", lambda: load([PUBLISHED]), len(names)),
            Contestant("the five, one after the other", lambda: load([[p] for p in PUBLISHED]), len(names)),
        ]
        yield from compare("decode, PNG 512 x 512", UNIT, contestants, options)


def decoders(options: Options) -> Iterator[Row]:
    """Measure what the quick decoder of PNG files is worth, beside Pillow, which decodes them where EXIF is applied."""
    with photographs(max(4, round(IMAGES * options.scale))) as (folder, names):

        def load(group: list[Preprocessing], reading: Reading) -> None:
            for name in names:
                load_pixels(folder / name, group, reading)

        for case, group in (("one preprocessing", PUBLISHED[:1]), ("the five", PUBLISHED)):
            contestants = [
                Contestant("Pillow alone", partial(load, group, Reading(exif="apply")), len(names)),
                Contestant("as published", partial(load, group, AS_PUBLISHED), len(names)),
            ]
            yield from compare(f"{case}, PNG 512 x 512", UNIT, contestants, options)


def processes(options: Options) -> Iterator[Row]:
    """Measure a whole shard, the start of the processes included, with as many as there are cores, and with one."""
    if options.threads == 1 or options.clock == "cpu":  # which does not see other processes' time
        return
    n = max(32, round(32 * IMAGES * options.scale))
    with photographs(n) as (folder, names):

        def shard(workers: int) -> None:
            decode_shard(folder / "shard.h5", folder, names, PUBLISHED, quarantine=False, workers=workers)

        contestants = [
            Contestant("one process", lambda: shard(1), n),
            Contestant(f"{options.threads} processes", lambda: shard(options.threads), n / options.threads),
        ]
        yield from compare("pixel shard of the five, per core", UNIT, contestants, options)


def memory(options: Options) -> Iterator[Row]:
    """Measure the memory that decoding takes, for a shard and for one four times as large."""
    for n in (64, 256):
        with photographs(n, "jpg") as (folder, names):
            used = in_fresh_process(_memory_of, folder, names)
        yield Row("memory of decoding the five", f"{n} images", "GB", used, None, [used])


def _memory_of(folder: Path, names: list[str]) -> float:
    with peak_memory() as memory:
        decode_shard(folder / "shard.h5", folder, names, PUBLISHED, quarantine=False)
    return memory.grown


BENCHMARKS = [side_by_side, decoders, processes, memory]
