# Aggregate the queries' metrics into the CSV tables.


rule tables:
    input:
        unpack(needs("tables", metrics=lambda wildcards: all_files("metrics"), ranks=all_ranks)),
    output:
        **{table: plan.path("table", table=table) for table in TABLES},
        splits=[plan.path("split_table", split=split) for split in plan.config.splits],
    log:
        log_file("tables"),
    benchmark:
        benchmark_file("tables")
    resources:
        mem_mb=2000,
        runtime="1h",
    params:
        key=job_key("tables"),
        benchmark=plan.config.benchmark,
        # One (split, extractor, variant) for each of params.ranks and input.metrics.
        methods=[[split, m.extractor, m.variant] for split in plan.config.splits for m in plan.methods],
        ranks=all_files("ranks"),
        missing_variants=[[*about, path] for about, path in plan.missing_variants.items()],
        compared=[list(about) for about in plan.config.compared],
        splits=plan.config.splits,
        recall_ks=plan.config.recall_ks,
        bootstrap=plan.config.bootstrap.model_dump(),
        published=[list(number) for number in plan.published],
    message:
        "Tables"
    script:
        "../workflow_scripts/tables.py"
