"""Extract the features of a pixel shard."""

import torch
from attribench.extract import choose_device, extract_shard, keep_freed_memory
from attribench.extractors import load_extractor
from attribench.manifest import read_manifest, shard_of
from attribench.registry import ExtractorEntry
from attribench.stage import stage

with stage(snakemake):
    torch.set_num_threads(snakemake.threads)
    keep_freed_memory()
    name = snakemake.wildcards.extractor
    device = choose_device(snakemake.config["device"])
    entry = ExtractorEntry(**snakemake.params.entry)
    _, first_row = shard_of(read_manifest(snakemake.input.manifest), snakemake.wildcards.shard)
    extract_shard(
        snakemake.input.pixels,
        snakemake.output.features,
        load_extractor(name, entry, snakemake.config["root"]),
        name=name,
        collection=snakemake.wildcards.collection,
        first_row=first_row,
        precision=snakemake.params.precision,
        device=device,
        batch_size=snakemake.config["batch_size"],
    )
