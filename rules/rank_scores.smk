# The same as `rank` for a method that gives scores and no features.


def score_token(split, extractor):
    record = plan.path("score_fingerprint", split=split, extractor=extractor)
    return plan.files_token(record, plan.score_file(split, extractor))


def rank_scores_reads(split):
    return {manifest_of(c): manifest_key(c) for c in (split, plan.database)}


@cache
def rank_scores_key(split, extractor):
    return key_of(
        "rank_scores",
        code=rank.SCORES_VERSION,
        settings=[extractor, plan.rank_options()],
        reads=[*rank_scores_reads(split).values(), score_token(split, extractor)],
    )


def rank_scores_inputs(wildcards):
    split, extractor = wildcards.split, wildcards.extractor
    return by_content(
        f"rank_scores/{split}/{extractor}",
        {plan.path("ranks", split=split, extractor=extractor, variant=SCORES): rank_scores_key(split, extractor)},
        remade={"manifest": manifest_of(split), "database_manifest": manifest_of(plan.database)},
        **given_inputs([plan.score_file(split, extractor)]),
    )


rule rank_scores:
    input:
        unpack(rank_scores_inputs),
    output:
        ranks=plan.pattern("ranks").replace("{variant}", SCORES),
        # Kept when the job fails: it knows whether the file is unchanged.
        fingerprint=update(plan.pattern("score_fingerprint")),
    log:
        log_file("rank_scores/{split}/{extractor}"),
    benchmark:
        benchmark_file("rank_scores/{split}/{extractor}")
    wildcard_constraints:
        extractor=one_of(plan.config.score_methods),
    threads: 8
    resources:
        mem_mb=6000,
        runtime="8h",
    params:
        key=lambda w: rank_scores_key(w.split, w.extractor),
        reads=lambda w: rank_scores_reads(w.split),
        token=lambda w: score_token(w.split, w.extractor),
        path=lambda w: plan.score_file(w.split, w.extractor),
        options=plan.rank_options(),
        database=plan.database,
    message:
        "Ranking {wildcards.split} by the scores of {wildcards.extractor}"
    script:
        "../workflow_scripts/rank_scores.py"
