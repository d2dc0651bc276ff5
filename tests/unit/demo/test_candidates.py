"""Tests of what can be ranked: ties and copies, invalid images, and files that are no whole image."""

import io

import numpy as np
import pytest
from attribench.common.errors import InputError
from attribench.common.images import image_endings
from attribench.decode.eight_bits import UnreadableImage
from attribench.demo.attribution import attribute
from attribench.demo.candidates import QueryImage, SplitFeatures, query_titles
from attribench.demo.method import Network, ReadyMethod
from attribench.demo.run import Run
from attribench.formats.calibrator import Calibrator
from attribench.formats.manifest import ManifestRow
from attribench.formats.ranking import Method
from PIL import Image


class ScoredRows:
    """Rows whose scores with the first axis are given: each a unit row [score, the rest]."""

    def __init__(self, scores):
        self.raw = np.stack([scores, np.sqrt(1 - np.square(scores))], axis=1)
        self.valid, self.error, self.float64_error = np.ones(len(scores), bool), 1e-6, 1e-7

    def scores(self, unit):
        return self.raw @ unit + 5e-7 * np.resize([1, -1], len(self.raw))  # as wrong as they may be

    def float64_scores(self, unit, rows):
        return self.raw[rows] @ unit + 5e-8

    def features(self, rows):
        return self.raw[rows], [f"d/{row}" for row in rows]


def test_ties_count_against_exemplars_and_equal_images_stand_in_the_databases_order():
    rows = ScoredRows(np.array([0.1, 0.8, 0.5, 0.8, 0.8 - 5e-10, 0.8 - 3e-7, 0.2 - 3e-7, 0.1, 0.2 - 4e-8]))
    method = ReadyMethod(None, rows, np.asarray, np.asarray, Calibrator(10.0, 0.0), 0.0, False)
    exemplar = np.array([[0.8, 0.6], [0.2, np.sqrt(0.96)]])
    query = QueryImage(np.array([1.0, 0.0]), [ManifestRow(f"e/{i}", "exemplar", 7) for i in range(2)], exemplar, True)
    answer = attribute(query, method, 6)
    assert [one.path for one in answer.first] == ["d/1", "d/3", "d/4", "e/0", "d/5", "d/2"]
    assert [one.rank for one in answer.own] == [4, 7]
    assert [one.entry for one in answer.first][3] == 7
    few = attribute(query, method, 2)
    assert [one.path for one in few.first] == ["d/1", "d/3"] and [one.rank for one in few.own] == [4, 7]


def test_invalid_images_and_entries_without_exemplars_are_not_asked_about():
    rows = [
        *(ManifestRow(f"e/{i}", "exemplar", i) for i in (0, 0, 1)),
        *(ManifestRow(f"q/{i}", "query", i, "gpt") for i in (0, 0, 1)),
    ]
    valid = np.array([True, True, False, True, False, True])
    split = SplitFeatures(rows, np.arange(12.0).reshape(6, 2), valid)
    assert {entry: len(queries) for entry, queries in split.queries.items()} == {0: 1}
    query = split.query("q/0")
    assert query.feature.tolist() == [6, 7] and query.exemplar_features.tolist() == [[0, 1], [2, 3]]
    everything = split.with_all_exemplars(np.zeros(2))
    assert [row.path for row in everything.exemplars] == ["e/0"]  # one image of the same path


def test_queries_of_equal_names_are_told_by_their_paths():
    rows = [ManifestRow(f"q/{i}/0.png", "query", 0, kind) for i, kind in enumerate(("gpt", "object"))]
    assert list(query_titles(rows)) == ["gpt · 0.png", "object · 0.png"]
    rows.append(ManifestRow("q/2/0.png", "query", 0, "gpt"))
    assert list(query_titles(rows)) == ["gpt · q/0/0.png", "object · q/1/0.png", "gpt · q/2/0.png"]


@pytest.fixture(scope="module")
def network(finished_demo):
    run = Run([finished_demo])
    return Network(run.files_of(Method("tiny", "pretrained")), run.config.root, "cpu"), run.reading


def encoded(image, format_, **options):
    file = io.BytesIO()
    image.save(file, format_, **options)
    return file.getvalue()


image_endings()  # without HEIF's encoder, Pillow could not save it
PICTURE = Image.effect_mandelbrot((64, 48), (-2, -1, 1, 1), 50).convert("RGB")
TALL = Image.new("L", (64, 48), 90)
READ = {
    "CMYK": encoded(PICTURE.convert("CMYK"), "JPEG"),
    "16 bits": encoded(Image.fromarray(np.arange(3072, dtype=np.uint16).reshape(48, 64) * 20), "PNG"),
    "palette": encoded(PICTURE.convert("P"), "PNG", transparency=0),
    "animated": encoded(PICTURE, "GIF", save_all=True, append_images=[TALL, PICTURE]),
    "HEIC": encoded(PICTURE, "HEIF"),
    "WebP": encoded(PICTURE, "WEBP"),
    "1 x 1": encoded(Image.new("RGB", (1, 1), "red"), "BMP"),
}
BAD = {
    "empty": (b"", "empty"),
    "text": (b"no image, but text", "no image"),
    "SVG": (b'<svg xmlns="http://www.w3.org/2000/svg"><rect width="9" height="9"/></svg>', "no image"),
    "PDF": (b"%PDF-1.7\n1 0 obj", "no image"),
    "truncated JPEG": (encoded(PICTURE, "JPEG")[:700], "truncated"),
    "truncated PNG": (encoded(PICTURE, "PNG")[:500], "truncated|Error"),
    "huge": (encoded(Image.new("1", (9000, 6000)), "PNG"), "expected at most 50000000, by this page's own limit"),
    "floats": (encoded(Image.fromarray(np.full((9, 9), 7, np.float32)), "TIFF"), "expected 0 to 1"),
}


@pytest.mark.parametrize("name", READ)
def test_images_of_all_kinds_have_a_feature(tmp_path, network, name):
    path = tmp_path / "image"
    path.write_bytes(READ[name])
    feature = network[0].feature(path, network[1])
    assert feature.shape == (48,) and np.isfinite(feature).all() and feature.any()


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_whole_image_is_refused(tmp_path, network, name):
    path = tmp_path / "image"
    path.write_bytes(BAD[name][0])
    with pytest.raises(UnreadableImage, match=BAD[name][1]):
        network[0].feature(path, network[1])


def test_features_of_files_have_no_network(finished_demo):
    registry = "{mine: {features: 'feats/{collection}.npy'}}"
    run = Run([finished_demo], ["extractors=[mine]", "variants=[pretrained]", f"extractor_registry={registry}"])
    with pytest.raises(InputError, match="mine: its features come from files"):
        Network(run.files_of(Method("mine", "pretrained")), run.config.root, "cpu")


def test_features_of_another_network_are_not_compared(finished_demo):
    run = Run([finished_demo], ["precision=bf16"])
    with pytest.raises(InputError, match="was not made by this network: precision 'bf16' against 'float32'"):
        Network(run.files_of(Method("tiny", "pretrained")), run.config.root, "cpu")
