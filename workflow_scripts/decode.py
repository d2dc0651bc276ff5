"""Decode a slice of a collection."""

from attribench.decode import decode_shard
from attribench.manifest import job_rows, read_manifest
from attribench.preprocessing import Preprocessing
from attribench.stage import stage

if __name__ == "__main__":  # worker processes import this file
    with stage(snakemake, keep_key=False):
        rows = read_manifest(snakemake.input.manifest)
        parts = job_rows(rows, snakemake.wildcards.shard)
        decode_shard(
            snakemake.output.pixels,
            snakemake.config["root"],
            [row.path for row in rows[parts[0][1].start : parts[-1][1].stop]],
            [Preprocessing.parse(text) for text in snakemake.params.preprocessings],
            quarantine=snakemake.params.quarantine,
            workers=snakemake.threads,
        )
