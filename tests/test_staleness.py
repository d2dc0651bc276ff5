"""Nothing stale, nothing needless: every config key and every module, and exactly the jobs that a change of it affects.

Each case is a dry run in a clone where the tiny benchmark has run; the jobs planned are those that Snakemake would run.
"""

import copy
import os
import shutil
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import pytest
import torch
from attribench.config import Config
from attribench.published import Number
from clone import REPOSITORY, TINY, Clone

pytestmark = pytest.mark.workflow

# Jobs of the whole tiny run: two splits, a database, one shard each, two extractors that share their pixels.
WHOLE = Counter(sample=1, manifest=3, decode=3, extract=6, rank=4, metrics=4, tables=1, plots=2, contact=2)
RESULTS = ["tables", "plots", "contact"]
FROM_RANK = ["rank", "metrics", *RESULTS]
FROM_DECODE = ["decode", "extract", *FROM_RANK]  # pixels are temporary: who extracts decodes
DOWNSTREAM = {
    "sample": list(WHOLE),
    "manifest": ["manifest", *FROM_DECODE],
    "decode": FROM_DECODE,
    "extract": FROM_DECODE,
    "rank": FROM_RANK,
    "metrics": ["metrics", "tables", "plots"],
    "tables": ["tables", "plots"],
    "plots": ["plots"],
    "contact": ["contact"],
}


def jobs(*rules, **other):
    """The whole run's jobs of `rules`, and those of `other` in the counts given."""
    return Counter({**{rule: WHOLE[rule] for rule in rules}, **other})


def registry(**changes):
    """The tiny registry with another `tiny`."""
    entries = TINY["extractor_registry"]
    return {**entries, "tiny": {**entries["tiny"], **changes}}


MINE = {"splits": {"sample_style": "dataset/json/test_sample_style.json"}, "database": {"folder": "dataset/database"}}
NOTHING = Counter()
OF_ONE = dict(decode=3, extract=3, rank=2, metrics=2)  # jobs of one extractor before the results
# A key of the config file, its new value, and the jobs that run again.
KEYS = [
    ("device", "auto", NOTHING),
    ("batch_size", 3, NOTHING),
    ("compile", True, jobs(*RESULTS, **OF_ONE)),  # nor is the colour histogram compiled
    ("compile", "false", NOTHING),  # as `--config` gives it
    ("precision", "bf16", jobs(*RESULTS, **OF_ONE)),  # the colour histogram has one precision
    ("compare_precisions", ["bf16"], jobs(*RESULTS, **OF_ONE)),
    ("recall_ks", [1, 5], jobs("metrics", "tables", "plots")),
    ("recall_ks", [100, 10, 5], NOTHING),
    ("top_k", 7, jobs(*FROM_RANK)),
    ("bootstrap", {"samples": 300}, jobs("tables", "plots")),
    ("bootstrap", {"samples": 200, "seed": 1}, jobs("tables", "plots")),
    ("contact_sheet", {"queries": 3, "neighbours": 4}, jobs("contact")),
    ("database_shards", 3, jobs(*FROM_RANK, decode=3, extract=6)),
    ("split_shards", 2, jobs(*FROM_RANK, decode=4, extract=8)),
    ("database_limit", 10, jobs(*FROM_RANK, manifest=1, decode=1, extract=2)),
    ("invalid_images", "quarantine", jobs(*FROM_DECODE)),
    ("extractors", ["color"], jobs(*RESULTS)),
    ("extractors", ["color", "tiny"], jobs(*RESULTS)),
    ("splits", ["sample_style"], jobs(tables=1, plots=1)),
    ("splits", ["sample_style", "sample_object", "sample_style_val"],
     jobs("tables", manifest=1, decode=1, extract=2, rank=2, metrics=2, plots=3, contact=1)),
    ("results", "elsewhere", jobs(*DOWNSTREAM["manifest"])),
    ("root", "other_root", WHOLE),
    ("root", "moved", NOTHING),
    ("benchmark", "mine", jobs("tables", manifest=2, decode=2, extract=4, rank=2, metrics=2, plots=1, contact=1)),
    ("sample", {**TINY["sample"], "seed": 1}, WHOLE),
    ("sample", {**TINY["sample"], "database_images": 21}, WHOLE),
    ("extractor_registry", registry(seed=1), jobs(*RESULTS, **OF_ONE)),
    ("extractor_registry", registry(precision="bf16"), jobs(*RESULTS, **OF_ONE)),
    ("extractor_registry", registry(precision="float32"), NOTHING),
    ("extractor_registry", {**TINY["extractor_registry"], "unused": {"library": "timm", "model": "x"}}, NOTHING),
    ("download", {"retries": 0, "keep_archives": True}, NOTHING),
    ("sources", {"images": {"benchmark": "sample", "kind": "http", "url": "http://127.0.0.1:9/", "files": ["a.tar"],
                            "unpack": "tar", "provides": ["dataset/"], "licence": "", "unlocks": ""}}, NOTHING),
    ("benchmarks", {"sample": {"extractors": ["color"]}}, NOTHING),
    ("variants", ["pretrained"], NOTHING),
    ("published_numbers", None, NOTHING),  # as the file that is there, which states none
    ("published_numbers", "one_number.csv", jobs("tables")),
    ("published_numbers", "other_runs.csv", NOTHING),
    ("variant_registry", {"unused": {"mapper": "weights/unused.pth"}}, NOTHING),
    ("missing_variants", "skip", NOTHING),
    ("database_sizes", [5], jobs(*FROM_RANK)),
    ("hard_negatives", True, jobs(*FROM_RANK)),
    ("near_duplicates", 0.9, jobs(*FROM_RANK)),
]  # fmt: skip
# Keys that a dry run here cannot vary, and the test that varies them.
ELSEWHERE = {
    "database_source": "test_import_features.py::test_the_workflow_ranks_imported_features",
    "split_source": "test_import_features.py::test_the_workflow_ranks_imported_features",
    "score_methods": "test_rank_scores.py::test_the_workflow_ranks_scores_beside_features",
    "score_registry": "test_rank_scores.py::test_the_workflow_ranks_scores_beside_features",
}

