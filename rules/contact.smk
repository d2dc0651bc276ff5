# Contact sheets of a split: queries, their nearest neighbours, exemplars framed. SPLIT_contact shows one method,
# SPLIT_comparison all of them on a few queries.

SHEET_METHOD = without_traceback(lambda: method_of_sheet(plan.config, plan.methods))
# By jobs too: the split files may have been missing when the run started.
without_traceback(lambda: refuse_unknown_queries(plan.config))


def contact_reads(split):
    manifests = {manifest_of(c): manifest_key(c) for c in (split, plan.database)}
    return keys_of_methods("ranks", split) | manifests


@cache
def contact_key(split):
    sheet = plan.config.contact_sheet.model_dump(exclude={"method"})
    settings = [split, sheet, [*SHEET_METHOD], plan.config.exif, figure_params(), label_rows()]
    return key_of("contact", code=code_of("contact"), settings=settings, reads=contact_reads(split).values())


def contact_inputs(wildcards):
    split = wildcards.split
    return by_content(
        f"contact/{split}",
        dict.fromkeys(plan.figure_files("contact", split), contact_key(split)),
        # They stand for the images that are shown.
        remade={"manifests": [manifest_of(split), manifest_of(plan.database)]},
        ranks=plan.files_of_methods("ranks", split),
        # Has the prompts, if any; its content is in the manifest's key.
        **given_inputs([plan.config.entry.splits[split]]),
    )


rule contact:
    input:
        unpack(contact_inputs),
    output:
        figures_in_snakemake_report(plan.figure_files("contact", "{split}")),
    log:
        log_file("contact/{split}"),
    benchmark:
        benchmark_file("contact/{split}")
    resources:
        mem_mb=2000,
        runtime="1h",
    params:
        key=lambda w: contact_key(w.split),
        reads=lambda w: contact_reads(w.split),
        sheet=plan.config.contact_sheet.model_dump(exclude={"method"}),
        method=[*SHEET_METHOD],
        plots=figure_params(),
        labels=label_rows(),
    message:
        "Contact sheet of {wildcards.split}"
    script:
        "../workflow_scripts/contact.py"
