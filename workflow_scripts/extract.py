"""Extract the features of a slice of a collection from its pixels."""

import torch
from attribench.decode.decode import decoded_pixels
from attribench.decode.preprocessing import Preprocessing
from attribench.decode.reading import Reading
from attribench.extract.extract import extract_shard
from attribench.extract.extractors import load_extractor
from attribench.extract.forward import ForwardPass, choose_device, keep_freed_memory
from attribench.extract.registry import ExtractorEntry
from attribench.formats.manifest import shard_paths
from attribench.provenance.fingerprints import read_listed
from attribench.provenance.job import job

if __name__ == "__main__":  # worker processes import this file
    with job(snakemake):
        name, config, params = snakemake.wildcards.extractor, snakemake.config, snakemake.params
        torch.set_num_threads(snakemake.threads)
        keep_freed_memory()
        preprocessing = Preprocessing.parse(params.preprocessing)
        forward = ForwardPass(
            load_extractor(name, ExtractorEntry(**params.entry), config["root"]),
            preprocessing.crop,
            precision=params.precision,
            device=choose_device(config["device"]),
            batch_size=config["batch_size"],
            compiled=params.compiled,
        )
        cut = read_listed(snakemake.input.fingerprints).cut
        part = shard_paths(snakemake.input.manifest, snakemake.wildcards.shard, cut)
        output = snakemake.output.features
        decoding = dict(
            quarantine=params.quarantine,
            reading=Reading(config["exif"], config["max_pixels"]),
            workers=snakemake.threads,
        )
        with decoded_pixels(
            snakemake.input.get("pixels"), output, config["root"], part.paths, preprocessing, **decoding
        ) as pixels:
            extract_shard(
                pixels,
                output,
                forward,
                name=name,
                collection=snakemake.wildcards.collection,
                preprocessing=params.preprocessing,
                first_row=part.first_row,
                key=params.made_key,
            )
