# One page about the run: the answer, tables, figures, queries, and how it was made.
#
# What only tells how and where the results were made is read as the job finds it, is no input, and is in no key: run times
# (`benchmark:` files), sizes of folders, records of given files, the commit, the config, versions, the machine. So another
# machine, a touched file or a setting that changes no result leaves the page as it is, with the provenance of the run that
# made it; whatever changes a result changes a key that the page's key holds.


REPORT_TABLES = ("summary", "comparisons", "published", "near_duplicates")


def report_figures():
    """Return split (empty: of the whole run), name, and path without ending of each figure."""
    figures = [
        [s, f, plan.path("figure", split=s, figure=f)]
        for s in plan.config.splits
        for r in FIGURES
        for f in plan.figures(r)
    ]
    stems = dict.fromkeys(os.path.splitext(path)[0] for path in plan.tuning_figure())
    return figures + [["", os.path.basename(stem), stem] for stem in stems]


def report_figure_keys():
    """Return the keys of the figures' files, by path."""
    of_rule = {"plots": plots_key, "contact": contact_key, "influence_plots": influence_plots_key}
    keys = {p: of_rule[r](s) for s in plan.config.splits for r in FIGURES for p in plan.figure_files(r, s)}
    return keys | dict.fromkeys(plan.tuning_figure(), tuning_figure_key())


def report_tables():
    """Return the paths of the tables that the page has beside that of influence, by name."""
    return {name: plan.path("table", table=name) for name in REPORT_TABLES}


def report_reads():
    tables = {path: tables_keys()[path] for path in report_tables().values()}
    manifests = {manifest_of(c): manifest_key(c) for c in (*plan.config.splits, plan.database)}
    ranks = {path: key for split in plan.config.splits for path, key in keys_of_methods("ranks", split).items()}
    influence = dict.fromkeys(plan.influence_tables(), influence_table_key()) if plan.influence_methods else {}
    return tables | influence | report_figure_keys() | ranks | manifests


@cache
def report_key():
    config = plan.config
    code = [code_of("report"), *map(sha256_file, TEMPLATES)]
    settings = [config.benchmark, plan.rendered, config.bootstrap.confidence, config.bootstrap.samples, config.exif]
    settings += [label_rows(), described_methods(plan), described_extractors(plan)]
    return key_of("report", code=digest(code), settings=settings, reads=report_reads().values())


def report_inputs(wildcards):
    return by_content(
        "report",
        {plan.path("report"): report_key()},
        # They stand for the images that are shown.
        remade={"manifests": [manifest_of(c) for c in (*plan.config.splits, plan.database)]},
        **report_tables(),
        influence=plan.influence_tables(),
        figures=list(report_figure_keys()),
        ranks=plan.files_of_splits("ranks"),
    )


rule report:
    input:
        unpack(report_inputs),
    output:
        in_snakemake_report(plan.path("report"), "Report", "report", page="report"),
    log:
        log_file("report"),
    benchmark:
        benchmark_file("report")
    resources:
        mem_mb=4000,
        runtime="1h",
    params:
        key=report_key(),
        reads=report_reads(),
        benchmark=plan.config.benchmark,
        rendered=plan.rendered,
        confidence=plan.config.bootstrap.confidence,
        samples=plan.config.bootstrap.samples,
        sheet=plan.labels[SHEET_METHOD],
        labels=label_rows(),
        methods=described_methods(plan),
        # With a file that tells the dimension.
        extractors=[[*row, plan.features(plan.database, row[0])[0]] for row in described_extractors(plan)],
        tuned={variant: plan.config.tuning_splits(variant)[0] for variant in plan.tuned},
        collections=described_collections(plan),
        # Split, extractor, variant and path of each rank file.
        ranks=[[s, *m, plan.path("ranks", split=s, **m._asdict())] for s in plan.config.splits for m in plan.methods],
        figures=report_figures(),
    message:
        "Report"
    script:
        "../workflow_scripts/report.py"
