# List a collection's images in one table, and record the content of the given files that they come from. The manifest
# stands for these images wherever they are read later: they are too many to be inputs.


localrules:
    manifest,


@cache
def manifest_key(collection):
    reads = [plan.collection_token(collection), *([sample_key()] if plan.rendered else [])]
    return key_of(
        "manifest", code=manifest.VERSION, settings=[plan.listing(collection), plan.limit(collection)], reads=reads
    )


def manifest_keys(collection):
    """Return the files that the job of a collection makes, with their key."""
    return dict.fromkeys([manifest_of(collection), left_out_of(collection)], manifest_key(collection))


def manifest_inputs(wildcards):
    collection = wildcards.collection
    return by_content(
        f"manifest/{collection}", manifest_keys(collection), **given_inputs(plan.collection_paths(collection))
    )


def announce_left_out():
    """Log what the lists of collections leave out."""
    for path in map(left_out_of, plan.collections):
        if os.path.exists(path) and (rows := manifest.read_left_out(path)):
            logger.info(f"Left out: {left_out_text(rows)}; {path} has examples")


@cache
def images_keys(collection, shard):
    """Return the keys of a shard's images, wherever they lie: first of those that a job takes, then others that serve."""
    reads = [sample_key()] if plan.rendered else []
    tokens = plan.shard_tokens(collection, shard)
    return [key_of("images", code=manifest.VERSION, settings=shard, reads=[token, *reads]) for token in tokens]


def key_of_shard(path, keys):
    """Return the key of a feature shard: the one that it carries, if it is one of `keys`; else the first one."""
    carried = carried_key(path)
    return carried if carried in keys else keys[0]


rule manifest:
    input:
        unpack(manifest_inputs),
    output:
        manifest=plan.pattern("manifest"),
        left_out=plan.pattern("left_out"),
        # Kept when the job fails: it knows which files are unchanged.
        fingerprints=update(plan.pattern("fingerprints")),
    log:
        log_file("manifest/{collection}"),
    benchmark:
        benchmark_file("manifest/{collection}")
    # Before images are decoded: a file that is missing should be told within minutes.
    priority: 2
    threads: 4
    params:
        key=lambda w: manifest_key(w.collection),
        token=lambda w: plan.collection_token(w.collection),
        listing=lambda w: plan.listing(w.collection),
        limit=lambda w: plan.limit(w.collection),
        images=lambda w: plan.images_of_features(w.collection),
        # A function of `input` too, so that Snakemake does not compare it: the key says all.
        how_listed=lambda w, input: plan.how_listed(w.collection),
    message:
        "Listing the images of {wildcards.collection}"
    script:
        "../workflow_scripts/manifest.py"
