"""Mappers: learned maps that a variant applies to raw features, one to real images and one to synthesized ones.

A checkpoint (`formats.checkpoint`) has two state dicts: `real_mapper` maps database and exemplars, `synth_mapper` maps
queries. Its type and its sizes follow from the tensors:

linear          `weight` [p, d] and `bias` [p] or none: y = W x + b
channel         `weights` [1, d] or [d]: y = w * x
mlp             numbered layers: linear ones (`N.weight` [p, d], perhaps `N.bias`), each followed by batch normalization in
                inference mode (`N.running_mean`, `N.running_var`, perhaps `N.weight` and `N.bias`), ReLU after each but
                the last
layer_norm_mlp  layer normalization (`N.weight` [d], `N.bias` [d]) and linear layers, ReLU after each linear one but the
                last; or FastGDA's names for them: `input_norm` (which may be missing), `layers.N`, `output_layer`

Any other sequence is refused: where its ReLUs are cannot be told from tensors.

Ranks depend on mapped features, so these are computed in one fixed sequence of float64 operations, as scores are
(`score`): block size, threads and machine change no bit.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit

from attribench.common.errors import InputError
from attribench.formats.checkpoint import SIDES, read_checkpoint

NORM_EPS = 1e-5  # of both normalizations: torch's default, which no checkpoint states
_Layer = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Mapper:
    """Map features [n, dimension] to float64 [n, output]; `label` names the mapper in errors."""

    layers: tuple[_Layer, ...]
    dimension: int
    output: int
    label: str

    def __call__(self, features: np.ndarray, threads: int = 1) -> np.ndarray:
        """Map raw rows [n, dimension], float16, float32 or float64. Raises InputError for another dimension."""
        if features.shape[1] != self.dimension:
            raise InputError(f"{self.label}: maps {self.dimension} dimensions; the features have {features.shape[1]}")
        cuts = np.linspace(0, len(features), threads + 1).astype(int)
        with ThreadPoolExecutor(threads) as pool:
            parts = pool.map(lambda cut: self._map(features[cut[0] : cut[1]]), pairwise(cuts))
            return np.concatenate(list(parts))

    def _map(self, features: np.ndarray) -> np.ndarray:
        rows = features.astype(np.float64)
        for layer in self.layers:
            rows = layer(rows)
        return rows


def load_mappers(path: Path | str) -> tuple[Mapper, Mapper]:
    """Return the real and the synthesized mapper of the checkpoint at `path`.

    Raises InputError that names the file for one that is missing, needs more than plain tensors, or has another layout.
    """
    checkpoint = read_checkpoint(path)
    states = (checkpoint.real, checkpoint.synth)
    real, synth = (_mapper(f"{path}: {side}", state) for side, state in zip(SIDES, states, strict=True))
    if (real.dimension, real.output) != (synth.dimension, synth.output):
        raise InputError(
            f"{path}: real_mapper maps {real.dimension} to {real.output} dimensions, synth_mapper {synth.dimension} to "
            f"{synth.output}; expected the same, as their outputs are compared"
        )
    return real, synth


def _mapper(where: str, state: dict[str, Any]) -> Mapper:
    tensors = {str(name): _array(where, name, tensor) for name, tensor in state.items()}
    if set(tensors) == {"weights"}:
        scale = tensors["weights"]
        if scale.ndim not in (1, 2) or scale.size == 0 or scale.shape[-1] != scale.size:
            raise InputError(f"{where}: weights is {list(scale.shape)}; expected [1, d]")
        scale = scale.reshape(-1)
        return Mapper((lambda rows: rows * scale,), len(scale), len(scale), where)
    if any(name.removeprefix("mlp.").startswith("output_layer.") for name in tensors):
        return _sequence(where, _numbered(where, _as_numbered(where, tensors)), is_named=True)
    if "weight" in tensors:
        tensors = {f"0.{name}": tensor for name, tensor in tensors.items()}
    return _sequence(where, _numbered(where, tensors))


def _as_numbered(where: str, tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the tensors of FastGDA's network by numbers of layers; `scale` and `bias` of its predictions rank nothing."""
    names = {name.removeprefix("mlp."): tensor for name, tensor in tensors.items() if name not in ("scale", "bias")}
    last, renamed = len(names), {}
    for name, tensor in names.items():
        first, _, rest = name.partition(".")
        number, _, of_layer = rest.partition(".")
        if first == "layers" and number.isdecimal() and int(number) < last:
            renamed[f"{int(number) + 1}.{of_layer}"] = tensor
        elif first in ("input_norm", "output_layer"):
            renamed[f"{0 if first == 'input_norm' else last + 1}.{rest}"] = tensor
        else:
            raise InputError(f"{where}: unknown tensor {name!r}; expected `input_norm`, `layers.N` and `output_layer`")
    return renamed


