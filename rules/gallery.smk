# The gallery: a page to be opened from disk, that shows queries and what two methods rank nearest to each. A job for each
# split makes its data and thumbnails, then one the page.


def gallery_split_reads(split):
    manifests = {manifest_of(c): manifest_key(c) for c in (split, plan.database)}
    return keys_of_methods("ranks", split) | influence_keys(split) | manifests


@cache
def gallery_split_key(split):
    settings = [split, plan.config.gallery.model_dump(), plan.config.exif, label_rows()]
    reads = gallery_split_reads(split).values()
    return key_of("gallery_split", code=code_of("gallery_split"), settings=settings, reads=reads)


def gallery_split_keys(split):
    """Return the file and the folder that the job of `split` makes, with their key."""
    files = [plan.path(kind, split=split) for kind in ("gallery_data", "gallery_thumbnails")]
    return dict.fromkeys(files, gallery_split_key(split))


def gallery_split_inputs(wildcards):
    split = wildcards.split
    return by_content(
        f"gallery_split/{split}",
        gallery_split_keys(split),
        # They stand for the images that are shown.
        remade={"manifests": [manifest_of(split), manifest_of(plan.database)]},
        ranks=plan.files_of_methods("ranks", split),
        influence=list(influence_keys(split)),
        # Has the prompts, if any; its content is in the manifest's key.
        **given_inputs([plan.config.entry.splits[split]]),
    )


rule gallery_split:
    input:
        unpack(gallery_split_inputs),
    output:
        data=plan.pattern("gallery_data"),
        thumbnails=directory(plan.pattern("gallery_thumbnails")),
    log:
        log_file("gallery_split/{split}"),
    benchmark:
        benchmark_file("gallery_split/{split}")
    threads: THREADS
    resources:
        mem_mb=4000,
        runtime="4h",
    params:
        key=lambda w: gallery_split_key(w.split),
        reads=lambda w: gallery_split_reads(w.split),
        size=plan.config.gallery.model_dump(),
        labels=label_rows(),
        with_influence=[list(method) for method in plan.influence_methods],
    message:
        "Gallery of {wildcards.split}"
    script:
        "../workflow_scripts/gallery_split.py"


def gallery_reads():
    return {plan.path("gallery_data", split=split): gallery_split_key(split) for split in plan.config.splits}


@cache
def gallery_key():
    # The code's digest has the modules of Python alone.
    settings = [plan.config.benchmark, plan.config.splits, page_texts()]
    return key_of("gallery", code=code_of("gallery"), settings=settings, reads=gallery_reads().values())


rule gallery:
    input:
        unpack(
            lambda w: by_content(
                "gallery", dict.fromkeys(plan.gallery_page(), gallery_key()), data=list(gallery_reads())
            )
        ),
    output:
        plan.gallery_page(),
    log:
        log_file("gallery"),
    benchmark:
        benchmark_file("gallery")
    resources:
        mem_mb=2000,
        runtime="1h",
    params:
        key=gallery_key(),
        reads=gallery_reads(),
        benchmark=plan.config.benchmark,
    message:
        "Page of the gallery"
    script:
        "../workflow_scripts/gallery.py"
