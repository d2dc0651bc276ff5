"""The config: its defaults are valid, and what is not is refused with the key and the nearest valid one."""

import pytest
from attribench.common.errors import InputError
from attribench.plan.config import load
from attribench.plan.plan import Plan
from attribench.plan.settings import Settings
from helpers.config import CONFIG_FILES, DEFAULTS, REPOSITORY, changed
from helpers.feature_files import write_feature_file


def test_every_key_has_a_default_in_the_shipped_files():
    assert set(DEFAULTS) == set(Settings.model_fields), f"{CONFIG_FILES} and plan/settings.py: the same keys"


def test_what_depends_on_the_benchmark_is_resolved():
    sample, abc = load(DEFAULTS), load(changed(benchmark="abc"))
    assert (sample.root, sample.splits, sample.database_shards) == (
        "resources/sample",
        ["sample_style", "sample_object"],
        2,
    )
    assert abc.extractors == ["clip", "dino", "moco", "vit", "sscd"]
    assert abc.splits == ["artchive", "bamfg", "observed_imagenet", "unobserved_imagenet"]


def test_a_single_name_stands_for_a_list_of_one():
    config = load(changed(extractors="color", splits="sample_style", recall_ks=7))
    assert (config.extractors, config.splits, config.recall_ks) == (["color"], ["sample_style"], [7])


