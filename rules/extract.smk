# Run an extractor over decoded pixels.
#
# Besides images, for which manifests stand, only pixels are read without always being inputs. They are temporary and
# shared by extractors: if one extractor needed them again, all extractors of the shard would run again. So while some
# extractor has to run, extractors whose features carry their current key have no pixels as input. If such a job is
# forced, it decodes the images itself.


# No key has the policy for invalid images in it: a shard without such images is the same under both. One with some is refused
# at the start of a run that is to stop at them (`check_results`).


@cache
def extract_keys(collection, extractor, shard):
    """Return the keys of a feature shard: first of the one that a job makes, then of others that serve as well."""
    settings = [decode.VERSION, plan.config.exif, plan.extractor_identity(extractor)]
    images = images_keys(collection, shard)
    return [key_of("extract", code=extract.VERSION, settings=settings, reads=[key]) for key in images]


@cache
def extract_key(collection, extractor, shard):
    features = plan.path("features", collection=collection, extractor=extractor, shard=shard)
    return key_of_shard(features, extract_keys(collection, extractor, shard))


@cache
def has_features(collection, extractor, shard):
    features = plan.path("features", collection=collection, extractor=extractor, shard=shard)
    return is_current(features, extract_key(collection, extractor, shard))


@cache
def extractors_to_run(collection, shard):
    """Return the extractors whose features of a shard are not there with their present key."""
    used = {method.extractor for method in plan.feature_methods}
    extractors = plan.extractors_of(collection, "images")
    return [name for name in extractors if name in used and not has_features(collection, name, shard)]


def refuse_unfit_networks():
    """Refuse networks that cannot take images of their extractor's size, before images are decoded."""
    shards = [(c, s) for c in plan.collections if plan.extractors_of(c, "images") for s in plan.shards(c)]
    plan.refuse_unfit_networks(dict.fromkeys(name for shard in shards for name in extractors_to_run(*shard)))


def pixels_of(wildcards):
    """Return the pixels that a job reads: within a job, whose old features are gone already, those that exist."""
    collection, shard = wildcards.collection, wildcards.shard
    pixels = plan.path("pixels", collection=collection, shard=shard)
    if IS_JOB:
        return pixels if os.path.exists(pixels) else []
    return [] if has_features(**wildcards) and extractors_to_run(collection, shard) else pixels


def extract_inputs(wildcards):
    return by_content(
        f"extract/{wildcards.collection}/{wildcards.extractor}/{wildcards.shard}",
        {plan.path("features", **wildcards): extract_key(**wildcards)},
        listing=listing_inputs(wildcards.collection),
        pixels=pixels_of(wildcards),
        **given_inputs(plan.weights_paths(wildcards.extractor)),
    )


def extract_reads(wildcards):
    collection, shard = wildcards.collection, wildcards.shard
    reads = {manifest_of(collection): manifest_key(collection)}
    if pixels := pixels_of(wildcards):
        reads[pixels] = decode_key(collection, shard)
    return reads


rule extract:
    input:
        unpack(extract_inputs),
    output:
        features=plan.pattern("features"),
    log:
        log_file("extract/{collection}/{extractor}/{shard}"),
    benchmark:
        benchmark_file("extract/{collection}/{extractor}/{shard}")
    wildcard_constraints:
        collection=collections_from("images"),
    # Before more is decoded: pixels take a hundred times the space of features, and go when they were used.
    priority: 1
    threads: THREADS
    resources:
        mem_mb=max(6000, decode_mb()),
        runtime="4h",
        gpu=0 if plan.config.device == "cpu" else 1,
    params:
        key=lambda w: extract_key(**w),
        # Functions of `input` too, so that Snakemake does not compare them: the pixels go, and the key says all.
        made_key=lambda w, input: extract_keys(**w)[0],
        reads=lambda w, input: extract_reads(w),
        quarantine=lambda w, input: plan.config.invalid_images == "quarantine",
        preprocessing=lambda w: plan.preprocessing[w.extractor],
        entry=lambda w: plan.config.extractor_registry[w.extractor].identity(),
        precision=lambda w: plan.config.precision_of(w.extractor),
        compiled=lambda w: plan.config.is_compiled(w.extractor),
    message:
        "Extracting {wildcards.extractor} of {wildcards.collection} {wildcards.shard}"
    script:
        "../workflow_scripts/extract.py"
