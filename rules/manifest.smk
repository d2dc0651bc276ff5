# List a collection's images in one table, and record the content of the files that they come from.


localrules:
    manifest,


rule manifest:
    input:
        unpack(
            needs(
                "manifest",
                rendered=rendered_files,
                downloads=downloads_of(lambda w: plan.collection_paths(w.collection)),
            )
        ),
    output:
        manifest=plan.pattern("manifest"),
    log:
        log_file("manifest/{collection}"),
    benchmark:
        benchmark_file("manifest/{collection}")
    threads: 4
    params:
        key=job_key("manifest"),
        # No output: Snakemake would delete it when the job fails, and with it all knowledge of what is unchanged.
        record=lambda wildcards: plan.path("sources", collection=wildcards.collection),
        token=lambda wildcards: plan.source_token(wildcards.collection),
        given=lambda wildcards: plan.given(wildcards.collection),
        limit=lambda wildcards: plan.config.database_limit if wildcards.collection == plan.database else None,
    message:
        "Listing the images of {wildcards.collection}"
    script:
        "../workflow_scripts/manifest.py"