def _array(where: str, name: str, tensor: Any) -> np.ndarray:
    dtype = str(getattr(tensor, "dtype", type(tensor).__name__)).removeprefix("torch.")
    is_count = name.endswith("num_batches_tracked")
    if not hasattr(tensor, "detach") or not (dtype.startswith(("float", "bfloat")) or is_count) or tensor.is_sparse:
        raise InputError(f"{where}: {name} is {dtype}; expected a dense tensor of floating point")
    values = tensor.detach().double().numpy()
    if not np.isfinite(values).all():
        raise InputError(f"{where}: {name} holds NaN or Inf; expected finite numbers")
    return values


def _numbered(where: str, tensors: dict[str, np.ndarray]) -> list[dict[str, np.ndarray]]:
    """Return the tensors of each numbered layer, in order."""
    layers: dict[int, dict[str, np.ndarray]] = {}
    for name, tensor in tensors.items():
        number, _, rest = name.partition(".")
        if not number.isdecimal() or rest not in _LINEAR | _BATCH_NORM:
            raise InputError(
                f"{where}: unknown tensor {name!r}; expected `weight` and `bias` (linear), `weights` (channel), or "
                "numbered linear and normalization layers (mlp)"
            )
        layers.setdefault(int(number), {})[rest] = tensor
    return [layers[number] for number in sorted(layers)]


_LINEAR = {"weight", "bias"}
_BATCH_NORM = {"weight", "bias", "running_mean", "running_var", "num_batches_tracked"}


