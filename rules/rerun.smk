# What runs again, and what is refused.
#
# Each job's `key` param is a digest of its code, the settings that it uses, and the keys of all that it reads; it is computed
# beside its rule. A job runs when its key changed (profiles/default), or when a file that is needed is missing. Code counts
# by a digest of the script's modules; for slow stages, and for stages that they depend on, by a number that is raised when
# results change (`VERSION`).
#
# Files carry their key. The param `reads` tells a job the keys of the files that it reads, and it refuses a file with another.
#
# Snakemake also runs a job whose input is newer than its outputs or its benchmark file, whatever the profile says. But only
# keys tell whether an input's content changed. So if all outputs of a job carry its current key, its newer inputs are marked
# as `ancient`. Otherwise none is, because the job has to run after those that make its inputs.


def code_of(script):
    """Return the digest of a script and the modules that it uses: the code's part in the keys of cheap stages."""
    return code_digest(SCRIPTS / f"{script}.py")


def by_content(job, outputs, remade=None, listing=None, **files):
    """Return the inputs of a `job`, for `unpack`: time stamps alone never make it run.

    outputs: the files that it makes, with their keys. remade: inputs that may be made anew with the same content, by a forced
    job, say, which then does not make this one run. listing: the same for what a new results folder lacks, though its shared
    features are there. files: all other inputs, by name.
    """
    remade, listing = remade or {}, listing or {}
    if not all(is_current(path, key) for path, key in outputs.items()):
        return remade | listing | files
    times = [os.path.getmtime(path) for path in [*outputs, benchmark_file(job)] if os.path.exists(path)]

    def marked(path):
        # Snakemake judges by itself when a folder changed.
        is_newer = os.path.isdir(path) or (os.path.exists(path) and os.path.getmtime(path) > min(times))
        return ancient(path) if is_newer else path

    remade |= only_there(listing)
    return {name: map_paths(ancient, paths) for name, paths in remade.items()} | {
        name: map_paths(marked, paths) for name, paths in files.items()
    }


def only_there(files):
    """Return those of `files` (path by name) that exist. A missing input makes a job run, even one marked as `ancient`."""
    return {name: path for name, path in files.items() if os.path.exists(path)}


def map_paths(mark, paths):
    """Return `mark` of a path, or of each of a list."""
    return [mark(path) for path in paths] if isinstance(paths, list) else mark(paths)


def expected_keys():
    """Return every file that the rules can make, with the key that it should carry."""
    made = {path: key for c in plan.collections for path, key in manifest_keys(c).items()}
    if plan.rendered:
        made |= dict.fromkeys([*plan.sample_files(), *plan.sample_folders()], sample_key())
    for collection in plan.collections:
        if plan.extractors_of(collection, "images"):
            shards = {plan.path("pixels", collection=collection, shard=s): s for s in plan.shards(collection)}
            made |= {path: decode_key(collection, shard) for path, shard in shards.items()}
        for extractor in plan.extractors_for(collection):
            made |= features_keys(collection, extractor)
    for method in plan.tuned_methods:
        made |= dict.fromkeys(tune_files(*method), tune_key(*method))
    for method in plan.influence_methods:
        if not plan.calibrator_file(*method):
            made |= dict.fromkeys(calibrate_files(*method), calibrate_key(*method))
    for split, method in plan.ranked:
        made |= overlap_reads(split, *method)
        if method in plan.influence_methods:
            made |= dict.fromkeys(rank_files(split, *method), rank_key(split, *method))
    for split in plan.config.splits:
        made |= influence_keys(split)
        if plan.influence_methods:
            made |= dict.fromkeys(plan.figure_files("influence_plots", split), influence_plots_key(split))
        made |= keys_of_methods("ranks", split) | keys_of_methods("metrics", split)
        made |= dict.fromkeys(plan.figure_files("plots", split), plots_key(split))
        made |= dict.fromkeys(plan.figure_files("contact", split), contact_key(split))
        made |= gallery_split_keys(split)
    made |= dict.fromkeys(plan.gallery_page(), gallery_key())
    made |= dict.fromkeys(plan.tuning_figure(), tuning_figure_key())
    if plan.influence_methods:
        made |= dict.fromkeys(plan.influence_tables(), influence_table_key())
    made |= dict.fromkeys(plan.paper_tables(), paper_tables_key()) | {plan.path("report"): report_key()}
    return made | tables_keys() | dict.fromkeys(trec_files(), trec_key())


