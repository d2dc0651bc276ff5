"""The list of models that are supported is that of the libraries, and true of a sample of it."""

import csv

import pytest
from helpers.model_sweep import COLUMNS, TABLE, all_models, row_of

with open(TABLE, encoding="utf-8", newline="") as file:
    ROWS = {(row["library"], row["model"]): row for row in csv.DictReader(file)}

# Of each kind: a network of each outcome, with a text tower that cannot be built, with several outputs.
SAMPLE = [
    ("timm", "resnet18"),
    ("timm", "cait_xxs24_224"),
    ("timm", "mixer_b16_224"),
    ("timm", "swin_tiny_patch4_window7_224"),
    ("open_clip", "coca_ViT-B-32"),
    ("open_clip", "RN50"),
    ("open_clip", "xlm-roberta-base-ViT-B-32"),
]


def test_every_model_of_the_libraries_is_listed():
    """After a new timm or open_clip: tests/helpers/model_sweep.py."""
    of_other_tests = "tiny-"
    assert {row for row in all_models() if not row[1].startswith(of_other_tests)} == set(ROWS)


def test_nearly_all_models_are_supported_and_others_say_why():
    for column in ("at_own_size", "at_other_size"):
        refused = [row[column] for row in ROWS.values() if row[column] != "yes"]
        assert all(any(words in reason for words in ("its ", "it cannot", " states ")) for reason in refused), refused
        assert len(refused) < 0.1 * len(ROWS)


@pytest.mark.parametrize(("library", "model"), SAMPLE)
def test_a_row_is_true(library, model):
    assert {name: str(value) for name, value in row_of(library, model).items()} == ROWS[library, model]
    assert set(ROWS[library, model]) == set(COLUMNS)
