# Fetch the given files that the root does not have. A job that is to run and reads such files asks for the marker of the
# source that provides them (`downloads_of`); a file that is there asks for nothing.


localrules:
    download,
    download_source,


rule download:
    input:
        # Of a target without inputs, Snakemake does not say that there is nothing to be done.
        plan.downloads_for(plan.given_paths) or workflow.main_snakefile,


rule download_source:
    input:
        announced_download,
    output:
        plan.download_marker("{source}"),
    log:
        log_file("download/{source}"),
    benchmark:
        benchmark_file("download/{source}")
    wildcard_constraints:
        source=one_of(plan.downloads.table),
    resources:
        downloads=1,
        mem_mb=4000,
        runtime="5d",
    params:
        key=job_key("download"),
        token=lambda wildcards: plan.downloads.token(wildcards.source),
        rows=lambda wildcards: plan.downloads.rows(wildcards.source),
        wanted=plan.given_paths,
    message:
        "Downloading {wildcards.source}"
    script:
        "../workflow_scripts/download.py"
