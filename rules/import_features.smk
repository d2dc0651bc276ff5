# Turn an existing feature file into the shards of a collection.


localrules:
    fingerprint,


def feature_token(collection, extractor):
    record = plan.path("feature_fingerprint", collection=collection, extractor=extractor)
    return plan.files_token(record, *plan.feature_files(collection, extractor))


@cache
def import_features_keys(collection, extractor, shard):
    """Return the keys of a feature shard: first of the one that a job makes, then of others that serve as well."""
    token, images = feature_token(collection, extractor), images_keys(collection, shard)
    code = import_features.VERSION
    return [key_of("import_features", code=code, settings=extractor, reads=[key, token]) for key in images]


@cache
def import_features_key(collection, extractor, shard):
    features = plan.path("features", collection=collection, extractor=extractor, shard=shard)
    return key_of_shard(features, import_features_keys(collection, extractor, shard))


def fingerprint_inputs(wildcards):
    """Return the file as `ancient`: the job runs for a new file, and when the token changed."""
    files = given_inputs(plan.feature_files(**wildcards))
    return {name: map_paths(ancient, paths) for name, paths in files.items()}


rule fingerprint:
    input:
        unpack(fingerprint_inputs),
    output:
        # Kept when the job fails: it knows whether the file is unchanged.
        update(plan.pattern("feature_fingerprint")),
    log:
        log_file("fingerprint/{collection}/{extractor}"),
    benchmark:
        benchmark_file("fingerprint/{collection}/{extractor}")
    wildcard_constraints:
        collection=collections_from("features"),
    params:
        token=lambda w: feature_token(**w),
        paths=lambda w: plan.feature_files(**w),
    message:
        "Recording the feature file {wildcards.extractor} of {wildcards.collection}"
    script:
        "../workflow_scripts/fingerprint.py"


def import_features_inputs(wildcards):
    collection, extractor = wildcards.collection, wildcards.extractor
    return by_content(
        f"import_features/{collection}/{extractor}/{wildcards.shard}",
        {plan.path("features", **wildcards): import_features_key(**wildcards)},
        listing={
            **listing_inputs(collection),
            "fingerprint": plan.path("feature_fingerprint", collection=collection, extractor=extractor),
        },
        given=[plan.in_root(path) for path in plan.feature_files(collection, extractor)],
    )


rule import_features:
    input:
        unpack(import_features_inputs),
    output:
        features=plan.pattern("features"),
    log:
        log_file("import_features/{collection}/{extractor}/{shard}"),
    benchmark:
        benchmark_file("import_features/{collection}/{extractor}/{shard}")
    wildcard_constraints:
        collection=collections_from("features"),
    resources:
        mem_mb=4000,
        runtime="4h",
    params:
        key=lambda w: import_features_key(**w),
        # Functions of `input` too, so that Snakemake does not compare them: the key says all.
        made_key=lambda w, input: import_features_keys(**w)[0],
        # Which images are the database, the first extractor's file says; others must not say otherwise.
        are_all=lambda w, input: "features" in plan.listing(w.collection) and not plan.limit(w.collection),
        reads=lambda w, input: {manifest_of(w.collection): manifest_key(w.collection)},
    message:
        "Importing {wildcards.extractor} of {wildcards.collection} {wildcards.shard}"
    script:
        "../workflow_scripts/import_features.py"
