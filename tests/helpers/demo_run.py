"""A small run for the demo, made by the library's own functions: images, features, ranks, influence. No Snakemake needed."""

import json
from pathlib import Path

import numpy as np
import torch
import yaml
from attribench.decode.decode import decode_shard
from attribench.demo.run import MethodFiles, Run
from attribench.extract.extract import extract_shard, load_forward
from attribench.extract.extractors import preprocessing_of
from attribench.formats.calibrator import Calibrator, read_calibrator, write_calibrator
from attribench.formats.histogram import read_histogram
from attribench.formats.influence import write_influence
from attribench.formats.manifest import write_manifest
from attribench.formats.rank_file import read_rank_file
from attribench.influence import influence_of
from attribench.manifest import collect
from attribench.rank.rank import Options, rank_split
from helpers.clone import TINY
from PIL import Image

ENTRIES, DATABASE = 3, 40
SETTINGS = {
    "benchmark": "photos",
    "extractors": ["tiny", "color"],
    "variants": ["pretrained", "tuned"],
    "missing_variants": "skip",
    "influence": True,
    "calibration_splits": ["zoo"],
    "device": "cpu",
    "database_shards": 2,
    "benchmarks": {"photos": {"splits": {"zoo": "zoo.json"}, "database": {"folder": "others"}}},
    "extractor_registry": TINY["extractor_registry"],
}


def make_run(folder: Path, **changes) -> Path:
    """Make a run below `folder`, and return its config file. `changes`: of the settings that the file has at the end."""
    root, file = folder / "root", folder / "mine.yaml"
    _draw(root)
    _train(root)
    settings = SETTINGS | {"root": str(root), "results": str(folder / "results")}
    file.write_text(yaml.safe_dump(settings))
    run = Run([file])
    for method in run.methods:
        files = run.files_of(method)
        if method.variant == "pretrained":
            for collection in (files.database, files.splits["zoo"]):
                _extract(root, files, collection)
            write_calibrator(files.calibrator, Calibrator(15.0, 0.4))
        _rank(files, folder / "results")
    file.write_text(yaml.safe_dump(settings | changes))
    return file


def _draw(root: Path) -> None:
    """Draw the images: each entry has its colours, and the database all of them."""
    generator, entries = np.random.default_rng(0), []
    for entry in range(ENTRIES):
        synth = {kind: [f"queries/{entry}-{kind}-{i}.png" for i in range(2)] for kind in ("object", "gpt")}
        exemplar = [f"exemplars/{entry}-{i}.jpg" for i in range(entry + 1)]
        entries.append({"exemplar": exemplar, "synth": synth, "class_id": f"animal {entry}", "category": "<b>&"})
        for path in [*exemplar, *(path for paths in synth.values() for path in paths)]:
            _picture(root / path, entry / ENTRIES, generator)
    for i in range(DATABASE):
        _picture(root / f"others/{i:03}.png", i / DATABASE, generator)
    (root / "zoo.json").write_text(json.dumps(entries))


def _picture(path: Path, hue: float, generator: np.random.Generator) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.empty((60, 60, 3), np.uint8)
    pixels[..., 0], pixels[..., 1:] = int(255 * hue) % 256, (190, 200)
    pixels[:30, : generator.integers(10, 50), 1] = generator.integers(40, 200)
    pixels[generator.integers(5, 50) :, :, 2] = generator.integers(40, 200)
    Image.fromarray(pixels, "HSV").convert("RGB").save(path, quality=95)


def _train(root: Path) -> None:
    """Write a pair of mappers for `tiny`, and their calibrator, as the published ones are."""
    generator, d = torch.Generator().manual_seed(0), 48
    sides = [torch.eye(d) + 0.1 * torch.randn(d, d, generator=generator) for _ in range(2)]
    states = [{"weight": weight, "bias": torch.zeros(d)} for weight in sides]
    for folder in ("mapper", "calibrator"):
        (root / "weights" / folder).mkdir(parents=True, exist_ok=True)
    torch.save(dict(zip(("real_mapper", "synth_mapper"), states, strict=True)), root / "weights/mapper/tiny_tuned.pth")
    write_calibrator(root / "weights/calibrator/tiny_tuned.pth", Calibrator(25.0, -0.1))


def _extract(root: Path, files: MethodFiles, collection) -> None:
    is_split = collection.collection == "zoo"
    listing = {"split": "zoo.json", "origin": "images"} if is_split else {"folder": "others", "origin": "images"}
    rows = collect(str(root), listing, None).rows
    write_manifest(collection.manifest, rows)
    name, preprocessing = files.method.extractor, preprocessing_of(files.entry, root)
    forward = load_forward(name, files.entry, root, device="cpu", batch_size=8)
    cuts = np.linspace(0, len(rows), len(collection.shards) + 1).astype(int)
    for number, output in enumerate(collection.shards):
        paths = [row.path for row in rows[cuts[number] : cuts[number + 1]]]
        pixels = Path(output).with_suffix(".pixels.h5")
        decode_shard(pixels, root, paths, [preprocessing], quarantine=False)
        names = {"name": name, "collection": collection.collection, "preprocessing": str(preprocessing)}
        extract_shard(pixels, output, forward, first_row=int(cuts[number]), key=f"{name} {number}", **names)
        pixels.unlink()


def _rank(files: MethodFiles, results: Path) -> None:
    split, (extractor, variant) = files.splits["zoo"], files.method
    ranks, histogram, influence = (
        results / kind / "zoo" / extractor / f"{variant}.h5" for kind in ("ranks", "histograms", "influence")
    )
    rank_split(
        ranks,
        manifest=split.manifest,
        database_manifest=files.database.manifest,
        split_shards=split.shards,
        database_shards=files.database.shards,
        mapper=files.mapper,
        database=files.database.collection,
        split="zoo",
        extractor=extractor,
        variant=variant,
        options=Options(),
        threads=1,
        histogram=histogram,
    )
    ranking, calibrator = read_rank_file(ranks), read_calibrator(files.calibrator)
    scores = read_histogram(histogram, len(ranking.query_path))
    write_influence(influence, influence_of(ranking, scores, calibrator), calibrator)
