"""Heads: mappers as torch modules, whose state dicts are those of the published layout (`rank.mappers` reads them)."""

from collections import OrderedDict
from itertools import pairwise

import torch
from torch import nn

from attribench.tune.settings import Training

_FASTGDA_LAYERS = 3  # linear layers with a ReLU


class Channel(nn.Module):
    """Scale each dimension: y = w * x, from w = 1."""

    def __init__(self, dimension: int):
        super().__init__()
        self.weights = nn.Parameter(torch.ones(1, dimension))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Map rows [n, d]."""
        return rows * self.weights


class LayerNormMlp(nn.Module):
    """Normalize each row, then linear and ReLU three times, then linear: the network of FastGDA, with its names."""

    def __init__(self, dimension: int, hidden: int, outputs: int):
        super().__init__()
        widths = [dimension, *[hidden] * _FASTGDA_LAYERS]
        self.input_norm = nn.LayerNorm(dimension)
        self.layers = nn.ModuleList([nn.Linear(*pair) for pair in pairwise(widths)])
        self.output_layer = nn.Linear(hidden, outputs)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Map rows [n, d] to [n, outputs]."""
        rows = self.input_norm(rows)
        for layer in self.layers:
            rows = layer(rows).relu()
        return self.output_layer(rows)


def make_heads(training: Training, dimension: int) -> tuple[nn.Module, nn.Module]:
    """Return the mappers of real and of synthesized images of `dimension`; what is random depends on the seed alone.

    Linear and channel heads begin as the identity, so that step 0 is the features as they are. A layer-norm mlp is one map
    for both.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(training.seed)
        real = _make_head(training, dimension)
        return real, real if training.head == "layer_norm_mlp" else _make_head(training, dimension)


def _make_head(training: Training, dimension: int) -> nn.Module:
    if training.head == "linear":
        head = nn.Linear(dimension, dimension)
        nn.init.eye_(head.weight)
        nn.init.zeros_(head.bias)
        return head
    if training.head == "channel":
        return Channel(dimension)
    if training.head == "layer_norm_mlp":
        return LayerNormMlp(dimension, training.hidden, training.outputs)
    return _mlp([dimension, *[training.hidden] * (training.layers - 1), training.outputs])


def _mlp(widths: list[int]) -> nn.Sequential:
    """Return linear layers, each followed by batch normalization, ReLU after all but the last, numbered as published."""
    modules: OrderedDict[str, nn.Module] = OrderedDict()
    last = len(widths) - 2
    for layer in range(last + 1):
        modules[f"{4 * layer}"] = nn.Linear(widths[layer], widths[layer + 1], bias=False)
        modules[f"{4 * layer + 1}"] = nn.BatchNorm1d(widths[layer + 1], affine=layer < last)
        if layer < last:
            modules[f"{4 * layer + 2}"] = nn.ReLU()
    return nn.Sequential(modules)
