"""The checkpoint of a pair of mappers: the published layout (.pth), and safetensors with what the mappers were made from.

A .pth is a dict of two state dicts, `real_mapper` for database and exemplars and `synth_mapper` for queries, with
`trained_on` where it is known. FastGDA's released weights are one state dict, which maps both. A .safetensors file has the
tensors under `real_mapper.NAME` and `synth_mapper.NAME`, and the metadata `provenance` as JSON, which holds `trained_on`.
"""

import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from attribench.common.errors import InputError, first_line
from attribench.common.files import atomic_path, open_given, refuse_placeholder
from attribench.common.torch_files import load_plain

SIDES = ("real_mapper", "synth_mapper")
_FASTGDA = "output_layer.weight"  # a name that is in FastGDA's state dicts alone, perhaps below `mlp.`


@dataclass(frozen=True)
class TrainedOn:
    """Say what mappers were trained on: the features of an `extractor`, and splits of a benchmark.

    train: the splits whose entries the loss was computed on. val: those that chose among steps and settings.
    """

    extractor: str
    benchmark: str
    train: tuple[str, ...]
    val: tuple[str, ...]

    def seen(self, benchmark: str, split: str) -> str:
        """Return what part a split had in the training: `train`, `val`, or `no` for none.

        `unknown` for a split of another benchmark, which may have the same images under other names.
        """
        if benchmark != self.benchmark:
            return "unknown"
        return "train" if split in self.train else "val" if split in self.val else "no"

    @classmethod
    def from_plain(cls, where: Path | str, plain: Any) -> "TrainedOn":
        """Return what `plain`, as `asdict` makes it, says. Raises InputError that names the file for anything else."""
        is_text = isinstance(plain, dict) and {"extractor", "benchmark", "train", "val"} <= {*plain}
        if not is_text or not all(isinstance(plain[name], list | tuple) for name in ("train", "val")):
            raise InputError(f"{where}: trained_on is {plain!r}; expected extractor, benchmark, train and val")
        splits = (tuple(map(str, plain[name])) for name in ("train", "val"))
        return cls(str(plain["extractor"]), str(plain["benchmark"]), *splits)


@dataclass(frozen=True)
class Checkpoint:
    """Hold the state dicts of both mappers, real and synthesized, and what they were trained on (None: unknown)."""

    real: dict[str, Any]
    synth: dict[str, Any]
    trained_on: TrainedOn | None


def read_checkpoint(path: Path | str) -> Checkpoint:
    """Read the checkpoint at `path`, a .safetensors file or one of `torch.save`.

    Raises InputError that names the file for one that is missing, needs more than plain tensors, or has another layout.
    """
    content = (
        _read_safetensors(path) if str(path).endswith(".safetensors") else load_plain(path, "a mapper's checkpoint")
    )
    if isinstance(content, dict) and any(str(name).removeprefix("mlp.") == _FASTGDA for name in content):
        content = dict.fromkeys(SIDES, content)
    if not isinstance(content, dict) or not all(isinstance(content.get(side), dict) for side in SIDES):
        found = sorted(map(str, content)) if isinstance(content, dict) else type(content).__name__
        raise InputError(f"{path}: found {found}; expected a dict with the state dicts {' and '.join(SIDES)}")
    plain = content.get("trained_on")
    return Checkpoint(*(content[side] for side in SIDES), None if plain is None else TrainedOn.from_plain(path, plain))


def _read_safetensors(path: Path | str) -> dict[str, Any]:
    """Return the content of a .safetensors file in the layout of a .pth."""
    from safetensors import SafetensorError, safe_open

    with open_given(path, "mapper's checkpoint"):
        refuse_placeholder(path)
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}
            provenance = json.loads((file.metadata() or {}).get("provenance", "{}"))
    except (SafetensorError, ValueError) as error:
        raise InputError(f"{path}: not a readable safetensors file ({first_line(error)})") from error
    sides: dict[str, Any] = {}
    for name, tensor in tensors.items():
        side, _, rest = name.partition(".")
        if side in SIDES:
            sides.setdefault(side, {})[rest] = tensor
        else:
            sides[name] = tensor
    trained_on = provenance.get("trained_on") if isinstance(provenance, dict) else None
    return sides | ({} if trained_on is None else {"trained_on": trained_on})


def write_checkpoint(pth: Path | str, safetensors: Path | str, checkpoint: Checkpoint, provenance: Mapping) -> None:
    """Write `checkpoint` to both files, each atomically; equal content gives equal bytes.

    provenance: anything that JSON can hold, of the .safetensors file, beside `trained_on`.
    """
    import torch
    from safetensors.torch import save

    sides = dict(zip(SIDES, (checkpoint.real, checkpoint.synth), strict=True))
    trained_on = asdict(checkpoint.trained_on)
    plain = trained_on | {name: list(trained_on[name]) for name in ("train", "val")}
    memory = io.BytesIO()  # a file's name would be part of its bytes
    torch.save({**sides, "trained_on": plain}, memory)
    with atomic_path(pth) as temporary:
        temporary.write_bytes(memory.getvalue())
    # Copies, because safetensors refuses tensors that share memory. One key, because it stores several in any order.
    tensors = {f"{side}.{name}": tensor.clone() for side, state in sides.items() for name, tensor in state.items()}
    text = json.dumps({"trained_on": plain, **provenance}, sort_keys=True)
    with atomic_path(safetensors) as temporary:
        temporary.write_bytes(save(tensors, {"provenance": text}))
