"""Extract the features of a slice of a collection from its pixels."""

from attribench.decode.decode import decoded_pixels
from attribench.decode.preprocessing import Preprocessing
from attribench.decode.reading import Reading
from attribench.extract.extract import extract_shard, keep_freed_memory, load_forward
from attribench.extract.registry import ExtractorEntry
from attribench.formats.manifest import shard_paths
from attribench.provenance.fingerprints import read_listed
from attribench.provenance.job import job

if __name__ == "__main__":  # worker processes import this file
    with job(snakemake):
        name, config, params = snakemake.wildcards.extractor, snakemake.config, snakemake.params
        keep_freed_memory()
        preprocessing = Preprocessing.parse(params.preprocessing)
        forward = load_forward(
            name,
            ExtractorEntry(**params.entry),
            config["root"],
            precision=params.precision,
            device=config["device"],
            threads=snakemake.threads,
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
