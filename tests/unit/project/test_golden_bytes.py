"""Golden bytes: results that change under the same version are found, and never stored."""

import numpy as np
import pytest
from helpers.golden_bytes import check, digest_of


def test_golden_bytes_are_stored_for_a_new_version_only(tmp_path):
    file = tmp_path / "golden.json"
    one, two = {"x": np.arange(3)}, {"x": np.arange(3) + 1}
    with pytest.raises(AssertionError, match=r"decode has VERSION 1; .* holds none: run `python"):
        check("decode", 1, one, file=file, store=False)
    check("decode", 1, one, file=file, store=True)
    check("rank", 7, two, file=file, store=True)
    check("decode", 1, one, file=file, store=False)
    for store in (False, True):
        with pytest.raises(AssertionError, match="decode makes other results: raise its VERSION, which is 1, and run"):
            check("decode", 1, two, file=file, store=store)
    with pytest.raises(AssertionError, match="decode has VERSION 2; .* holds those of version 1: run"):
        check("decode", 2, two, file=file, store=False)
    check("decode", 2, two, file=file, store=True)
    check("decode", 2, two, file=file, store=False)
    check("rank", 7, two, file=file, store=False)


def test_golden_bytes_tell_names_types_shapes_and_texts_apart():
    values = np.zeros((2, 3), np.float32)
    contents = [{"x": values}, {"y": values}, {"x": values.astype(np.int32)}, {"x": values.T}, {"x": values + 1}]
    contents += [{"x": ["a", "b"]}, {"x": ["ab"]}, {"x": "ab"}, {"x": [0, 1]}, {"x": values, "y": values}]
    assert len({digest_of(content) for content in contents}) == len(contents)
    assert digest_of({"x": np.array(["a", "b"], object)}) == digest_of({"x": ["a", "b"]})
