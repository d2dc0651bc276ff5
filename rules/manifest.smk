# List a collection's images in one table, and record the content of the files that they come from.


localrules:
    manifest,


rule manifest:
    input:
        unpack(needs("manifest", rendered=rendered_files)),
    output:
        manifest=plan.pattern("manifest"),
        sources=plan.pattern("sources"),
    log:
        log_file("manifest/{collection}"),
    benchmark:
        benchmark_file("manifest/{collection}")
    threads: 4
    params:
        key=job_key("manifest"),
        token=lambda wildcards: plan.source_token(wildcards.collection),
        given=lambda wildcards: plan.given(wildcards.collection),
        limit=lambda wildcards: plan.config.database_limit if wildcards.collection == plan.database else None,
    message:
        "Listing the images of {wildcards.collection}"
    script:
        "../workflow_scripts/manifest.py"
