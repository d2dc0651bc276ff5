"""A GPU gives the bytes that the processor gives. Without a GPU, its kernels run in Triton's interpreter."""

import itertools
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from attribench.common.errors import InputError
from attribench.rank.device import has_gpu, ranking_device
from attribench.rank.ranker import Ranker
from helpers.rank_cases import cases, check, close_case, inputs, masks, run, same, unit
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("triton", reason="Triton is for Linux")
import torch
from attribench.rank import gpu

DEVICE = "cuda" if has_gpu() else "cpu"
FEW = settings(derandomize=True, deadline=None, max_examples=7, database=None)


def on_device(case, pieces=1, is_fine=False, hard_negatives=False, **options):
    """Rank a case on the device, with its database in `pieces` slices."""
    ranker = Ranker(*inputs(case), **masks(case), **options, device=DEVICE)
    device = ranker._device
    if device is not None:
        device._is_fine = is_fine
    else:
        assert not len(ranker._queries.raw), "the device is not used"
    for a, b in itertools.pairwise(np.linspace(0, len(case["x"]), pieces + 1).astype(int)):
        ranker.add(case["x"][a:b], case["x_valid"][a:b])
    if hard_negatives:
        ranker.add_hard_negatives(case["exemplars"], case["e_entry"][:, None], case["e_valid"])
    assert ranker._device is device
    return ranker.finish()


@FEW
@given(cases(), st.sampled_from([0, 1, 3, 10]), st.booleans(), st.sampled_from([1, 3]))
def test_ranks_are_those_of_a_sort_and_of_the_processor(case, top_k, is_fine, pieces):
    found = on_device(case, pieces, is_fine, top_k=top_k)
    check(case, found, top_k)
    same(run(case, top_k=top_k), found)


@settings(FEW, max_examples=4)
@given(cases(), st.data())
def test_hard_negatives_and_sizes(case, data):
    n = len(case["x"])
    options = {"top_k": 5, "sizes": [data.draw(st.integers(1, n))] if n else []}
    options["hard_negatives"] = data.draw(st.booleans())
    found = on_device(case, data.draw(st.sampled_from([1, 2])), **options)
    expected = run(case, **options)
    same(expected, found)
    assert found.ranks_at.tolist() == expected.ranks_at.tolist()


@settings(FEW, max_examples=4)
@given(st.integers(0, 2**32 - 1), st.sampled_from([16, 100]), st.sampled_from([1, 12, 67]), st.booleans(), st.data())
def test_scores_that_are_a_hair_apart(seed, dimension, n_exemplars, is_fine, data):
    """Database rows whose scores differ from an exemplar's by 1e-10, 1e-8 and more: far within every product's bound."""
    case, known = close_case(seed, dimension, n_exemplars, data)
    found = on_device(case, is_fine=is_fine, top_k=5)
    check(known, found, 5)
    same(run(case, top_k=5), found)


@pytest.mark.parametrize("is_fine", [False, True])
@pytest.mark.parametrize("dimension", [1, 64, 300])
def test_the_bounds_of_products_hold(dimension, is_fine):
    """Also for terms of one sign, where the errors of a sum add up most."""
    rng = np.random.default_rng(dimension)
    for made in (rng.standard_normal((40, dimension)), rng.random((40, dimension)) + 0.5):
        units, ones = torch.from_numpy(unit(made)).to(DEVICE), torch.ones(40, dtype=torch.float64, device=DEVICE)
        q, y = gpu.Operand.of(units, ones, is_centred=False), gpu.Operand.of(units, ones, is_centred=True)
        tile, cross, bound = gpu.multiply(q, y, is_fine)
        scores = tile.double().sum(dim=0) + (cross.double() if is_fine else 0)
        error = (scores - units @ (units - y.centre).T).abs()
        assert (error <= bound[:, None]).all() and bound.max() < (8e-5 if is_fine else 1.5e-3)


def rounded_row():
    """A unit row of which one number is rounded by the most there is in float16, and all others are exact."""
    row = [0.5 + 2.0**-12 - 2.0**-20]  # float16 has 0.5, and then 0.5 + 2^-11
    for _ in range(7):
        left = np.sqrt(max(0.0, 1 - np.square(row).sum()))
        row.append(float(np.nextafter(np.float16(left), np.float16(0))))
    return np.array(row)


@pytest.mark.parametrize("side", ["query", "row"])
@pytest.mark.parametrize("share", [0.03, 0.3, 0.6])
def test_an_error_as_large_as_the_bound(side, share):
    """Only the number that is rounded counts, of query or database row: nothing but the sums' part of the bound is slack."""
    rounded, exact = rounded_row(), np.eye(8)[0]
    a, b = (rounded, exact) if side == "query" else (exact, rounded)
    # The exemplar's score is below that of row b, by a part of the error.
    score = rounded[0] - share * (rounded[0] - 0.5)
    aside = unit((np.eye(8)[7] - a * a[7])[None])[0]
    e = score * a + np.sqrt(1 - score**2) * aside
    case = {"queries": a[None], "q_entry": [0], "exemplars": e[None], "e_entry": [0], "x": np.stack([b, -b])}
    case |= {f"{name}_valid": np.ones(n, bool) for name, n in (("q", 1), ("e", 1), ("x", 2))}
    found = on_device(case, top_k=1)
    assert found.ranks.tolist() == [2]
    same(run(case, top_k=1), found)


