# Contact sheets of a split: queries, their nearest neighbours, exemplars framed. SPLIT_contact shows the first method,
# SPLIT_comparison all of them on a few queries.


rule contact:
    input:
        unpack(needs("contact", ranks=split_ranks)),
    output:
        figure_files("contact"),
    log:
        log_file("contact/{split}"),
    benchmark:
        benchmark_file("contact/{split}")
    resources:
        mem_mb=2000,
        runtime="1h",
    params:
        key=job_key("contact"),
        ranks=lambda wildcards: method_files("ranks", wildcards.split),
        size=plan.config.contact_sheet.model_dump(),
    message:
        "Contact sheet of {wildcards.split}"
    script:
        "../workflow_scripts/contact.py"
