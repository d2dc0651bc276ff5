# Rank every exemplar exactly, and keep each query's nearest neighbours: a job for each split, extractor and variant. With
# `influence: true`, also how scores are distributed, on the splits that calibrate influence too.


def features_key(collection, extractor, shard):
    """Return the key of a feature shard, wherever it comes from."""
    key = extract_key if extractor in plan.extractors_of(collection, "images") else import_features_key
    return key(collection, extractor, shard)


@cache
def features_keys(collection, extractor):
    """Return the keys of a collection's feature shards, by path."""
    shards = zip(plan.features(collection, extractor), plan.shards(collection), strict=True)
    return {path: features_key(collection, extractor, shard) for path, shard in shards}


def rank_reads(split, extractor, variant):
    return (
        {manifest_of(c): manifest_key(c) for c in (split, plan.database)}
        | features_keys(split, extractor)
        | features_keys(plan.database, extractor)
        | tuned_reads(extractor, variant)
    )


@cache
def rank_key(split, extractor, variant):
    """Return the key of a rank file, of either rule that makes one."""
    if variant == SCORES:
        return rank_scores_key(split, extractor)
    settings = [extractor, variant, plan.rank_options(), *(["histogram"] if plan.config.influence else [])]
    # Not those of `overlap`, which may forbid a ranking but changes none.
    reads = [*rank_reads(split, extractor, variant).values(), plan.mapper_token(extractor, variant)]
    return key_of("rank", code=rank.VERSION, settings=settings, reads=reads)


def rank_files(split, extractor, variant):
    """Return the files that a job of `rank` makes: the rank file, and the score histograms if influence is wanted."""
    kinds = ["ranks", *(["histogram"] if plan.config.influence else [])]
    return [plan.path(kind, split=split, extractor=extractor, variant=variant) for kind in kinds]


def rank_inputs(wildcards):
    split, extractor, variant = wildcards.split, wildcards.extractor, wildcards.variant
    mapper = plan.mapper_file(extractor, variant)
    return by_content(
        f"rank/{split}/{extractor}/{variant}",
        dict.fromkeys(rank_files(**wildcards), rank_key(**wildcards)),
        # The database's says how many of its images are ranked.
        remade={
            "manifest": manifest_of(split),
            "database_manifest": manifest_of(plan.database),
            "overlap": list(overlap_reads(split, extractor, variant)),
        },
        split=plan.features(split, extractor),
        database=plan.features(plan.database, extractor),
        tuned=list(tuned_reads(extractor, variant)),
        **given_inputs([mapper] if mapper else []),
    )


rule rank:
    input:
        unpack(rank_inputs),
    output:
        **({"histogram": plan.pattern("histogram")} if plan.config.influence else {}),
        ranks=plan.pattern("ranks"),
    log:
        log_file("rank/{split}/{extractor}/{variant}"),
    benchmark:
        benchmark_file("rank/{split}/{extractor}/{variant}")
    wildcard_constraints:
        split=one_of({split for split, _ in plan.ranked}),
        extractor=one_of(plan.config.extractors),
        variant=one_of(plan.config.variants),
    threads: THREADS
    resources:
        mem_mb=6000,
        runtime="8h",
        # Only with `device: cuda`: otherwise the processor can rank, and the job need not wait for such a node.
        gpu=1 if plan.config.device == "cuda" and not plan.config.influence else 0,
    params:
        key=lambda w: rank_key(**w),
        reads=lambda w: rank_reads(**w) | overlap_reads(**w),
        options=plan.rank_options(),
        database=plan.database,
        # A function of `input` too, so that Snakemake does not compare it: the key says all.
        mapper_of=lambda w, input: plan.config.compared_with(w.extractor),
    message:
        "Ranking {wildcards.split} by {wildcards.extractor} {wildcards.variant}"
    script:
        "../workflow_scripts/rank.py"
