"""The loss and its gradient against a direct computation in NumPy."""

import numpy as np
import pytest
import torch
from attribench.tune.loss import deviation_from_orthogonality, nt_xent

RNG = np.random.default_rng(5)
QUERIES, EXEMPLARS, NEGATIVES = (RNG.standard_normal((n, 6)) for n in (5, 5, 3))
# Queries 0 and 3 are of one entry, with the exemplars 0 and 3; exemplar 4 is query 1's too: an image of two entries.
OWN = np.eye(5, dtype=bool)
OWN[0, 3] = OWN[3, 0] = OWN[1, 4] = True
TEMPERATURE = 0.3


def direct(queries, exemplars, negatives):
    """Return the loss, written out pair by pair."""
    queries, exemplars, negatives = (
        rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (queries, exemplars, negatives)
    )
    total = 0.0
    for i in range(len(queries)):
        similarity = np.exp(queries[i] @ exemplars.T / TEMPERATURE)
        others = sum(similarity[j] for j in range(len(exemplars)) if not OWN[i, j])
        others += np.exp(queries[i] @ negatives.T / TEMPERATURE).sum()
        total -= np.log(similarity[i] / (similarity[i] + others))
        similarity = np.exp(queries @ exemplars[i] / TEMPERATURE)
        others = sum(similarity[j] for j in range(len(queries)) if not OWN[j, i])
        total -= np.log(similarity[i] / (similarity[i] + others))
    return total / (2 * len(queries))


def test_the_loss_and_its_gradient_are_those_of_a_direct_computation():
    arrays = [QUERIES, EXEMPLARS, NEGATIVES]
    tensors = [torch.tensor(array, requires_grad=True) for array in arrays]
    loss = nt_xent(*tensors, torch.from_numpy(OWN), TEMPERATURE)
    loss.backward()
    assert loss.item() == pytest.approx(direct(*arrays), rel=1e-12)
    for number, tensor in enumerate(tensors):
        for index in np.ndindex(arrays[number].shape):
            ends = []
            for step in (1e-6, -1e-6):
                moved = [array.copy() for array in arrays]
                moved[number][index] += step
                ends.append(direct(*moved))
            assert float(tensor.grad[index]) == pytest.approx((ends[0] - ends[1]) / 2e-6, abs=1e-8)


def test_an_exemplar_of_the_same_entry_is_no_negative():
    """To move it changes nothing, but as the positive of its own query."""
    tensors = [torch.tensor(array) for array in (QUERIES[:2], EXEMPLARS[:2])]
    alone = [nt_xent(tensors[0][[i]], tensors[1][[i]], None, torch.ones(1, 1, dtype=bool), 0.1) for i in (0, 1)]
    together = nt_xent(*tensors, None, torch.ones(2, 2, dtype=bool), 0.1)
    assert float(together) == pytest.approx(float(sum(alone) / 2)) == 0


def test_the_penalty_and_its_gradient_are_autograds():
    weight = torch.tensor(RNG.standard_normal((4, 6)), requires_grad=True)
    ((weight.T @ weight - torch.eye(6)) ** 2).sum().div(6).backward()
    expected, weight.grad = weight.grad, None
    (3 * deviation_from_orthogonality(weight)).backward()
    torch.testing.assert_close(weight.grad, 3 * expected, rtol=1e-12, atol=1e-12)
    rotation = torch.linalg.qr(torch.tensor(RNG.standard_normal((6, 6))))[0]
    assert float(deviation_from_orthogonality(rotation)) == pytest.approx(0, abs=1e-24)
