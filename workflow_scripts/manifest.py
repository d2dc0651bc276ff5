"""List a collection's images."""

import logging

from attribench.common.folders import left_out_text
from attribench.formats.manifest import cut_of, write_manifest
from attribench.manifest import collect, write_left_out
from attribench.provenance.fingerprints import Listed, read_listed, write_fingerprints
from attribench.provenance.job import job

with job(snakemake):
    root, output, params = snakemake.config["root"], snakemake.output, snakemake.params
    rows, files, left_out = collect(root, params.listing, None, params.images)
    taken = rows[: params.limit]
    # Images are the last of the files, where they are read at all.
    n_files = len(files) - (len(rows) - len(taken) if params.listing["origin"] == "images" else 0)
    earlier = read_listed(output.fingerprints)
    cut = cut_of(len(rows), earlier and earlier.cut)
    write_fingerprints(
        output.fingerprints,
        root,
        files[:n_files],
        params.token,
        snakemake.threads,
        unread=files[n_files:],
        how_listed=Listed(len(rows), cut, **params.how_listed),
    )
    write_left_out(output.left_out, snakemake.wildcards.collection, left_out)
    write_manifest(output.manifest, taken)
    logging.info("%d images; left out: %s", len(taken), left_out_text(left_out) or "nothing")
