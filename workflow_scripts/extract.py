"""Extract the features of a pixel file, into one feature shard or more."""

from pathlib import Path

import torch
from attribench.extract import extract_shard
from attribench.extractors import load_extractor
from attribench.forward import Forward, choose_device, keep_freed_memory
from attribench.manifest import job_slices, manifest_length
from attribench.preprocessing import Preprocessing
from attribench.registry import ExtractorEntry
from attribench.stage import stage

name, preprocessing = snakemake.wildcards.extractor, snakemake.params.preprocessing
parts = job_slices(manifest_length(snakemake.input.manifest), snakemake.wildcards.shard)
outputs = [str(Path(snakemake.output.features).with_name(f"{shard}.h5")) for shard, _ in parts]

with stage(snakemake, outputs=outputs):
    torch.set_num_threads(snakemake.threads)
    keep_freed_memory()
    device = choose_device(snakemake.config["device"])
    entry = ExtractorEntry(**snakemake.params.entry)
    forward = Forward(
        load_extractor(name, entry, snakemake.config["root"]),
        Preprocessing.parse(preprocessing).crop,
        precision=snakemake.params.precision,
        device=device,
        batch_size=snakemake.config["batch_size"],
        compiled=snakemake.params.compiled,
    )
    first = parts[0][1].start
    for output, (_, rows) in zip(outputs, parts, strict=True):
        extract_shard(
            snakemake.input.pixels,
            output,
            forward,
            name=name,
            collection=snakemake.wildcards.collection,
            preprocessing=preprocessing,
            first_row=rows.start,
            part=slice(rows.start - first, rows.stop - first),
        )
