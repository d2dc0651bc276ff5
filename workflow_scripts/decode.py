"""Decode a slice of a collection."""

from attribench.decode.decode import decode_shard
from attribench.decode.preprocessing import Preprocessing
from attribench.decode.reading import Reading
from attribench.formats.manifest import shard_paths
from attribench.provenance.fingerprints import read_listed
from attribench.provenance.job import job

if __name__ == "__main__":  # worker processes import this file
    with job(snakemake):
        cut = read_listed(snakemake.input.fingerprints).cut
        decode_shard(
            snakemake.output.pixels,
            snakemake.config["root"],
            shard_paths(snakemake.input.manifest, snakemake.wildcards.shard, cut).paths,
            [Preprocessing.parse(text) for text in snakemake.params.preprocessings],
            quarantine=snakemake.params.quarantine,
            reading=Reading(snakemake.config["exif"], snakemake.config["max_pixels"]),
            workers=snakemake.threads,
            key=snakemake.params.key,
        )
