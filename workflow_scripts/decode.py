"""Decode a slice of a collection."""

from attribench.decode import decode_shard
from attribench.manifest import read_manifest, shard_of
from attribench.preprocessing import Preprocessing
from attribench.stage import stage

if __name__ == "__main__":  # worker processes import this file
    with stage(snakemake, keep_key=False):
        rows, _ = shard_of(read_manifest(snakemake.input.manifest), snakemake.wildcards.shard)
        decode_shard(
            snakemake.output.pixels,
            snakemake.config["root"],
            [row.path for row in rows],
            Preprocessing.parse(snakemake.wildcards.preprocessing),
            quarantine=snakemake.params.quarantine,
            workers=snakemake.threads,
        )
