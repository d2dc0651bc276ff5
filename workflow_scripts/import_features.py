"""Import the features of a collection from a given file."""

from pathlib import Path

from attribench.import_features import import_features
from attribench.manifest import all_shards, manifest_paths
from attribench.stage import stage

shards = all_shards(snakemake.output)

with stage(snakemake, outputs=shards):
    import_features(
        Path(snakemake.config["root"]) / snakemake.params.given,
        shards,
        manifest_paths(snakemake.input.manifest),
        extractor=snakemake.wildcards.extractor,
        collection=snakemake.wildcards.collection,
    )
