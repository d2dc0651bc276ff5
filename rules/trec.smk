# Rankings and relevance in TREC's formats: a target of its own, `snakemake -c1 trec`.


rule trec:
    input:
        unpack(needs("trec", ranks=all_ranks)),
    output:
        qrels=[plan.path("qrels", split=split) for split in plan.config.splits],
        # Split by split, in the order of params.ranks.
        runs=all_files("run"),
    log:
        log_file("trec"),
    benchmark:
        benchmark_file("trec")
    resources:
        mem_mb=4000,
        runtime="2h",
    params:
        key=job_key("trec"),
        ranks=all_files("ranks"),
        n_methods=len(plan.methods),
    message:
        "TREC runs and qrels"
    script:
        "../workflow_scripts/trec.py"