# The stages whose scripts use a module; the stages after them run again as well.
EVERY = list(WHOLE)
MODULES = {
    "__init__.py": EVERY,
    "errors.py": EVERY,
    "files.py": EVERY,
    "identity.py": EVERY,
    "stage.py": EVERY,
    "config.py": [],
    **{f"download/{path.name}": [] for path in (REPOSITORY / "workflow_scripts/attribench/download").glob("*.py")},
    "lock.py": [],
    "layout.py": [],
    "plan.py": [],
    "feature_files.py": ["manifest"],
    "feature_rows.py": ["manifest"],
    "import_features.py": [],
    "manifest.py": ["manifest"],
    "sources.py": ["manifest"],
    "trec.py": [],
    "decode.py": ["decode"],
    "preprocessing.py": ["decode"],
    "progress.py": ["sample", "decode"],
    "shards.py": ["decode"],
    "chunk_reader.py": ["decode"],
    "compiled.py": ["decode"],
    "checkpoints.py": ["extract"],
    "color.py": ["extract"],
    "extract.py": ["extract"],
    "forward.py": ["extract"],
    "extractors.py": ["extract"],
    "registry.py": ["extract"],
    "suggest.py": ["extract"],
    "read_ahead.py": ["extract"],
    "features.py": ["rank"],
    "rank.py": ["rank"],
    "rank_cuda.py": ["rank"],
    "rank_cuda_filters.py": ["rank"],
    "rank_device.py": ["rank"],
    "rank_blocks.py": ["rank"],
    "rank_choice.py": ["rank"],
    "rank_copies.py": ["rank"],
    "rank_count.py": ["rank"],
    "rank_doubt.py": ["rank"],
    "rank_grid.py": ["rank"],
    "rank_groups.py": ["rank"],
    "rank_filters.py": ["rank"],
    "rank_kernels.py": ["rank"],
    "rank_positive.py": ["rank"],
    "plain_torch.py": ["manifest"],
    "precisions.py": ["tables"],
    "published.py": ["tables"],
    "rank_scan.py": ["rank"],
    "rank_sparse.py": ["rank"],
    "rank_split.py": ["rank"],
    "rank_triton.py": ["rank"],
    "rank_file.py": ["rank"],
    "ranking.py": ["rank"],
    "one_thread.py": ["rank"],
    "tally.py": ["rank"],
    "mappers.py": ["rank"],
    "mapper_kernels.py": ["rank"],
    "rank_scores.py": [],
    "score_file.py": [],
    "metrics.py": ["metrics"],
    "statistics.py": ["metrics"],
    "tables.py": ["metrics"],
    "contact.py": ["contact"],
    "plots/__init__.py": ["plots", "contact"],
    "plots/save.py": ["plots", "contact"],
    "plots/sheet.py": ["contact"],
    "plots/style.py": ["plots", "contact"],
    "plots/ranks.py": ["plots", "contact"],
    "plots/rows.py": ["plots", "contact"],
    "plots/sizes.py": ["plots", "contact"],
    "plots/bars.py": ["plots", "contact"],
    "plots/curves.py": ["plots", "contact"],
    "plots/distribution.py": ["plots", "contact"],
    **{f"sample/{path.name}": ["sample"] for path in (REPOSITORY / "workflow_scripts/attribench/sample").glob("*.py")},
}
UNUSED = ("import_features", "feature_source", "rank_scores", "trec", "download")
SCRIPTS = {f"../{stage}.py": [stage] for stage in WHOLE} | {f"../{stage}.py": [] for stage in UNUSED}