def _sequence(where: str, layers: list[dict[str, np.ndarray]], is_named: bool = False) -> Mapper:
    """Return linear layers, normalizations and ReLUs in their order; `is_named`: by names that tell where ReLUs are."""
    kinds = [_kind(tensors) for tensors in layers]
    has_batch_norms = kinds == ["linear", "normalization"] * (len(kinds) // 2)
    if not is_named and kinds != ["linear"] and not has_batch_norms and not _has_layer_norms(kinds):
        raise InputError(
            f"{where}: layers are {', '.join(kinds)}; expected one linear layer, or linear, normalization, …, or "
            "layer normalization, linear, …, linear"
        )
    width, dimension, steps = None, None, []
    for number, (kind, tensors) in enumerate(zip(kinds, layers, strict=True)):
        if kind == "normalization":
            steps.append(_batch_norm(where, tensors, width))
        elif kind == "layer normalization":
            width = width or len(tensors["weight"])
            steps.append(_layer_norm(where, tensors, width))
        else:
            weight = tensors.get("weight", np.empty(0))
            if weight.ndim != 2 or (width is not None and weight.shape[1] != width):
                raise InputError(
                    f"{where}: a linear layer's weight is {list(weight.shape)}; expected [p, {width or 'd'}]"
                )
            steps.append(_linear(where, weight, tensors.get("bias")))
            width = weight.shape[0]
        if number == 0:
            dimension = width if kind == "layer normalization" else weight.shape[1]
        if number + 1 < len(layers) and kind == ("normalization" if has_batch_norms else "linear"):
            steps.append(_relu)
    return Mapper(tuple(steps), dimension, width, where)


def _kind(tensors: dict[str, np.ndarray]) -> str:
    if "running_mean" in tensors:
        return "normalization"
    return "layer normalization" if tensors.get("weight", np.empty(0)).ndim == 1 and "weight" in tensors else "linear"


def _has_layer_norms(kinds: list[str]) -> bool:
    """Return whether there are only linear layers, the last is one, and each normalization of the others is before one."""
    norms = [number for number, kind in enumerate(kinds) if kind == "layer normalization"]
    others = {kind for kind in kinds if kind != "layer normalization"}
    return norms[:1] == [0] and others == {"linear"} and all(kinds[n + 1 : n + 2] == ["linear"] for n in norms)


def _linear(where: str, weight: np.ndarray, bias: np.ndarray | None) -> _Layer:
    if bias is not None and bias.shape != weight.shape[:1]:
        raise InputError(f"{where}: a bias is {list(bias.shape)}; expected [{len(weight)}]")
    transposed = np.ascontiguousarray(weight.T)
    if bias is None:
        return lambda rows: product(rows, transposed)
    return lambda rows: product(rows, transposed) + bias


def _batch_norm(where: str, tensors: dict[str, np.ndarray], width: int | None) -> _Layer:
    per_channel = {name: tensor for name, tensor in tensors.items() if name != "num_batches_tracked"}
    wrong = {name: list(tensor.shape) for name, tensor in per_channel.items() if tensor.shape != (width,)}
    if wrong or "running_var" not in tensors:
        raise InputError(
            f"{where}: batch normalization has {wrong or sorted(tensors)}; expected mean and variance [{width}]"
        )
    if (tensors["running_var"] < 0).any():
        raise InputError(f"{where}: a variance of batch normalization is negative; expected none")
    mean, deviation = tensors["running_mean"], np.sqrt(tensors["running_var"] + NORM_EPS)
    scale, shift = tensors.get("weight", 1.0), tensors.get("bias", 0.0)
    return lambda rows: (rows - mean) / deviation * scale + shift


def _layer_norm(where: str, tensors: dict[str, np.ndarray], width: int) -> _Layer:
    scale, shift = tensors["weight"], tensors.get("bias", np.zeros(width))
    if scale.shape != (width,) or shift.shape != (width,):
        found = {"weight": list(scale.shape), "bias": list(shift.shape)}
        raise InputError(f"{where}: layer normalization has {found}; expected [{width}]")
    ones = np.ones((width, 1))

    def normalize(rows: np.ndarray) -> np.ndarray:
        centred = rows - product(rows, ones) / width
        deviation = np.sqrt(product(centred * centred, ones) / width + NORM_EPS)
        return centred / deviation * scale + shift

    return normalize


def _relu(rows: np.ndarray) -> np.ndarray:
    return np.maximum(rows, 0.0)


_COLUMNS = 64  # outputs at a time: their slice of the matrix stays in the cache


def product(rows: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return rows [n, d] @ weight [d, p], float64, in one fixed sequence of operations."""
    out = np.empty((len(rows), weight.shape[1]))
    _multiply(np.ascontiguousarray(rows, np.float64), np.ascontiguousarray(weight, np.float64), out)
    return out


@njit(cache=True, nogil=True)
def _multiply(rows, weight, out):
    """Write rows [n, d] @ weight [d, p] to out: each sum in the order of d, each operation rounded.

    Four products are added at a time, one after the other: the same operations as one by one, with fewer stores.
    """
    n, d = rows.shape
    p = weight.shape[1]
    for first in range(0, p, _COLUMNS):
        last = min(first + _COLUMNS, p)
        block = weight[:, first:last].copy()
        for r in range(n):
            row, total = rows[r], out[r, first:last]
            total[:] = 0.0
            whole = d - d % 4
            for i in range(0, whole, 4):
                a, b, c, e = row[i], row[i + 1], row[i + 2], row[i + 3]
                wa, wb, wc, we = block[i], block[i + 1], block[i + 2], block[i + 3]
                for j in range(last - first):
                    total[j] = (((total[j] + a * wa[j]) + b * wb[j]) + c * wc[j]) + e * we[j]
            for i in range(whole, d):
                a, wa = row[i], block[i]
                for j in range(last - first):
                    total[j] += a * wa[j]
