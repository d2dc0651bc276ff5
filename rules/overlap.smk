# Refuse images that a variant was tuned on and that a split evaluates too. Ranking by the variant waits for it.


def is_checked(split, variant):
    """Return whether the variant is tuned on other splits; of its own ones, the tables say that they were seen."""
    return variant in plan.tuned and split not in tuning_splits(variant)


def overlap_reads(split, extractor, variant):
    """Return the file that a ranking waits for, with its key; none where nothing is to be checked."""
    if not is_checked(split, variant):
        return {}
    names = {"split": split, "extractor": plan.config.compared_with(extractor), "variant": variant}
    return {plan.path("overlap", **names): overlap_key(**names)}


@cache
def overlap_key(split, extractor, variant):
    settings = [split, plan.config.tuning_splits(variant), plan.config.tune[variant].near_duplicates]
    reads = collection_reads([*tuning_splits(variant), split], extractor)
    return key_of("overlap", code=overlap.VERSION, settings=settings, reads=reads.values())


def overlap_inputs(wildcards):
    split, extractor, variant = wildcards.split, wildcards.extractor, wildcards.variant
    collections = [*tuning_splits(variant), split]
    outputs = {plan.path("overlap", **wildcards): overlap_key(**wildcards)}
    return by_content(f"overlap/{split}/{extractor}/{variant}", outputs, **collection_inputs(collections, extractor))


rule overlap:
    input:
        unpack(overlap_inputs),
    output:
        plan.pattern("overlap"),
    log:
        log_file("overlap/{split}/{extractor}/{variant}"),
    benchmark:
        benchmark_file("overlap/{split}/{extractor}/{variant}")
    wildcard_constraints:
        split=one_of(dict.fromkeys(split for split, method in plan.ranked if is_checked(split, method.variant))),
        extractor=one_of(plan.config.extractors),
        variant=one_of(plan.tuned),
    # Before the tuning, which may take hours for nothing.
    priority: 1
    resources:
        mem_mb=4000,
        runtime="2h",
    params:
        key=lambda w: overlap_key(**w),
        reads=lambda w: collection_reads([*tuning_splits(w.variant), w.split], w.extractor),
        # Functions of `input` too, so that Snakemake does not compare them: the key says all.
        splits=lambda w, input: files_of_tuning(**w),
        evaluated=lambda w, input: files_of_collection(w.split, w.extractor),
        near_duplicates=lambda w, input: plan.config.tune[w.variant].near_duplicates,
    message:
        "Comparing the images of {wildcards.split} with those that {wildcards.variant} is tuned on"
    script:
        "../workflow_scripts/overlap.py"