def in_parallel(clones, cases, check):
    """Run `check(clone, case)` for every case, one at a time in each clone; the faults it returns."""
    waiting = list(clones)

    def work(case):
        clone = waiting.pop()
        try:
            return check(clone, case)
        finally:
            waiting.append(clone)

    with ThreadPoolExecutor(len(clones)) as pool:
        return [fault for fault in pool.map(work, cases) if fault]


@pytest.fixture(scope="module")
def clones(finished, tmp_path_factory):
    made = [
        Clone(tmp_path_factory.mktemp("staleness") / "clone", copy_from=finished) for _ in range(os.cpu_count() or 1)
    ]
    for clone in made:
        shutil.copytree(clone.folder / "resources/sample", clone.folder / "moved")
        for name, extractor in (("one_number", "color"), ("other_runs", "clip")):
            number = f"sample,sample_style,gpt,{extractor},pretrained,mAP,0.5,0.1,a paper\n"
            (clone.folder / f"{name}.csv").write_text(",".join(Number._fields) + "\n" + number)
    return made


def test_every_config_key_is_tried():
    tried = {key for key, _, _ in KEYS}
    assert tried | set(ELSEWHERE) == set(Config.model_fields)


def test_every_module_is_tried():
    library = REPOSITORY / "workflow_scripts/attribench"
    assert set(MODULES) == {str(path.relative_to(library)) for path in library.rglob("*.py")}
    assert {f"../{path.name}" for path in library.parent.glob("*.py")} == set(SCRIPTS)


def test_a_config_key_re_runs_exactly_what_it_affects(clones):
    def check(clone, case):
        key, value, expected = case
        settings = copy.deepcopy(TINY)
        settings["benchmarks"] = {"mine": {**MINE, "extractors": ["color"]}}
        if key == "benchmarks":
            settings["benchmarks"] |= value
        else:
            settings[key] = value
        if key == "benchmark":
            settings["root"] = "resources/sample"
        clone.configure(settings)
        found = clone.planned()
        clone.configure(TINY)
        return f"{key}: {value} would run {dict(found)}; expected {dict(expected)}" if found != expected else None

    assert not in_parallel(clones, KEYS, check)


def test_a_module_re_runs_exactly_the_stages_that_use_it(clones):
    def check(clone, name):
        path = clone.folder / "workflow_scripts/attribench" / name
        content = path.read_bytes()
        path.write_bytes(content + b"\n# changed\n")
        found = clone.planned()
        path.write_bytes(content)
        stages = (MODULES | SCRIPTS)[name]
        expected = jobs(*{rule for stage in stages for rule in DOWNSTREAM[stage]})
        return f"{name} would run {dict(found)}; expected {dict(expected)}" if found != expected else None

    assert not in_parallel(clones, list(MODULES | SCRIPTS), check)


def test_only_the_pixels_that_are_needed_are_decoded(clones):
    """For another extractor its own preprocessing; when an image changed, those of all."""
    clone, registry = clones[0], TINY["extractor_registry"]
    other = {**registry["tiny"], "resize": 40, "crop": 32}
    clone.configure({**TINY, "extractors": ["tiny", "other"], "extractor_registry": {**registry, "other": other}})
    for config, expected in (({}, "bicubic-40-32"), ({"database_limit": 10}, "bicubic-40-32 bicubic-48-48")):
        output = clone.run("-n", config=config).stdout
        assert f"Decoding sample_database 00000-of-00001 ({expected})" in output
    assert "Decoding sample_style 00000-of-00001 (bicubic-40-32)" in output
    clone.configure(TINY)


def test_touching_every_file_re_runs_nothing(finished_copy):
    for number, path in enumerate(sorted(finished_copy.folder.rglob("*"), key=lambda path: path.name)):
        if path.is_file():
            os.utime(path, (2e9 - number, 2e9 - number))
    assert finished_copy.planned() == NOTHING


def test_results_in_a_fresh_clone_re_run_nothing(finished, tmp_path):
    """Copied without their time stamps, and without Snakemake's own records."""
    clone = Clone(tmp_path / "clone", TINY)
    for folder in ("results", "resources"):
        shutil.copytree(finished.folder / folder, clone.folder / folder, copy_function=shutil.copyfile)
    assert clone.planned() == NOTHING


def test_results_of_other_settings_in_a_fresh_clone_are_found_out(finished, tmp_path):
    clone = Clone(tmp_path / "clone", {**TINY, "recall_ks": [1, 5]})
    for folder in ("results", "resources"):
        shutil.copytree(finished.folder / folder, clone.folder / folder, copy_function=shutil.copyfile)
    assert clone.planned() == jobs("metrics", "tables", "plots")
    clone.run()
    assert clone.planned() == NOTHING


