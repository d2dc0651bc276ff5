# Fetch the given files that the root does not have: a rule for each source that has brought, or is to bring, some of them.
# Networks that timm, open_clip or the hub publish are such sources, and only their download asks a server for them.


def given_to_read():
    """Return the given files, below the root, that are read by jobs whose outputs are not current."""
    paths = []
    for collection in plan.collections:
        if not is_current(manifest_of(collection), manifest_key(collection)):
            paths += plan.collection_paths(collection)
    for split, method in plan.ranked:
        if is_current(plan.path("ranks", split=split, **method._asdict()), rank_key(split, *method)):
            continue
        if method.variant == SCORES:
            paths.append(plan.score_file(split, method.extractor))
            continue
        mapper = plan.mapper_file(*method)
        paths += [mapper] if mapper else []
        paths += features_to_read(split, method.extractor) + features_to_read(plan.database, method.extractor)
    for split in plan.config.splits:
        for method in plan.influence_methods:
            path = plan.path("influence", split=split, **method._asdict())
            if not is_current(path, influence_key(split, *method)):
                paths += filter(None, [plan.calibrator_file(*method)])
    for method in plan.tuned_methods:
        if not is_current(plan.path("checkpoint", **method._asdict()), tune_key(*method)):
            for collection in (*tuning_splits(method.variant), plan.database):
                paths += features_to_read(collection, method.extractor)
    return list(dict.fromkeys(paths))


@cache
def features_to_read(collection, extractor):
    """Return the given files that make the collection's feature shards; none if all are current."""
    if all(is_current(path, key) for path, key in features_keys(collection, extractor).items()):
        return []
    if extractor in plan.extractors_of(collection, "features"):
        return plan.feature_files(collection, extractor)
    return plan.collection_paths(collection) + plan.weights_paths(extractor)


def show_downloads_of_dry_run():
    """Print the table of what is to be fetched. At the exit: Snakemake has no hook after the list of jobs of a dry run."""
    if workflow.dryrun and plan.budget.table:
        print(f"\n{plan.budget.table}", file=sys.stderr)


def download_outputs(source):
    """Return the given files and folders that the job of `source` makes.

    A path that exists is not an output, because Snakemake would remove or copy it before the job. Nor is an empty
    folder: it may be a link to another disk.
    """
    missing = [
        path for path in plan.downloads.missing(source, plan.given_paths) if not os.path.lexists(plan.in_root(path))
    ]
    return [directory(plan.in_root(path)) if path in plan.given_folders else plan.in_root(path) for path in missing]


def wanted_from(source):
    """Return the param `wanted` of the job of `source`. As it takes `output`, its changes do not run the job again."""
    missing = plan.downloads.missing(source, plan.given_paths)
    return lambda wildcards, output: missing


rule download:
    input:
        # Of a target without inputs, Snakemake does not say that there is nothing to be done.
        [plan.in_root(path) for path in plan.given_paths if plan.downloads.source_of(path)]
        + [plan.downloads.record_path(source) for source in plan.downloads.sources_of(plan.given_paths)]
        or workflow.main_snakefile,


localrules:
    download,


# Of each hook, Snakemake keeps one.
onsuccess:
    locks.forget_run()
    plan.downloads.note_touched()
    announce_left_out()
    announce_letters_without_font()


onerror:
    locks.forget_run()
    plan.downloads.note_touched()


def sources_with_rules():
    """Return the sources that have brought, or are to bring, given files; what is rendered is not downloaded too."""
    sources = plan.downloads.sources_of(plan.given_paths) if plan.downloads.are_allowed else []
    return [source for source in sources if not plan.rendered or plan.downloads.table[source].kind == "network"]


def rule_of_source(source):
    """Return the name of the source's rule: a name of Python's, and another one for each source."""
    names = {other: re.sub("[^A-Za-z0-9_]", "_", other) for other in plan.downloads.table}
    is_shared = list(names.values()).count(names[source]) > 1 and names[source] != source
    return f"download_{names[source]}" + (f"_{digest(source)[:6]}" if is_shared else "")


for source in sources_with_rules():

    rule:
        name:
            rule_of_source(source)
        output:
            # What else the source provides is brought too, for a later config.
            given=download_outputs(source),
            record=update(plan.downloads.record_path(source)),
        log:
            log_file(f"download/{source}"),
        benchmark:
            benchmark_file(f"download/{source}")
        localrule: True
        resources:
            downloads=1,
            mem_mb=4000,
            runtime="5d",
        params:
            source=source,
            # Chosen before the download, and recorded by it: nothing that may change with the config.
            token=plan.downloads.token(source),
            wanted=wanted_from(source),
        message:
            f"Downloading {source} ({plan.downloads.described(source)})"
        script:
            "../workflow_scripts/download.py"