def test_more_exemplars_than_a_kernel_takes_at_once():
    rng = np.random.default_rng(1)
    case = {"queries": rng.standard_normal((2, 9)), "q_entry": np.zeros(2), "exemplars": rng.standard_normal((150, 9))}
    case |= {"e_entry": np.zeros(150), "x": rng.standard_normal((60, 9))}
    case |= {f"{name}_valid": np.ones(n, bool) for name, n in (("q", 2), ("e", 150), ("x", 60))}
    for is_fine in (False, True):
        same(run(case), on_device(case, is_fine=is_fine))


def tied():
    """Twelve queries, to each of which every database row is a tie of one of two exemplars."""
    rng = np.random.default_rng(0)
    exemplars = unit(rng.standard_normal((2, 64)))
    case = {"queries": unit(rng.standard_normal((12, 64))), "q_entry": np.zeros(12), "exemplars": exemplars}
    case |= {"e_entry": np.zeros(2), "x": exemplars[rng.permutation(np.arange(150) % 3 // 2)]}
    return case | {f"{name}_valid": np.ones(n, bool) for name, n in (("q", 12), ("e", 2), ("x", 150))}


def test_a_tile_in_which_every_pair_is_undecided():
    """Each query's list has space for all of them: there is nothing that could overflow."""
    case = tied()
    found = on_device(case, top_k=1)
    first_is_better = case["queries"] @ case["exemplars"][0] > case["queries"] @ case["exemplars"][1]
    assert found.ranks.reshape(12, 2).tolist() == [[101, 152] if first else [51, 152] for first in first_is_better]


def test_many_undecided_pairs_bring_the_fine_product(monkeypatch):
    monkeypatch.setattr(gpu, "_FEWEST_ROWS_TO_JUDGE", 50)
    case = tied()
    ranker = Ranker(*inputs(case), **masks(case), device=DEVICE, top_k=0)
    for start in (0, 75):
        ranker.add(case["x"][start : start + 75], None)
    assert ranker._device._is_fine
    same(ranker.finish(), run(case, top_k=0))


def test_queries_in_parts(monkeypatch):
    monkeypatch.setattr(gpu, "_FEWEST_QUERIES", 5)
    monkeypatch.setattr(gpu, "_TILE_MEMORY_SHARE", 0)
    case = tied()
    parts, multiply = [], gpu.multiply
    monkeypatch.setattr(gpu, "multiply", lambda q, *rest: parts.append(len(q.full)) or multiply(q, *rest))
    ranker = Ranker(*inputs(case), **masks(case), device=DEVICE, threads=2)
    parts.clear()
    ranker.add(case["x"][:80], None)
    ranker.add(case["x"][80:], None)
    same(ranker.finish(), run(case))
    assert parts == [5, 5, 2] * 2


def test_a_device_with_too_little_memory_ends_the_ranking_with_the_reason(monkeypatch):
    def without_memory(*operands):
        raise torch.OutOfMemoryError("out of memory")

    case = tied()
    ranker = Ranker(*inputs(case), **masks(case), device=DEVICE)
    monkeypatch.setattr(gpu, "multiply", without_memory)
    with pytest.raises(InputError, match="out of memory; expected more memory, or config key device: cpu"):
        ranker.add(case["x"], None)


def test_a_device_that_computes_otherwise_is_not_used(monkeypatch, caplog):
    """Were the sums to be exact, as here, every device would be wrong by more."""
    case = tied()
    gpu.find_fault.cache_clear()
    monkeypatch.setattr(gpu, "low_precision_sum_error", lambda columns, q, y: 0 * q)
    monkeypatch.setattr(gpu, "rounded_error", lambda q, q_rest, y, y_rest: 0 * q)
    ranker = Ranker(*inputs(case), **masks(case), device=DEVICE)
    gpu.find_fault.cache_clear()
    assert ranker._device is None and "product is wrong by" in caplog.text
    ranker.add(case["x"], None)
    same(ranker.finish(), run(case))


def test_a_device_that_counts_otherwise_is_not_used(monkeypatch, caplog):
    """As if its counts were lost on the way."""
    gpu.find_fault.cache_clear()
    monkeypatch.setattr(gpu.Scan, "finish", lambda self: None)
    ranker = Ranker(*inputs(tied()), device=DEVICE)
    gpu.find_fault.cache_clear()
    assert ranker._device is None and "a trial's ranks" in caplog.text


def test_the_device_of_the_config(caplog):
    caplog.set_level(logging.INFO)
    assert ranking_device("cpu") is None and ranking_device("mps") is None
    assert ranking_device("auto") == ("cuda" if has_gpu() else None)
    if has_gpu():
        assert ranking_device("cuda") == "cuda"
    else:
        with pytest.raises(InputError, match="device: cuda is not available"):
            ranking_device("cuda")
    case = tied()
    assert Ranker(*inputs(case), **masks(case), device=DEVICE)._device is not None
    assert f"ranking on {DEVICE}" in caplog.text


def test_the_kernels_compile_for_hopper(tmp_path):
    script = Path(__file__).parents[2] / "helpers/compile_kernels.py"
    settings = {"PYTHONPATH": str(script.parents[2] / "workflow_scripts"), "TRITON_CACHE_DIR": str(tmp_path)}
    env = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"} | settings
    done = subprocess.run([sys.executable, script], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout) == ["coarse scan", "fine scan", "settle"]
