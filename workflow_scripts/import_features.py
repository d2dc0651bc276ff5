"""Import a slice of a collection's features from a given file."""

from pathlib import Path

from attribench.import_features import import_shard
from attribench.manifest import read_manifest, shard_of
from attribench.stage import stage

with stage(snakemake):
    rows, first_row = shard_of(read_manifest(snakemake.input.manifest), snakemake.wildcards.shard)
    import_shard(
        Path(snakemake.config["root"]) / snakemake.params.given,
        snakemake.output.features,
        [row.path for row in rows],
        extractor=snakemake.wildcards.extractor,
        collection=snakemake.wildcards.collection,
        first_row=first_row,
    )
