"""The loss of tuning: contrastive in both directions, and for linear heads a penalty."""

import torch
from torch.nn.functional import cross_entropy, normalize


def nt_xent(
    queries: torch.Tensor,
    exemplars: torch.Tensor,
    negatives: torch.Tensor | None,
    own: torch.Tensor,
    temperature: float,
) -> torch.Tensor:
    """Return the symmetric NT-Xent loss of mapped queries [b, d] with one exemplar each, exemplars [b, d].

    own: bool [b, b], whether exemplar j is one of query i's entry: such an exemplar is never its negative. negatives: mapped
    database rows [n, d], which are negatives of every query. The loss is the mean of two cross entropies of cosines divided
    by the temperature: of a query's exemplar among the other entries' exemplars and the negatives, and of an exemplar's
    query among the queries of other entries.
    """
    queries, exemplars = normalize(queries), normalize(exemplars)
    target = torch.arange(len(queries), device=queries.device)
    is_other_own = own & ~torch.eye(len(own), dtype=torch.bool, device=own.device)
    scores = (queries @ exemplars.T / temperature).masked_fill(is_other_own, float("-inf"))
    of_exemplars = cross_entropy(scores.T, target)
    if negatives is not None:
        scores = torch.cat([scores, queries @ normalize(negatives).T / temperature], dim=1)
    return (cross_entropy(scores, target) + of_exemplars) / 2


class _Deviation(torch.autograd.Function):
    """Compute the deviation with two products of matrices; autograd would take three, and they are most of a step."""

    @staticmethod
    def forward(ctx, weight: torch.Tensor) -> torch.Tensor:
        excess = weight.T @ weight
        excess.diagonal().sub_(1)
        ctx.save_for_backward(weight, excess)
        return excess.square().sum() / len(excess)

    @staticmethod
    def backward(ctx, gradient: torch.Tensor) -> torch.Tensor:
        weight, excess = ctx.saved_tensors
        return weight @ excess * (4 * gradient / len(excess))


def deviation_from_orthogonality(weight: torch.Tensor) -> torch.Tensor:
    """Return |W'W - I|^2 / d of a matrix W [p, d], by the Frobenius norm."""
    return _Deviation.apply(weight)
