"""The calibrator's file: the published layout is read, and what is none is refused by name."""

from collections import OrderedDict

import numpy as np
import pytest
import torch
from attribench.common.errors import InputError
from attribench.formats.calibrator import Calibrator, read_calibrator, require_calibrator, write_calibrator

LAYOUTS = {
    "a state dict": {"inv_tau": torch.tensor(8.5), "bias": torch.tensor(-2.25)},
    "in any order, with metadata": OrderedDict(bias=torch.tensor(-2.25), inv_tau=torch.tensor(8.5)),
    "vectors of one number": {"inv_tau": torch.tensor([8.5]), "bias": torch.tensor([[-2.25]])},
    "other types": {
        "inv_tau": torch.tensor(8.5, dtype=torch.float64),
        "bias": torch.tensor(-2.25, dtype=torch.float16),
    },
    "with gradients": {
        "inv_tau": torch.nn.Parameter(torch.tensor(8.5)),
        "bias": torch.nn.Parameter(torch.tensor(-2.25)),
    },
    "plain numbers": {"inv_tau": 8.5, "bias": -2.25},
    "and more": {"inv_tau": torch.tensor(8.5), "bias": torch.tensor(-2.25), "epoch": 3},
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_published_layout_is_read(tmp_path, name):
    torch.save(LAYOUTS[name], tmp_path / "clip_tuned.pth")
    assert read_calibrator(tmp_path / "clip_tuned.pth") == Calibrator(8.5, -2.25)


def test_a_module_with_two_parameters_reads_what_is_written(tmp_path):
    class Theirs(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inv_tau, self.bias = (torch.nn.Parameter(torch.tensor(1.0)) for _ in range(2))

    write_calibrator(tmp_path / "deep/c.pth", Calibrator(12.5, 0.75))
    theirs = Theirs()
    theirs.load_state_dict(torch.load(tmp_path / "deep/c.pth", weights_only=True))
    assert (theirs.inv_tau.item(), theirs.bias.item()) == (12.5, 0.75)
    torch.save(theirs.state_dict(), tmp_path / "theirs.pth")
    assert read_calibrator(tmp_path / "theirs.pth") == (12.5, 0.75)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["c.pth"]


def test_numbers_are_read_as_they_are_written_to_float32(tmp_path):
    written = Calibrator(1 / 3, 1e-9)
    write_calibrator(tmp_path / "c.pth", written)
    assert read_calibrator(tmp_path / "c.pth") == tuple(float(np.float32(value)) for value in written)


def test_equal_numbers_are_equal_bytes(tmp_path):
    write_calibrator(tmp_path / "one.pth", Calibrator(8.5, -2.25))
    write_calibrator(tmp_path / "other.pth", Calibrator(8.5, -2.25))
    assert (tmp_path / "one.pth").read_bytes() == (tmp_path / "other.pth").read_bytes()


def state(**changes):
    return LAYOUTS["a state dict"] | changes


REFUSED = {
    "no bias": (
        {"inv_tau": torch.tensor(8.5)},
        r"found \['inv_tau'\]; expected a dict with the scalars inv_tau and bias",
    ),
    "a mapper": ({"real_mapper": {}, "synth_mapper": {}}, r"found \['real_mapper', 'synth_mapper'\]; expected a dict"),
    "a tensor": (torch.tensor([8.5, -2.25]), "found Tensor; expected a dict"),
    "a list": ([8.5, -2.25], "found list; expected a dict"),
    "a vector": (state(inv_tau=torch.tensor([8.5, 2.0])), r"inv_tau has shape \[2\]; expected one finite number"),
    "nothing in it": (state(bias=torch.zeros(0)), r"bias has shape \[0\]; expected one finite number"),
    "text": (state(bias="none"), "bias is none; expected one finite number"),
    "None": (state(bias=None), "bias is None; expected one finite number"),
    "NaN": (state(bias=torch.tensor(torch.nan)), "bias is nan; expected one finite number"),
    "infinite": (state(inv_tau=torch.tensor(torch.inf)), "inv_tau is inf; expected one finite number"),
    "complex": (state(inv_tau=torch.tensor(1 + 2j)), "inv_tau is .*; expected one finite number"),
    "zero": (state(inv_tau=torch.tensor(0.0)), "inv_tau is 0; expected a number above 0"),
    "negative": (state(inv_tau=torch.tensor(-8.5)), "inv_tau is -8.5; expected a number above 0"),
    "no influence for any candidate": (
        state(bias=torch.tensor(-1000.0)),
        "bias is -1000; expected a number above -1000",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_calibrator_is_refused(tmp_path, name):
    content, message = REFUSED[name]
    torch.save(content, tmp_path / "clip_tuned.pth")
    with pytest.raises(InputError, match=rf"clip_tuned\.pth: {message}"):
        read_calibrator(tmp_path / "clip_tuned.pth")


class Anything:
    """Stand for an object of somebody's code."""


def test_what_is_no_checkpoint_is_refused(tmp_path):
    path = tmp_path / "c.pth"
    with pytest.raises(InputError, match=r"c\.pth: the file does not exist; expected a calibrator"):
        read_calibrator(path)
    for content, message in (
        (b"", "is empty"),
        (b"inv_tau: 8.5", ".*expected a calibrator"),
        (b"PK\x03\x04 and no more", ".*expected a calibrator"),
    ):
        path.write_bytes(content)
        with pytest.raises(InputError, match=rf"c\.pth: {message}"):
            read_calibrator(path)
    torch.save(Anything(), path)
    with pytest.raises(InputError, match=r"c\.pth: .*other objects could run any code.*expected a calibrator"):
        read_calibrator(path)


def test_before_a_run_a_calibrator_must_be_there(tmp_path):
    path = tmp_path / "c.pth"
    with pytest.raises(InputError, match=r"c\.pth"):
        require_calibrator(path)
    with pytest.raises(InputError, match=str(tmp_path)):
        require_calibrator(tmp_path)
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with pytest.raises(InputError, match=r"c\.pth"):
        require_calibrator(path)
    write_calibrator(path, Calibrator(8.5, -2.25))
    require_calibrator(path)
