"""Files that a run reads: those that are missing, and those that cannot be weights, are named before it starts."""

import pytest
from attribench.common.errors import InputError
from attribench.plan.config import load
from attribench.plan.plan import Plan
from helpers.config import changed


def test_all_missing_weights_and_features_are_named_at_once(tmp_path):
    mine = {"splits": {"a": "m.json"}, "database": {"folder": "d"}, "extractors": ["x", "y", "z"]}
    (tmp_path / "d").mkdir()
    (tmp_path / "m.json").touch()
    takes = {"resize": 8, "crop": 8, "interpolation": "bicubic", "mean": [0.5] * 3, "std": [0.5] * 3}
    network = {"library": "timm", "model": "resnet18", **takes}
    registry = {name: {**network, "pretrained": {"file": f"{name}.pth"}} for name in "xy"} | {
        "z": {"features": "z.npy"}
    }
    changes = {f"extractor_registry__{name}": entry for name, entry in registry.items()}
    plan = Plan(load(changed(benchmark="mine", benchmarks__mine=mine, root=str(tmp_path), **changes)))
    with pytest.raises(InputError) as error:
        plan.refuse_missing_files()
    lines = str(error.value).splitlines()
    assert len(lines) == 3 and all(any(f"/{file}: " in line for line in lines) for file in ("x.pth", "y.pth", "z.npy"))
    for name in "xy":
        (tmp_path / f"{name}.pth").write_bytes(b"weights")
    with pytest.raises(
        InputError, match="registry.x: .*/x.pth: not a whole checkpoint.*\n.*registry.y: .*/y.pth: not a"
    ):
        plan.refuse_other_weights()
