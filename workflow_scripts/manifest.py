"""List a collection's images."""

import logging

from attribench.common.folders import left_out_text
from attribench.formats.manifest import write_manifest
from attribench.manifest import collect, write_left_out
from attribench.provenance.fingerprints import write_fingerprints
from attribench.provenance.job import job

with job(snakemake):
    root, output, params = snakemake.config["root"], snakemake.output, snakemake.params
    collection = collect(root, params.listing, params.limit, params.images)
    write_fingerprints(output.fingerprints, root, collection.files, params.token, snakemake.threads)
    write_left_out(output.left_out, snakemake.wildcards.collection, collection.left_out)
    write_manifest(output.manifest, collection.rows)
    logging.info("%d images; left out: %s", len(collection.rows), left_out_text(collection.left_out) or "nothing")