def test_a_changed_image_re_runs_its_collection(finished_copy):
    root = finished_copy.folder / "resources/sample/dataset"
    one, other = sorted(Path(root / "database").rglob("*.jpg"))[:2]
    one.write_bytes(other.read_bytes())
    expected = jobs(*FROM_RANK, manifest=1, decode=1, extract=2)
    assert finished_copy.planned() == expected
    before = finished_copy.tables()
    finished_copy.run()
    assert finished_copy.planned() == NOTHING
    assert finished_copy.tables() != before


def save_mapper(clone, path, factor):
    """A channel mapper for the features of `color`, below the root."""
    with h5py.File(clone.folder / "results/features/sample_style/color/00000-of-00001.h5") as file:
        weights = torch.ones(1, file["features"].shape[1])
    path = clone.folder / "resources/sample" / path
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"real_mapper": {"weights": weights}, "synth_mapper": {"weights": weights * factor}}, path)


def rank_files(clone):
    """What tells a rank file of `color` from one that was written anew, by name."""
    files = (clone.folder / "results/ranks").glob("*/color_*.h5")
    return {"/".join(file.parts[-2:]): (file.stat().st_ino, file.stat().st_mtime_ns) for file in files}


def written_anew(clone, before):
    """The variants of `color` whose rank files are not those of `before`."""
    return sorted({name.split("_")[-1].removesuffix(".h5") for name, _ in rank_files(clone).items() - before.items()})


def test_a_mapper_re_runs_what_it_maps(finished_copy):
    """The first variant with a mapper, another path to the same one, another order, another one, and then none."""
    settings = {**TINY, "variants": ["pretrained", "scaled"], "extractors": ["color"]}
    finished_copy.configure({**settings, "variant_registry": {"scaled": {"mapper": "weights/{extractor}.pth"}}})
    assert "expected it, or `missing_variants: skip`" in finished_copy.run("-n", check=False).stdout
    save_mapper(finished_copy, "weights/color.pth", 1)
    assert finished_copy.planned() == jobs(*RESULTS, rank=2, metrics=2)
    before = rank_files(finished_copy)
    finished_copy.run()
    assert written_anew(finished_copy, before) == ["scaled"]
    assert finished_copy.planned() == NOTHING
    save_mapper(finished_copy, "weights/other/color.pth", 1)
    moved = {**settings, "variant_registry": {"scaled": {"mapper": "weights/other/{extractor}.pth"}}}
    finished_copy.configure(moved)
    assert finished_copy.planned() == NOTHING
    assert finished_copy.planned({"variants": ["scaled", "pretrained"]}) == jobs(*RESULTS)
    assert finished_copy.planned({"variants": ["scaled"]}) == jobs(*RESULTS)
    assert finished_copy.planned({"top_k": 7}) == jobs(*RESULTS, rank=2, metrics=4)
    save_mapper(finished_copy, "weights/other/color.pth", 2)
    assert finished_copy.planned() == jobs(*RESULTS, rank=2, metrics=2)
    check_that_variants_are_ranked_apart_and_together(finished_copy)
    (finished_copy.folder / "resources/sample/weights/other/color.pth").unlink()
    finished_copy.configure({**moved, "missing_variants": "skip"})
    assert finished_copy.planned() == jobs(*RESULTS)
    finished_copy.run("results/tables/missing_variants.csv")
    table = (finished_copy.folder / "results/tables/missing_variants.csv").read_text()
    assert table == "extractor,variant,file\ncolor,scaled,weights/other/color.pth\n"


def check_that_variants_are_ranked_apart_and_together(clone):
    """A changed mapper ranks its variant alone; a forced job all, to the same bytes; one without its mark none."""
    before = rank_files(clone)
    clone.run("ranks")
    assert written_anew(clone, before) == ["scaled"]
    apart, before = clone.results("ranks/*/color_*.h5"), rank_files(clone)
    (clone.folder / "results/ranks/sample_style/color_pretrained.h5").unlink()
    assert clone.planned(None, "ranks") == jobs(rank=1, ranks=1)
    clone.run("ranks", "--forcerun", "rank")
    assert written_anew(clone, before) == ["pretrained", "scaled"] and not before.items() & rank_files(clone).items()
    assert clone.results("ranks/*/color_*.h5") == apart
    before = rank_files(clone)
    (clone.folder / "results/ranks/sample_style/.color.ranked").unlink()
    shutil.rmtree(clone.folder / "results/features")
    clone.run("ranks")
    assert not written_anew(clone, before)
    assert clone.planned(None, "ranks") == NOTHING


def test_a_forced_stage_takes_the_later_ones_with_it(finished_copy):
    assert finished_copy.planned(None, "--forcerun", "rank") == jobs(*FROM_RANK)
