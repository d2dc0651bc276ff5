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
from attribench.errors import InputError
from attribench.rank import RankAccumulator
from attribench.rank_device import has_gpu, ranking_device
from hypothesis import given, settings
from hypothesis import strategies as st
from rank_cases import cases, check, close_case, inputs, masks, run, same, unit

pytest.importorskip("triton", reason="Triton is for Linux")
import torch
from attribench import rank_cuda, rank_cuda_filters

DEVICE = "cuda" if has_gpu() else "cpu"
FEW = settings(derandomize=True, deadline=None, max_examples=7, database=None)


def scan(case, pieces=1, is_fine=False, hard_negatives=False, **options):
    """Rank a case on the device, with its database in `pieces` slices."""
    accumulator = RankAccumulator(*inputs(case), **masks(case), **options, device=DEVICE)
    device = accumulator._device
    if device is not None:
        device._filter = device._fine if is_fine else device._filter
    else:
        assert not len(accumulator._queries), "the device is not used"
    n = len(case["x"])
    for a, b in itertools.pairwise(np.linspace(0, n, pieces + 1).astype(int)):
        accumulator.add(case["x"][a:b], case["x_valid"][a:b], a)
    if hard_negatives:
        accumulator.add_hard_negatives(case["exemplars"], case["e_entry"], case["e_valid"], n)
    assert accumulator._device is device
    return accumulator.finish()


@FEW
@given(cases(), st.sampled_from([0, 1, 3, 10]), st.booleans(), st.sampled_from([1, 3]))
def test_ranks_are_those_of_a_sort_and_of_the_processor(case, top_k, is_fine, pieces):
    found = scan(case, pieces, is_fine, top_k=top_k)
    check(case, found, top_k)
    same(run(case, top_k=top_k), found)


@settings(FEW, max_examples=4)
@given(cases(), st.data())
def test_hard_negatives_and_sizes(case, data):
    n = len(case["x"])
    options = {"top_k": 5, "sizes": [data.draw(st.integers(1, n))] if n else []}
    options["hard_negatives"] = data.draw(st.booleans())
    found = scan(case, data.draw(st.sampled_from([1, 2])), **options)
    expected = run(case, **options)
    same(expected, found)
    assert found.ranks_at.tolist() == expected.ranks_at.tolist()


@settings(FEW, max_examples=4)
@given(st.integers(0, 2**32 - 1), st.sampled_from([16, 100]), st.sampled_from([1, 12, 67]), st.booleans(), st.data())
def test_scores_that_are_a_hair_apart(seed, dimension, n_exemplars, is_fine, data):
    """Database rows whose scores differ from an exemplar's by 1e-10, 1e-8 and more: far within every filter's bound."""
    case, known = close_case(seed, dimension, n_exemplars, data)
    found = scan(case, is_fine=is_fine, top_k=5)
    check(known, found, 5)
    same(run(case, top_k=5), found)


@pytest.mark.parametrize("is_fine", [False, True])
@pytest.mark.parametrize("dimension", [1, 64, 300])
def test_the_filter_bounds_hold(dimension, is_fine):
    """Also for terms of one sign, where the errors of a sum add up most."""
    rng = np.random.default_rng(dimension)
    kind = rank_cuda_filters.Filter(dimension, is_fine)
    for made in (rng.standard_normal((40, dimension)), rng.random((40, dimension)) + 0.5):
        units = unit(made)
        rows = rank_cuda_filters.Operand.of(units, torch.device(DEVICE))
        storage = torch.empty(rank_cuda_filters.Lists.size(40, 40), dtype=torch.int32, device=DEVICE)
        lists = rank_cuda_filters.Lists.empty(40, 40, storage)
        kind.find(rows, rows, torch.full((40,), -np.inf, device=DEVICE), lists)
        error = np.abs(lists.matrix(40).cpu().numpy() - units @ units.T)
        bound = kind.bound(rows, rows).cpu().numpy()[:, None]
        assert (error <= bound).all() and bound.max() < (3e-5 if is_fine else 1.5e-3)


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
    """Of query or database row, only the number that is rounded counts: nothing but the sums' part of the bound is slack."""
    rounded, exact = rounded_row(), np.eye(8)[0]
    a, b = (rounded, exact) if side == "query" else (exact, rounded)
    # The exemplar's score is below that of row b, by a part of the error.
    score = rounded[0] - share * (rounded[0] - 0.5)
    aside = unit((np.eye(8)[7] - a * a[7])[None])[0]
    e = score * a + np.sqrt(1 - score**2) * aside
    case = {"queries": a[None], "q_entry": [0], "exemplars": e[None], "e_entry": [0], "x": np.stack([b, -b])}
    case |= {f"{name}_valid": np.ones(n, bool) for name, n in (("q", 1), ("e", 1), ("x", 2))}
    found = scan(case, top_k=1)
    assert found.ranks.tolist() == [2]
    same(run(case, top_k=1), found)


def test_more_exemplars_than_a_kernel_takes_at_once():
    rng = np.random.default_rng(1)
    case = {"queries": rng.standard_normal((2, 9)), "q_entry": np.zeros(2), "exemplars": rng.standard_normal((150, 9))}
    case |= {"e_entry": np.zeros(150), "x": rng.standard_normal((60, 9))}
    case |= {f"{name}_valid": np.ones(n, bool) for name, n in (("q", 2), ("e", 150), ("x", 60))}
    for is_fine in (False, True):
        same(run(case), scan(case, is_fine=is_fine))