def check_results():
    """Refuse results that carry another key and were made elsewhere, since Snakemake would keep them; plan downloads.

    Of files made here, Snakemake has recorded the key; it makes them again when the key changes.
    """
    if IS_JOB:
        return
    expected = expected_keys()
    runs = {*trec_files()}  # one may have no query
    refuse_emptied_files([path for path in expected if path not in runs])
    foreign = [
        p for p, key in expected.items() if os.path.exists(p) and not is_current(p, key) and not was_made_here(p)
    ]
    if foreign:
        shown = "".join(f"\n  {path} (key {carried_key(path) or 'none'})" for path in foreign[:10])
        rest = f"\n  … and {len(foreign) - 10} more" if len(foreign) > 10 else ""
        refuse(
            f"{len(foreign)} file(s) were made with other settings, other data or another version, and this folder has no "
            f"record of how:{shown}{rest}\nexpected files that were made here, or with this run's settings; remove them to "
            f"make them anew, or choose another `results` folder: rm -r {' '.join(foreign[:500])}"
        )
    refuse_to_replace_shared_features()
    read = given_to_read()
    refuse_future_files(read)
    without_traceback(refuse_unfit_images)
    without_traceback(lambda: plan.plan_downloads(read))
    atexit.register(show_downloads_of_dry_run)


def refuse_emptied_files(paths):
    """Refuse products without a byte, which Snakemake takes for whole ones."""
    emptied = [path for path in paths if os.path.isfile(path) and not os.path.getsize(path)]
    if emptied:
        refuse(
            f"{len(emptied)} file(s) are empty, such as {emptied[0]}, as a cut copy leaves them; remove them to make them anew: "
            f"rm {shlex.join(emptied[:500])}"
        )


def refuse_future_files(read):
    """Refuse given files of the future: those to `read`, and those with prompts that are drawn.

    After a job that reads one, Snakemake takes its output for outdated and fails.
    """
    prompts = []  # that are read for contact sheets and the gallery
    for split in plan.config.splits:
        drawn = dict.fromkeys(plan.figure_files("contact", split), contact_key(split)) | gallery_split_keys(split)
        if not all(is_current(path, key) for path, key in drawn.items()):
            prompts.append(plan.config.entry.splits[split])
    paths = [plan.in_root(path) for path in dict.fromkeys([*read, *prompts])]
    # Of a link, Snakemake looks at its own stamp.
    future = [path for path in paths if os.path.exists(path) and os.lstat(path).st_mtime > time.time()]
    if future:
        when = datetime.fromtimestamp(os.lstat(future[0]).st_mtime)
        refuse(
            f"{future[0]}: its time stamp lies in the future ({when:%Y-%m-%d %H:%M}), as it can after a copy from another time "
            f"zone; expected one of the past: touch -h {shlex.join(future)}"
        )


def refuse_to_replace_shared_features():
    """Refuse to make features anew in a folder that other results may stand on."""
    if plan.config.features == own_features(plan.config.results):
        return
    pairs = [
        (collection, extractor) for collection in plan.collections for extractor in plan.extractors_for(collection)
    ]
    keys = {path: key for pair in pairs for path, key in features_keys(*pair).items()}
    others = [path for path, key in keys.items() if os.path.exists(path) and not is_current(path, key)]
    if others:
        refuse(
            f"config key features: {plan.config.features} holds {len(others)} file(s) made with other settings or of other "
            f"images, such as {others[0]}, on which other results may stand; expected another folder, such as this run's own "
            f"(features: null); or run those results first, or remove the files: rm {' '.join(others[:500])}"
        )


def refuse_unfit_images():
    """Refuse features in which images are invalid that stop this run, or that another `max_pixels` left out."""
    invalid = [*invalid_rows()]
    if plan.config.invalid_images == "fail" and invalid:
        raise unreadable([*{image: reason for _, image, reason in invalid}.items()])
    outdated = {path: row for path, *row in invalid if is_over_another_limit(row[1], plan.config.max_pixels)}
    if outdated:
        image, reason = next(iter(outdated.values()))
        raise InputError(
            f"{len(outdated)} file(s) of features leave out images by another max_pixels, such as {image} ({reason}); remove "
            f"them to make them anew: rm {' '.join(outdated)}"
        )


def invalid_rows():
    """Yield the invalid images of all features that are current: path of the features, of the image, reason."""
    for collection in plan.collections:
        for extractor in plan.extractors_of(collection, "images"):
            for shard in plan.shards(collection):
                path = plan.path("features", collection=collection, extractor=extractor, shard=shard)
                if is_current(path, features_key(collection, extractor, shard)):
                    for image, reason in invalid_images(path, plan.n_taken(collection, shard)):
                        yield path, plan.in_root(image), reason
