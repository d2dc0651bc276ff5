"""The reference of targets, rules and wildcards, from Makefile and from the rules as Snakemake has read them.

Run it to write docs/reference/targets.md.
"""

import json
import os
import re
import sys
import tempfile
from pathlib import Path

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parents[2] / "workflow_scripts"), str(Path(__file__).parents[1])]

from helpers.clone import REPOSITORY, Clone

PAGE = REPOSITORY / "docs/reference/targets.md"
# At the end of a clone's Snakefile: what the rules are.
DUMP = """
import json
with open("rules.json", "w") as file:
    rows = [[r.name, os.path.basename(r.snakefile), list(r.output), sorted(r.wildcard_names)] for r in workflow.rules]
    json.dump(rows, file)
"""
# What stands for a wildcard in a path, and the names in the default run that do where a rule has none.
WILDCARDS = {
    "collection": "a split, or BENCHMARK`_database`",
    "split": "a name below `splits` of the benchmark's entry",
    "extractor": "a name of `extractor_registry`; in the files of a score method, its name",
    "variant": "`pretrained`, or a name of `variant_registry` or `tune`; `scores` for a score method",
    "shard": "`IIIII-of-NNNNN`: number of the shard, from 0, and of all shards",
}
NAMES = {
    "SPLIT": r"sample_(style|object)",
    "EXTRACTOR": r"efficientnet_lite0|color|untrained",
    "VARIANT": r"pretrained|tuned_linear|tuned_channel",
}
HEAD = """# Targets, rules and wildcards

<!-- Written by `make schema` from Makefile and the rules: change those. -->

## Targets of make

| command | what it does |
| --- | --- |
"""
SNAKEMAKE = """
## Targets of Snakemake

A run makes the targets that it is given, and all that they need: `.venv/bin/snakemake --cores 8 TARGET …`. A target is a
name of this table, or the path of any file that a rule makes. With `-n`, the run only says what it would do.

| target | what it makes |
| --- | --- |
"""
# What the rules that make no file of their own stand for.
TARGETS = {
    "all": "everything that a run reports; what `snakemake` alone makes",
    "features": "the feature shards of all extractors that are chosen",
    "ranks": "the rank files of all methods that are chosen",
    "download": "the given files that are missing",
}


def rules() -> list[tuple[str, str, list[str], list[str]]]:
    """Return name, file, outputs and wildcards of each rule of the default run."""
    with tempfile.TemporaryDirectory() as folder:
        clone = Clone(Path(folder), {})
        with open(clone.folder / "Snakefile", "a") as file:
            file.write(DUMP)
        clone.run("-n", "-q")
        return json.loads((clone.folder / "rules.json").read_text())


def page(found: list[tuple[str, str, list[str], list[str]]]) -> str:
    """Return the page, in Markdown, on the rules that `rules` found."""
    targets = re.findall(r"^([a-z]*):.*  ## (.*)", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    made = HEAD + "".join(f"| `make {name}` | {text} |\n" for name, text in targets) + SNAKEMAKE
    assert {name for name, _, outputs, _ in found if not outputs} == {*TARGETS}, "say in TARGETS what they stand for"
    made += "".join(f"| `{name}` | {text} |\n" for name, text in TARGETS.items())
    named = [name for name, _, outputs, wildcards in sorted(found) if outputs and not wildcards]
    made += "".join(f"| `{name}` | what the rule of this name makes (below) |\n" for name in named)
    made += (
        "\n## Rules\n\nA word in capitals stands for a wildcard; [formats.md](../formats.md) describes the files.\n\n"
    )
    made += "| rule | in | makes |\n| --- | --- | --- |\n"
    for name, file, outputs, _ in sorted(found):
        if outputs:
            files = ", ".join(f"`{path}`" for path in merged(outputs))
            made += f"| `{name}` | [{file}](../../rules/{file}) | {files} |\n"
    made += (
        "| `download_SOURCE` | [download.smk](../../rules/download.smk) | what the source provides, and its record |\n"
    )
    made += "\n## Wildcards\n\n| in paths | in rules | stands for |\n| --- | --- | --- |\n"
    for wildcard in dict.fromkeys(wildcard for *_, wildcards in found for wildcard in wildcards):
        made += f"| {wildcard.upper()} | `{wildcard}` | {WILDCARDS[wildcard]} |\n"
    return made


def merged(paths: list[str]) -> list[str]:
    """Return paths with words for wildcards, and those that differ in their ending as one."""
    endings: dict[str, list[str]] = {}
    for path in paths:
        path = re.sub(r"\{(\w+)[^}]*\}", lambda found: found[1].upper(), os.path.normpath(path))
        path = re.sub(r"(dataset/json/).*", r"\1*.json", path)
        for word, names in NAMES.items():
            path = re.sub(rf"(?<=[/_])({names})(?=[/._])", word, path)
        stem, ending = os.path.splitext(path)
        endings.setdefault(stem, [])
        if ending not in endings[stem]:
            endings[stem].append(ending)
    return [
        stem + (of_stem[0] if len(of_stem) == 1 else f".{{{','.join(e[1:] for e in of_stem)}}}")
        for stem, of_stem in endings.items()
    ]


if __name__ == "__main__":
    PAGE.write_text(page(rules()))
