# Rankings and relevance in TREC's formats: a target of its own, `snakemake -c1 trec`.


def trec_reads():
    return {path: key for split in plan.config.splits for path, key in keys_of_methods("ranks", split).items()}


@cache
def trec_key():
    settings = [plan.config.splits, [[m.extractor, m.variant] for m in plan.methods]]
    return key_of("trec", code=code_of("trec"), settings=settings, reads=trec_reads().values())


def trec_files():
    return [*(plan.path("qrels", split=split) for split in plan.config.splits), *plan.files_of_splits("run")]


rule trec:
    input:
        # Split by split, as the runs.
        unpack(
            lambda w: by_content("trec", dict.fromkeys(trec_files(), trec_key()), ranks=plan.files_of_splits("ranks"))
        ),
    output:
        qrels=[plan.path("qrels", split=split) for split in plan.config.splits],
        runs=plan.files_of_splits("run"),
    log:
        log_file("trec"),
    benchmark:
        benchmark_file("trec")
    resources:
        mem_mb=4000,
        runtime="2h",
    params:
        key=trec_key(),
        reads=trec_reads(),
        n_methods=len(plan.methods),
    message:
        "TREC runs and qrels"
    script:
        "../workflow_scripts/trec.py"