def tied():
    """Twelve queries, to each of which every database row is a tie of one of two exemplars."""
    rng = np.random.default_rng(0)
    exemplars = unit(rng.standard_normal((2, 64)))
    case = {"queries": unit(rng.standard_normal((12, 64))), "q_entry": np.zeros(12), "exemplars": exemplars}
    case |= {"e_entry": np.zeros(2), "x": exemplars[rng.permutation(np.arange(150) % 3 // 2)]}
    return case | {f"{name}_valid": np.ones(n, bool) for name, n in (("q", 12), ("e", 2), ("x", 150))}


def test_a_tile_in_which_every_pair_is_in_doubt():
    """Each of a query's lists has room for all of them: there is nothing that could overflow."""
    case = tied()
    found = scan(case, top_k=1)
    first_is_better = case["queries"] @ case["exemplars"][0] > case["queries"] @ case["exemplars"][1]
    assert found.ranks.reshape(12, 2).tolist() == [[101, 152] if first else [51, 152] for first in first_is_better]


def test_deep_exemplars_bring_the_fine_filter(monkeypatch):
    monkeypatch.setattr(rank_cuda, "_TELLING", 50)
    case = tied()
    accumulator = RankAccumulator(*inputs(case), **masks(case), device=DEVICE, top_k=0)
    for start in (0, 75):
        accumulator.add(case["x"][start : start + 75], None, start)
    same(accumulator.finish(), run(case, top_k=0))
    assert accumulator._device._filter is accumulator._device._fine


def test_many_queries_in_parts_and_parts_of_a_database(monkeypatch):
    """Five queries at a time; two accumulators that are merged, of which one has no device."""
    monkeypatch.setattr(rank_cuda, "_FEWEST", 5)
    monkeypatch.setattr(rank_cuda, "_LISTS", 0)
    monkeypatch.setattr(rank_cuda, "_LISTS_ELSEWHERE", 0)
    case = tied()
    parts = [RankAccumulator(*inputs(case), **masks(case), device=device, threads=2) for device in (DEVICE, None)]
    parts[0].add(case["x"][:80], None, 0)
    parts[1].add(case["x"][80:], None, 80)
    parts[1].merge(parts[0])
    same(parts[1].finish(), run(case))


@pytest.mark.parametrize("room", [2_000, 0])
def test_a_full_device_gets_fewer_queries_or_none(monkeypatch, caplog, room):
    case, empty, asked = tied(), torch.empty, []

    def with_little_room(size, **options):
        if isinstance(size, int) and size > room:
            asked.append(size)
            raise torch.OutOfMemoryError("out of memory")
        return empty(size, **options)

    monkeypatch.setattr(rank_cuda, "_FEWEST", 2)
    accumulator = RankAccumulator(*inputs(case), **masks(case), device=DEVICE)
    monkeypatch.setattr(torch, "empty", with_little_room)
    accumulator.add(case["x"], None, 0)
    ranking = accumulator.finish()
    assert len(asked) > 1 and asked == sorted(asked, reverse=True)
    assert (accumulator._device is None) == (room == 0) == ("out of memory" in caplog.text)
    monkeypatch.undo()
    same(ranking, run(case))


def test_a_device_that_computes_otherwise_is_not_used(monkeypatch, caplog):
    """Were the sums to be exact, as here, every device would be wrong by more."""
    case = tied()
    rank_cuda_filters.fault.cache_clear()
    monkeypatch.setattr(rank_cuda_filters, "sum_bound", lambda dimension, unit: 0.0)
    accumulator = RankAccumulator(*inputs(case), **masks(case), device=DEVICE)
    rank_cuda_filters.fault.cache_clear()
    assert accumulator._device is None and "product is wrong by" in caplog.text
    accumulator.add(case["x"], None, 0)
    same(accumulator.finish(), run(case))


def test_a_device_that_counts_otherwise_is_not_used(monkeypatch, caplog):
    """As if it did not see what is in doubt."""
    case = tied()
    rank_cuda.difference.cache_clear()
    monkeypatch.setattr(rank_cuda_filters.Filter, "bound", lambda self, a, b: 0 * a.length)
    accumulator = RankAccumulator(*inputs(case), **masks(case), device=DEVICE)
    rank_cuda.difference.cache_clear()
    assert accumulator._device is None and "a trial's ranks" in caplog.text


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
    assert RankAccumulator(*inputs(case), **masks(case), device=DEVICE)._device is not None
    assert "ranking on " in caplog.text


def test_the_kernels_compile_for_hopper(tmp_path):
    """With the shared memory that it has (227 KB a block), and no sums moved out of registers."""
    script = Path(__file__).parent / "compile_kernels.py"
    settings = {"PYTHONPATH": str(script.parents[1] / "workflow_scripts"), "TRITON_CACHE_DIR": str(tmp_path)}
    env = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"} | settings
    done = subprocess.run([sys.executable, script], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    used = json.loads(done.stdout)
    assert all(shared <= 227 * 1024 for shared, _ in used.values()), used
    assert used["coarse"][1] == used["fine"][1] == 0, used
