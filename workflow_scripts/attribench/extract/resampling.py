"""Networks at another size of images than they were trained at: what depends on the size is resampled, or it is refused."""

from collections.abc import Callable
from math import isqrt
from typing import Any

from attribench.common.errors import InputError, first_line


def at_size(
    network: Any, own: int, size: int, *, rebuild: Callable[[int], Any] | None, trained: bool
) -> tuple[Any, str]:
    """Return `network`, which is for images of `own` pixels, for images of `size`; and what was resampled, in words.

    rebuild: makes the same network, not trained, for images of a size, if that is possible; a network of timm may be able to
    resample itself. trained: whether the network's tensors mean anything. Raises InputError where they cannot be resampled.
    """
    if size == own or not (rebuild or hasattr(network, "set_input_size")):
        return network, ""
    if hasattr(network, "set_input_size"):
        _try(lambda: network.set_input_size(img_size=(size, size)), size)
        return network, _described("what depends on the size", own, size)
    try:
        resized = _try(lambda: rebuild(size), size)
    except TypeError:  # no size can be given: the forward pass will show whether it takes this one
        return network, ""
    if not trained:
        return resized, ""
    tensors, names = network.state_dict(), []
    for name, wanted in resized.state_dict().items():
        if name in tensors and tensors[name].shape != wanted.shape:
            tensors[name] = resample_positions(name, tensors[name], wanted.shape)
            names.append(name)
    resized.load_state_dict(tensors, strict=True)
    return resized, _described(", ".join(names), own, size) if names else ""


def resample_positions(name: str, tensor: Any, shape: tuple[int, ...]) -> Any:
    """Return a position embedding [..., tokens, d] for the tokens of `shape`.

    They are a square grid, and before it a class token or none. Raises InputError for a tensor `name` that is none.
    """
    from timm.layers import resample_abs_pos_embed

    (*_, n, d), (*_, wanted, d_wanted) = tensor.shape, shape
    prefix = n - isqrt(n) ** 2
    side = isqrt(wanted - prefix) if wanted > prefix else 0
    is_embedding = name.rpartition(".")[2] in ("pos_embed", "positional_embedding") and tensor.ndim in (2, 3)
    if not is_embedding or d != d_wanted or prefix not in (0, 1) or side**2 + prefix != wanted:
        raise InputError(
            f"its tensor {name} {list(tensor.shape)} depends on the size of the images, and cannot be resampled to "
            f"{list(shape)}; expected `crop` to be the model's own, or another model"
        )
    grids = {"new_size": [side, side], "old_size": [isqrt(n)] * 2, "num_prefix_tokens": prefix}
    return resample_abs_pos_embed(tensor.reshape(1, n, d), **grids).reshape(shape)


def _described(what: str, own: int, size: int) -> str:
    return f"{what}: from {own} to {size} pixels"


def _try(make: Callable[[], Any], size: int) -> Any:
    """Return what `make` does; errors of the library's become InputError, but a TypeError, of an argument that it lacks."""
    try:
        return make()
    except (InputError, TypeError):
        raise
    except Exception as error:
        raise InputError(
            f"it cannot be made for images of {size} pixels ({first_line(error)}); expected another `crop`"
        ) from error
