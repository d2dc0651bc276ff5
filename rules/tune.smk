# Learn the mappers of an extractor and a variant of the config's `tune`, from the features of training splits.


def tuning_splits(variant):
    """Return the training splits and the val splits of a variant."""
    train, val = plan.config.tuning_splits(variant)
    return [*train, *val]


def collection_reads(collections, extractor):
    """Return the keys of manifests and of an extractor's feature shards, by path."""
    reads = {manifest_of(c): manifest_key(c) for c in collections}
    return reads | {path: key for c in collections for path, key in features_keys(c, extractor).items()}


def collection_inputs(collections, extractor):
    """Return what `by_content` takes of the files of collections: manifests and records may be made anew."""
    return {
        "remade": {
            "manifests": [manifest_of(c) for c in collections],
            "records": [plan.path("fingerprints", collection=c) for c in collections],
        },
        "features": [path for c in collections for path in plan.features(c, extractor)],
    }


def files_of_collection(collection, extractor=None):
    """Return what `formats.features.CollectionFiles` takes; without an extractor, without features."""
    return {
        "collection": collection,
        "manifest": manifest_of(collection),
        "record": plan.path("fingerprints", collection=collection),
        "shards": plan.features(collection, extractor) if extractor else [],
    }


def files_of_tuning(extractor, variant, **_):
    """Return the files of a variant's training splits, and of its val splits."""
    return [[files_of_collection(c, extractor) for c in splits] for splits in plan.config.tuning_splits(variant)]


def tune_reads(extractor, variant):
    return collection_reads([*tuning_splits(variant), plan.database], extractor)


@cache
def tune_key(extractor, variant):
    config = plan.config
    settings = [config.benchmark, extractor, config.tuning_splits(variant), config.tune[variant].decisive()]
    return key_of("tune", code=tune.VERSION, settings=settings, reads=tune_reads(extractor, variant).values())


def tune_files(extractor, variant):
    """Return the files of the mappers that are tuned."""
    kinds = ("checkpoint", "safetensors", "learning_curve")
    return [plan.path(kind, extractor=extractor, variant=variant) for kind in kinds]


def tuned_reads(extractor, variant):
    """Return the checkpoint that a method takes, with its key; none if the variant is not tuned."""
    if variant not in plan.tuned:
        return {}
    names = {"extractor": plan.config.compared_with(extractor), "variant": variant}
    return {plan.path("checkpoint", **names): tune_key(**names)}


def tune_inputs(wildcards):
    extractor, variant = wildcards.extractor, wildcards.variant
    outputs = dict.fromkeys(tune_files(extractor, variant), tune_key(extractor, variant))
    collections = [*tuning_splits(variant), plan.database]
    return by_content(f"tune/{extractor}/{variant}", outputs, **collection_inputs(collections, extractor))


rule tune:
    input:
        unpack(tune_inputs),
    output:
        checkpoint=plan.pattern("checkpoint"),
        safetensors=plan.pattern("safetensors"),
        curve=plan.pattern("learning_curve"),
    log:
        log_file("tune/{extractor}/{variant}"),
    benchmark:
        benchmark_file("tune/{extractor}/{variant}")
    wildcard_constraints:
        extractor=one_of(plan.config.extractors),
        variant=one_of(plan.tuned),
    threads: lambda w: plan.config.tune[w.variant].threads
    resources:
        mem_mb=8000,
        runtime="8h",
        # Only with `device: cuda`: otherwise the processor can train, and the job need not wait for such a node.
        gpu=1 if plan.config.device == "cuda" else 0,
    params:
        key=lambda w: tune_key(**w),
        reads=lambda w: tune_reads(**w),
        # Functions of `input` too, so that Snakemake does not compare them: the key says all.
        splits=lambda w, input: files_of_tuning(**w),
        database=lambda w, input: files_of_collection(plan.database, w.extractor),
        training=lambda w, input: plan.config.training(w.variant),
    message:
        "Tuning {wildcards.variant} of {wildcards.extractor}"
    script:
        "../workflow_scripts/tune.py"
