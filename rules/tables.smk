# Aggregate the queries' metrics into the CSV tables.


def keys_of_methods(kind, split):
    """Return the keys of the rank or metrics files of all methods on `split`, by path."""
    key = {"ranks": rank_key, "metrics": metrics_key}[kind]
    paths = plan.files_of_methods(kind, split)
    return {path: key(split, m.extractor, m.variant) for path, m in zip(paths, plan.methods, strict=True)}


def tables_reads():
    return {
        p: key
        for s in plan.config.splits
        for kind in ("metrics", "ranks")
        for p, key in keys_of_methods(kind, s).items()
    } | {left_out_of(c): manifest_key(c) for c in plan.collections}


@cache
def tables_key():
    """Return the key of all tables but `published`, which depends on the published numbers too."""
    config = plan.config
    settings = [
        [config.benchmark, config.splits, config.recall_ks, config.bootstrap.model_dump()],
        label_rows(),
        [[*pair, path] for pair, path in plan.missing_variants.items()],
        config.compared,
    ]
    return key_of("tables", code=code_of("tables"), settings=settings, reads=tables_reads().values())


@cache
def published_key():
    return key_of("published", code=code_of("tables"), settings=plan.published, reads=[tables_key()])


def tables_keys():
    """Return the keys of all tables, by path."""
    keys = dict.fromkeys([*plan.tables().values(), *plan.split_tables()], tables_key())
    return keys | {plan.path("table", table="published"): published_key()}


def tables_inputs(wildcards):
    published = plan.config.published_numbers
    return by_content(
        "tables",
        tables_keys(),
        metrics=plan.files_of_splits("metrics"),
        ranks=plan.files_of_splits("ranks"),
        left_out=[left_out_of(c) for c in plan.collections],
        published=[published] if published else [],
    )


rule tables:
    input:
        unpack(tables_inputs),
    output:
        **{
            name: in_snakemake_report(path, "Tables", f"tables/{name}", table=name)
            for name, path in plan.tables().items()
        },
        splits=[
            in_snakemake_report(p, "Tables", "tables/split", table=f"{Path(p).stem}.csv") for p in plan.split_tables()
        ],
    log:
        log_file("tables"),
    benchmark:
        benchmark_file("tables")
    resources:
        mem_mb=2000,
        runtime="1h",
    params:
        key=tables_key(),
        published_key=published_key(),
        reads=tables_reads(),
        benchmark=plan.config.benchmark,
        # One (split, extractor, variant) for each of input.metrics and input.ranks.
        methods=[[split, m.extractor, m.variant] for split in plan.config.splits for m in plan.methods],
        labels=label_rows(),
        missing_variants=[[*pair, path] for pair, path in plan.missing_variants.items()],
        compared=[list(pair) for pair in plan.config.compared],
        splits=plan.config.splits,
        recall_ks=plan.config.recall_ks,
        bootstrap=plan.config.bootstrap.model_dump(),
        published=[list(number) for number in plan.published],
    message:
        "Tables"
    script:
        "../workflow_scripts/tables.py"
