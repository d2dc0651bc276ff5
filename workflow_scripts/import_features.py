"""Import the features of a slice of a collection from a given file."""

from attribench.formats.manifest import manifest_paths
from attribench.import_features import import_shard
from attribench.provenance.fingerprints import read_listed
from attribench.provenance.job import job

with job(snakemake):
    import_shard(
        snakemake.input.given[0],
        snakemake.output.features,
        list(manifest_paths(snakemake.input.manifest)),
        shard=snakemake.wildcards.shard,
        extractor=snakemake.wildcards.extractor,
        collection=snakemake.wildcards.collection,
        cut=read_listed(snakemake.input.fingerprints).cut,
        are_all=snakemake.params.are_all,
        key=snakemake.params.made_key,
    )
