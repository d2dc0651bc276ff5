"""Decode a slice of a collection."""

from itertools import islice

from attribench.decode import decode_shard
from attribench.manifest import job_slices, manifest_length, manifest_paths
from attribench.preprocessing import Preprocessing
from attribench.stage import stage

if __name__ == "__main__":  # worker processes import this file
    with stage(snakemake, keep_key=False):
        manifest = snakemake.input.manifest
        parts = job_slices(manifest_length(manifest), snakemake.wildcards.shard)
        decode_shard(
            snakemake.output.pixels,
            snakemake.config["root"],
            list(islice(manifest_paths(manifest), parts[0][1].start, parts[-1][1].stop)),
            [Preprocessing.parse(text) for text in snakemake.params.preprocessings],
            quarantine=snakemake.params.quarantine,
            workers=snakemake.threads,
            key=snakemake.params.key,
        )
