"""The demo reads the same settings as Snakemake."""

import pytest
from attribench.common.errors import InputError
from attribench.plan.config import load
from attribench.plan.config_files import CONFIG_FILES, read_settings
from helpers import config


def test_the_shipped_files_are_those_of_the_snakefile():
    assert list(CONFIG_FILES) == config.CONFIG_FILES
    assert load(read_settings()) == load(config.DEFAULTS)


def test_files_and_pairs_are_merged_over_them(tmp_path):
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    first.write_text("bootstrap: {samples: 200}\nrecall_ks: [1, 5]\n")
    second.write_text("recall_ks: [7]\n")
    settings = load(read_settings([first, second], ["bootstrap={seed: 3}", "contact_sheet.queries=2"]))
    expected = config.merged(config.DEFAULTS, {"bootstrap": {"samples": 200, "seed": 3}, "recall_ks": [7]})
    expected["contact_sheet"]["queries"] = 2
    assert settings == load(expected)


def test_the_last_of_files_and_pairs_counts_however_a_key_is_written(tmp_path):
    dotted, nested = tmp_path / "dotted.yaml", tmp_path / "nested.yaml"
    dotted.write_text("bootstrap.samples: 200\n")
    nested.write_text("bootstrap: {samples: 300, seed: 3}\n")
    for files, pairs, samples in (
        ([dotted, nested], [], 300),
        ([nested, dotted], [], 200),
        ([dotted], ["bootstrap={samples: 400}"], 400),
        ([nested], ["bootstrap.samples=500"], 500),
    ):
        assert load(read_settings(files, pairs)).bootstrap.samples == samples, (files, pairs)


@pytest.mark.parametrize(
    "content, pairs, parts",
    [
        ("recall_ks: [1]\nrecall_ks: [2]\n", [], ["line 2", "twice"]),
        ("- color\n", [], ["mine.yaml", "list", "expected config keys"]),
        ("", ["results"], ["'results'", "KEY=VALUE"]),
        ("", ["root="], ["'root='", "KEY=VALUE"]),
    ],
)
def test_what_is_no_setting_is_refused(tmp_path, content, pairs, parts):
    (tmp_path / "mine.yaml").write_text(content)
    with pytest.raises(InputError) as error:
        read_settings([tmp_path / "mine.yaml"], pairs)
    assert all(part in str(error.value) for part in parts), error.value
