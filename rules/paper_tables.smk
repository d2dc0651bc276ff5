# The tables of a paper, in LaTeX and Markdown: one for each metric.


def paper_tables_reads():
    """Return the keys of the tables, and of a rank file of each split, which says how large the database is."""
    tables = {plan.path("table", table=table): tables_key() for table in ("summary", "comparisons")}
    first = [keys_of_methods("ranks", split) for split in plan.config.splits]
    return tables | {path: keys[path] for keys in first for path in list(keys)[:1]}


@cache
def paper_tables_key():
    config = plan.config
    settings = [config.benchmark, config.bootstrap.confidence, plan.paper_metrics()]
    return key_of("paper_tables", code=code_of("paper_tables"), settings=settings, reads=paper_tables_reads().values())


def paper_tables_inputs(wildcards):
    return by_content(
        "paper_tables",
        dict.fromkeys(plan.paper_tables(), paper_tables_key()),
        # The same tables are made again when published numbers change.
        remade={table: plan.path("table", table=table) for table in ("summary", "comparisons")},
        ranks=[path for path in paper_tables_reads() if path.endswith(".h5")],
    )


def paper_tables_in_report(ending):
    paths = plan.paper_tables(ending)
    return [in_snakemake_report(p, "Tables of a paper", "tables/paper", table=os.path.basename(p)) for p in paths]


rule paper_tables:
    input:
        unpack(paper_tables_inputs),
    output:
        latex=paper_tables_in_report(".tex"),
        markdown=paper_tables_in_report(".md"),
    log:
        log_file("paper_tables"),
    benchmark:
        benchmark_file("paper_tables")
    resources:
        mem_mb=2000,
        runtime="1h",
    params:
        key=paper_tables_key(),
        reads=paper_tables_reads(),
        benchmark=plan.config.benchmark,
        confidence=plan.config.bootstrap.confidence,
        metrics=plan.paper_metrics(),
    message:
        "Tables of a paper"
    script:
        "../workflow_scripts/paper_tables.py"