def test_the_home_folder_may_be_written_as_a_tilde_in_every_path(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    entry = {
        "splits": {"a": "~/a.json"},
        "split_folders": ["~/images"],
        "database": {"folder": "~/others", "features": "~/{extractor}.npy"},
        "split_features": "~/{extractor}/{split}.npy",
        "extractors": ["color"],
    }
    weights = {"library": "timm", "model": "resnet18", "pretrained": {"file": "~/w.pth"}}
    config = load(
        changed(
            **dict(root="~/data", results="~/out", published_numbers="~/p.csv", score_registry={"s": "~/{split}.h5"}),
            **dict(variant_registry={"v": {"mapper": "~/{extractor}.pth"}}, benchmarks__mine=entry, benchmark="mine"),
            extractor_registry__mine=weights,
        )
    )
    chosen = config.model_dump(include={"root", "results", "published_numbers", "score_registry", "variant_registry"})
    text = str([chosen, config.entry.model_dump(), config.extractor_registry["mine"].model_dump()])
    assert "~" not in text and text.count("/home/me/") == 11


@pytest.mark.parametrize("key", ["root", "results", "features"])
@pytest.mark.parametrize("path", ["~no-such-user/out", "$SCRATCH/out", "", " ", "a\nb"])
def test_a_path_that_would_make_a_folder_of_an_odd_name_is_refused(key, path):
    with pytest.raises(InputError, match=f"key `{key}`: found .*expected a path"):
        load(changed(**{key: path}))


@pytest.mark.parametrize("name", ["clip", "dino", "moco", "vit", "sscd"])
def test_published_extractors_are_as_published(name):
    resize, crop, interpolation, mean0 = {
        "clip": (224, 224, "bicubic", 0.48145466),
        "dino": (256, 224, "bicubic", 0.485),
        "moco": (256, 224, "bilinear", 0.485),
        "vit": (384, 384, "bilinear", 0.5),
        "sscd": (288, 288, "bilinear", 0.485),
    }[name]
    entry = load(DEFAULTS).extractor_registry[name]
    assert (entry.resize, entry.crop, entry.interpolation, entry.mean[0]) == (resize, crop, interpolation, mean0)


def test_an_entrys_own_precision_comes_first():
    config = load(changed(precision="bf16", extractor_registry__untrained__precision="float32"))
    assert [config.precision_of(name) for name in ("efficientnet_lite0", "untrained", "color")] == [
        *("bf16", "float32", "float32")
    ]


REFUSED = {
    "unknown key": (dict(benchmrk="abc"), ["unknown key `benchmrk`", "did you mean `benchmark`?"]),
    "unknown nested key": (dict(bootstrap__sample=3), ["unknown key `bootstrap.sample`", "did you mean `samples`?"]),
    "unknown value": (dict(device="cdua"), ["`device`", "`cdua`", "did you mean `cuda`?"]),
    "unknown extractor": (dict(extractors=["colour"]), ["extractors", "`colour`", "did you mean `color`?"]),
    "unknown split": (dict(splits=["sample_stile"]), ["splits", "did you mean `sample_style`?"]),
    "unknown benchmark": (dict(benchmark="smaple"), ["benchmark", "did you mean `sample`?"]),
    "unknown variant": (dict(variants=["pretrainde"]), ["variants", "did you mean `pretrained`?"]),
    "unknown library": (
        dict(extractor_registry__x={"library": "tim", "model": "a"}),
        ["extractor_registry.x.library", "did you mean `timm`?"],
    ),
    "a tag that timm has not": (
        dict(extractor_registry__x={"library": "timm", "model": "resnet18", "pretrained": "hubb"}),
        ["extractor_registry.x", "`hubb`: a timm model takes hub, none or {file: …}"],
    ),
    "unknown key of an extractor": (
        dict(extractor_registry__dino__pretrain="none"),
        ["extractor_registry.dino.pretrain", "did you mean `pretrained`?"],
    ),
    "unknown key of a weights file": (
        dict(extractor_registry__moco__pretrained__drp=["x"]),
        ["extractor_registry.moco.pretrained.drp", "did you mean `drop`?"],
    ),
    "unknown key of a benchmark": (
        dict(benchmarks__abc__databse={}),
        ["benchmarks.abc.databse", "did you mean `database`?"],
    ),
    "extractor without a model": (dict(extractor_registry__a={"library": "timm"}), ["extractor_registry.a", "`model`"]),
    "a recall cut-off of zero": (dict(recall_ks=[0]), ["recall_ks.0", "found 0"]),
    "text for a number": (
        dict(recall_ks="five"),
        ["`recall_ks`: found 'five'; expected a list of one or more, each a"],
    ),
    "a number of a list as text": (dict(recall_ks="5,0"), ["`recall_ks`: found 0; expected a list"]),
    "a mapping for a folder": (dict(results={"x": 1}), ["`results`", "{'x': 1}"]),
    "a split listed twice": (dict(splits=["sample_style"] * 2), ["splits", "sample_style", "more than once"]),
    "more neighbours than are kept": (
        dict(top_k=3),
        ["contact_sheet.neighbours is 8", "gallery.neighbours is 8", "top_k"],
    ),
    "a key of a benchmark": (
        dict(database="others"),
        ["unknown key `database`; did you mean `benchmarks.NAME.database`?"],
    ),
    "no features given": (dict(database_source="features"), ["database_source", "benchmarks.sample.database.features"]),
    "crop larger than resize": (dict(extractor_registry__dino__crop=300), ["extractor_registry.dino", "crop 300"]),
    "braces in a folder": (dict(results="a{b}"), ["`results`", "a{b}"]),
    "a variant called scores": (dict(variant_registry__scores={"mapper": "a"}), ["variant_registry.scores", "taken"]),
    "nothing to rank": (dict(extractors=[]), ["extractors is empty"]),
    "an unknown score method": (dict(score_methods=["x"]), ["score_methods", "unknown value `x`"]),
    "a size beyond the limit": (dict(database_limit=5, database_sizes=[6]), ["database_sizes has 6", "which is 5"]),
    "an unknown variant": (dict(variants=["tunde"]), ["variants", "did you mean `tuned`?"]),
    "a cut-off beyond all ranks": (dict(recall_ks=[10**20]), ["recall_ks.0"]),
    "unknown key of a source": (dict(sources__json__repos="a/b"), ["sources.json.repos", "did you mean `repo`?"]),
    "unknown kind of a source": (dict(sources__json__kind="hup"), ["sources.json.kind", "did you mean `hub`?"]),
    "a source without its address": (dict(sources__weights__url=None), ["sources.weights", "kind http needs url"]),
    "a source that would leave the root": (dict(sources__weights__provides=["../a"]), ["sources.weights.provides.0"]),
    "a source of no benchmark": (
        dict(sources__json__benchmark="abcd"),
        ["sources.json.benchmark", "did you mean `abc`?"],
    ),
    "more files than paths": (
        dict(sources__json__provides=["a.json"]),
        ["sources.json", "one file for each of `files`"],
    ),
    "a digest that is none": (
        dict(sources__json__sha256={"json/test_bamfg.json": "abc"}),
        ["sources.json.sha256.json/test_bamfg.json", "'abc'"],
    ),
    "a digest of no file": (dict(sources__json__sha256={"a": "0" * 64}), ["sources.json", "sha256 names a"]),
    "unknown key of download": (dict(download__retry=1), ["download.retry", "did you mean `retries`?"]),
    "a mirror that is no folder": (dict(download__mirrors={"http://a/": "http://b"}), ["download.mirrors", "http://b"]),
    "neither a network nor features": (
        dict(extractor_registry__a={"crop": 3}),
        ["extractor_registry.a", "give `library`"],
    ),
    "a key of a network that is none": (
        dict(extractor_registry__a={"features": "a.npy", "crop": 3}),
        ["extractor_registry.a", "`crop` needs a `library`"],
    ),
    "features of splits alone": (
        dict(extractors=["a"], extractor_registry__a={"features": {"splits": "a.npy"}}),
        ["extractor_registry.a.features", "names no file for `database`"],
    ),
    "an extractor whose features are not there": (
        dict(benchmark="abc", root="nowhere", splits=["bamfg"], extractors=["mymethod"]),
        ["unknown value `mymethod`", "`mymethod: {features: FILE}`", "feats/mymethod/laion_subset.pth"],
    ),
    "unknown precision": (dict(compare_precisions=["bf17"]), ["compare_precisions.0", "did you mean `bf16`?"]),
    "a precision of features that are given": (
        dict(benchmark="abc", compare_precisions=["bf16"], split_source="features"),
        ["compare_precisions is [bf16]", "split_source is `features`", "expected split_source: images"],
    ),
    "the precision that they have": (
        dict(precision="bf16", compare_precisions=["bf16"]),
        ["compare_precisions", "no extractor is left to run in bf16", "(efficientnet_lite0, color, untrained)"],
    ),
    "no network to compare": (
        dict(extractors=["color"], compare_precisions=["bf16"]),
        ["compare_precisions", "no extractor is left to run in bf16", "expected a network"],
    ),
    "a precision that takes an extractor's name": (
        dict(compare_precisions=["bf16"], extractor_registry__untrained_bf16={"library": "timm", "model": "a"}),
        ["compare_precisions", "untrained in bf16 would be called untrained_bf16"],
    ),
    "a precision that takes a score method's name": (
        dict(compare_precisions=["bf16"], score_registry={"untrained_bf16": "a.h5"}),
        ["compare_precisions", "untrained in bf16 would be called untrained_bf16"],
    ),
    "a colour histogram in bf16": (
        dict(extractor_registry__color__precision="bf16"),
        ["extractor_registry.color", "computes in float32"],
    ),
    "a batch of no images": (
        dict(batch_size=0),
        ["key `batch_size`: found 0", "a whole number, at least 1 and at most 4,096, or `auto`"],
    ),
    "more shards than Snakemake bears": (
        dict(database_shards=5000),
        ["`database_shards`", "found 5000", "at most 1000", "a job of each stage", "make shards of more images"],
    ),
    "more shards of a split": (dict(split_shards=1001), ["`split_shards`", "found 1001", "make shards of more images"]),
    "more shards by a benchmark's own default": (
        dict(benchmarks__abc__database_shards=1001),
        ["`benchmarks.abc.database_shards`", "found 1001", "make shards of more images"],
    ),
    "a colour histogram of other pixels": (
        dict(extractor_registry__color__mean=[0.5] * 3),
        ["extractor_registry.color", "takes pixels as they are"],
    ),
    "another case": (dict(benchmark="ABC"), ["unknown value `ABC`; did you mean `abc`?"]),
    "a key of a section without it": ({"samples": 100}, ["unknown key `samples`; did you mean `bootstrap.samples`?"]),
    "a folder for the keys of a database": (
        dict(benchmarks__abc__database="others"),
        ["`benchmarks.abc.database`: found 'others'", "expected {folder: others}"],
    ),
    "a number for text": (
        dict(results=2024),
        ["`results`: found 2024; expected a path", "on the command line '\"2024\"'"],
    ),
    "true for a number": (dict(top_k=True), ["`top_k`: found true; expected a whole number, at least 1"]),
    "percent for a share": (
        dict(bootstrap__confidence=95),
        ["found 95; expected a number, more than 0 and less than 1"],
    ),
    "a section left empty": (dict(bootstrap=None), ["found nothing; expected the keys samples, confidence, seed"]),
    "a list left empty": (
        dict(recall_ks=None),
        ["`recall_ks`: found nothing; expected a list of one or more, each"],
    ),
    "a mapping for a word": (
        dict(device={"a": 1}),
        ["`device`: unknown value `{'a': 1}`. Valid: auto, cpu, cuda, mps"],
    ),
    "another word for downloads": (
        dict(download="nevr"),
        ["found 'nevr'; expected `never`, or the keys", "did you mean `never`?"],
    ),
    "unknown partition": (dict(sample__style_entries__tset=3), ["sample.style_entries.tset", "did you mean `test`?"]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_the_key_and_what_is_valid(name):
    changes, expected = REFUSED[name]
    with pytest.raises(InputError) as error:
        load(changed(**changes))
    for text in expected:
        assert text in str(error.value)


def test_a_fault_of_a_mapping_is_named_and_not_that_it_is_no_text():
    with pytest.raises(InputError) as error:
        load(changed(extractor_registry__moco__pretrained__drp=["x"]))
    assert len(str(error.value).splitlines()) == 2, error.value


PLANS = {
    "two methods of one name": (
        dict(
            benchmarks__mine={
                "splits": {"a": "m.json"},
                "database": {"folder": "d"},
                "extractors": ["color", "color_x"],
            },
            extractor_registry__color_x={"library": "color", "resize": 8, "crop": 8, "interpolation": "bicubic"},
            variants=["y", "x_y"],
            variant_registry={name: {"mapper": str(REPOSITORY / "README.md")} for name in ("y", "x_y")},
        ),
        "color with x_y and color_x with y are both called color_x_y",
    ),
    "a variant without a checkpoint": (
        dict(
            benchmarks__mine={"splits": {"a": "m.json"}, "database": {"folder": "d"}, "extractors": ["color"]},
            variants=["tuned"],
        ),
        "color_tuned: resources/mine/weights/mapper/color_tuned.pth",
    ),
    "nothing but variants without a checkpoint": (
        dict(
            benchmarks__mine={"splits": {"a": "m.json"}, "database": {"folder": "d"}, "extractors": ["color"]},
            variants=["tuned"],
            missing_variants="skip",
        ),
        "no method is left; expected .*:\n  tuned for color: no checkpoint is there",
    ),
    "a split named like a table": (
        dict(benchmarks__mine={"splits": {"summary": "m.json"}, "database": {"folder": "d"}, "extractors": ["color"]}),
        "'summary' is the name of a table",
    ),
    "images of one's own as rendered": (
        dict(
            benchmarks__mine={
                "splits": {"a": "m.json"},
                "database": {"folder": "d"},
                "extractors": "color",
                "rendered": True,
            }
        ),
        "benchmarks.mine.rendered: only the sample benchmark's own files",
    ),
}


@pytest.mark.parametrize("name", PLANS)
def test_a_plan_that_would_overwrite_is_refused(name):
    changes, message = PLANS[name]
    with pytest.raises(InputError, match=message):
        Plan(load(changed(benchmark="mine", **changes)))


def test_rendering_refuses_a_root_with_somebodys_split_file(tmp_path):
    mine = tmp_path / "dataset/json/val_sample_style.json"
    mine.parent.mkdir(parents=True)
    mine.write_text("[]")
    with pytest.raises(InputError, match="val_sample_style.json exists and was not rendered"):
        Plan(load(changed(root=str(tmp_path))))
    assert mine.read_text() == "[]"


def abc_plan(root, **changes):
    choice = dict(benchmark="abc", root=str(root), extractors=["clip", "moco"], variants=["pretrained", "tuned"])
    return Plan(load(changed(**choice, **changes)))


def test_a_variant_to_be_downloaded_is_not_missing_and_a_skipped_one_is_not_downloaded(tmp_path):
    assert not abc_plan(tmp_path).missing_variants
    (tmp_path / "weights/mapper").mkdir(parents=True)
    (tmp_path / "weights/mapper/clip_tuned.pth").touch()
    path = "weights/mapper/moco_tuned.pth"
    assert path in abc_plan(tmp_path).given_paths
    skipping = abc_plan(tmp_path, missing_variants="skip")
    assert skipping.missing_variants == {("moco", "tuned"): path}
    assert skipping.left_out == ["tuned for moco: no checkpoint is there"]
    assert path not in skipping.given_paths


def test_a_missing_key_is_named():
    raw = changed()
    del raw["precision"]
    with pytest.raises(InputError, match="`precision` is missing"):
        load(raw)


def test_a_size_beyond_the_database_is_refused_before_a_run(tmp_path):
    mine = {"splits": {"a": "m.json"}, "database": {"folder": "d"}, "extractors": ["color"]}
    (tmp_path / "d").mkdir()
    for i in range(3):
        (tmp_path / f"d/{i}.png").touch()
    folder = dict(benchmark="mine", benchmarks__mine=mine, root=str(tmp_path), results=str(tmp_path / "results"))
    features = {**mine, "database": {"features": "{extractor}.npz"}, "split_features": "{extractor}.npz"}
    features["extractors"] = ["own"]
    write_feature_file(tmp_path, "npz").rename(tmp_path / "own.npz")
    for changes, n in ((folder, 3), ({}, 1500), ({**folder, "benchmarks__mine": features}, 10)):
        Plan(load(changed(**changes, database_sizes=[1, n]))).refuse_large_sizes()
        with pytest.raises(InputError, match=f"database_sizes has {n + 1}; expected at most {n}, the images"):
            Plan(load(changed(**changes, database_sizes=[1, n + 1]))).refuse_large_sizes()
    # Before a download, nobody knows.
    (tmp_path / "abc").mkdir()
    Plan(load(changed(benchmark="abc", root=str(tmp_path / "abc"), database_sizes=[10**9]))).refuse_large_sizes()


@pytest.mark.parametrize("key", ["root", "results", "features"])
def test_a_file_in_place_of_a_folder_is_refused(tmp_path, key):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=f"config key {key}: .*/file is a file; expected a folder"):
        Plan(load({**DEFAULTS, key: str(tmp_path / "file")}))
