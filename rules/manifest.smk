# List a collection's images in one table, and record the content of the given files that they come from. The manifest
# stands for these images wherever they are read later: they are too many to be inputs.


localrules:
    manifest,


@cache
def manifest_key(collection):
    limit = plan.config.database_limit if collection == plan.database else None
    reads = [plan.collection_token(collection), *([sample_key()] if plan.rendered else [])]
    return key_of("manifest", code=manifest.VERSION, settings=[plan.listing(collection), limit], reads=reads)


def manifest_inputs(wildcards):
    collection = wildcards.collection
    product = {manifest_of(collection): manifest_key(collection)}
    return by_content(f"manifest/{collection}", product, **given_inputs(plan.collection_paths(collection)))


rule manifest:
    input:
        unpack(manifest_inputs),
    output:
        manifest=plan.pattern("manifest"),
        # Kept when the job fails: it knows which files are unchanged.
        fingerprints=update(plan.pattern("fingerprints")),
    log:
        log_file("manifest/{collection}"),
    benchmark:
        benchmark_file("manifest/{collection}")
    threads: 4
    params:
        key=lambda w: manifest_key(w.collection),
        token=lambda w: plan.collection_token(w.collection),
        listing=lambda w: plan.listing(w.collection),
        limit=lambda w: plan.config.database_limit if w.collection == plan.database else None,
    message:
        "Listing the images of {wildcards.collection}"
    script:
        "../workflow_scripts/manifest.py"
