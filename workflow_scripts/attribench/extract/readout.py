"""From what a network returns to features: which of its outputs, and what becomes of its positions."""

from typing import Any, Literal

from attribench.common.errors import InputError, first_line, nearest

Pool = Literal["mean", "max", "token"]


def read_out(outputs: Any, n: int, output: int | str | None = None, pool: Pool | None = None) -> Any:
    """Return the features [n, d] in what a network returned for `n` images.

    output: the number or name of one of several outputs. pool: what becomes of the positions of tokens [n, positions, d] or
    of a map [n, d, height, width]: their mean, their maximum, or the first `token` alone. Raises InputError that names the
    keys of an extractor which are needed.
    """
    import torch

    if output is not None:
        outputs = _chosen(outputs, output)
    if not isinstance(outputs, torch.Tensor):
        raise InputError(f"its network returns {_described(outputs)}; expected one tensor: choose it by `output`")
    if pool is not None:
        outputs = _pooled(outputs, pool)
    if outputs.ndim == 4 and outputs.shape[2:] == (1, 1):
        outputs = outputs.flatten(1)
    if outputs.ndim not in (2, 3, 4) or len(outputs) != n or not outputs.is_floating_point():
        raise InputError(f"its network returns {_described(outputs)} for {n} images; expected floating point [{n}, d]")
    if outputs.ndim != 2:
        raise InputError(
            f"its network returns {_described(outputs)}; expected [{n}, d]: give `pool`, which is mean or max over the "
            "positions of tokens [n, positions, d] or of a map [n, d, height, width], or `token`, the first of the tokens"
        )
    return outputs


def _chosen(outputs: Any, output: int | str) -> Any:
    """Return the output of this number or name."""
    names = _names(outputs)
    if output not in names:
        hint = nearest(str(output), names)
        raise InputError(
            f"its network returns {_described(outputs)}; expected `output` to be one of {names or 'none'}{hint}"
        )
    return getattr(outputs, output) if isinstance(outputs, tuple) and isinstance(output, str) else outputs[output]


def _names(outputs: Any) -> list[int | str]:
    """Return what `output` may be."""
    if isinstance(outputs, dict):
        return list(outputs)
    return [*range(len(outputs)), *getattr(outputs, "_fields", ())] if isinstance(outputs, list | tuple) else []


def _pooled(tensor: Any, pool: Pool) -> Any:
    """Return [n, d] of tokens [n, positions, d] or a map [n, d, height, width]."""
    if tensor.ndim not in (3, 4) or (pool == "token" and tensor.ndim != 3):
        wanted = "tokens [n, positions, d]" + " or a map [n, d, height, width]" * (pool != "token")
        raise InputError(f"its network returns {_described(tensor)}; expected {wanted} for `pool: {pool}`")
    if pool == "token":
        return tensor[:, 0]
    positions = (1,) if tensor.ndim == 3 else (2, 3)
    return tensor.mean(positions) if pool == "mean" else tensor.amax(positions)


def _described(outputs: Any) -> str:
    """Return what `outputs` are, in words: the type and shape of a tensor, or of each of several."""
    if hasattr(outputs, "shape"):
        kind = (
            ""
            if str(outputs.dtype).startswith("torch.")
            else f"a {type(outputs).__module__} {type(outputs).__name__} of "
        )
        return f"{kind}{str(outputs.dtype).removeprefix('torch.')} {list(outputs.shape)}"
    if isinstance(outputs, dict):
        return f"a dict of {', '.join(f'{name!r}: {_described(value)}' for name, value in outputs.items())}"
    if isinstance(outputs, list | tuple):
        return f"a {type(outputs).__name__} of {', '.join(map(_described, outputs))}"
    return type(outputs).__name__


def cannot_run(error: BaseException, size: int) -> InputError:
    """Return the error for a network that raised `error` on images of `size` pixels."""
    return InputError(
        f"its network cannot take images of {size} x {size} pixels ({type(error).__name__}: {first_line(error)}); "
        "expected a network that runs; if it is the size, another `crop` (and `resize`), such as the model's own"
    )
