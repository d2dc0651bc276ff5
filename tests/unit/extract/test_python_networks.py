"""Networks of a user's own code: what the function returns is used, what it does wrong is said by file and line."""

import re

import numpy as np
import pytest
import torch
from attribench.common.errors import InputError
from attribench.extract.extractors import input_of, load_extractor, network_files, refuse_unfit
from attribench.extract.registry import ExtractorEntry
from attribench.plan.config import load
from attribench.plan.plan import Plan
from helpers.config import REPOSITORY, changed
from helpers.extraction import extracted
from helpers.images import picture
from pydantic import ValidationError

MEANS = """
import torch
from parts import scale

STATED = dict(resize=40, crop=32, interpolation="bilinear", mean=[0.1, 0.2, 0.3], std=[0.5, 0.5, 0.5])


class Means(torch.nn.Module):
    def forward(self, images):
        return images.mean((2, 3)) * scale.FACTOR


def means():
    return Means(), STATED


def weighted(path):
    network = torch.nn.Sequential(Means(), torch.nn.Linear(3, 2))
    network.load_state_dict(torch.load(path, weights_only=True))
    return network, STATED


def loose(path):
    return Means(), STATED


def wide():
    return Means(), {**STATED, "crop": 64}


def named():
    return torch.nn.Identity(), {**STATED, "crops": 3}


def alone():
    return Means()


def wild():
    return Means(), {**STATED, "mean": [123.7, 116.3, 103.5]}


def leaves():
    raise SystemExit(0)


def fails():
    raise RuntimeError("no such thing")


def maps():
    return torch.nn.Conv2d(3, 4, 3), STATED


class OfTheBatch(torch.nn.Module):
    def forward(self, images):
        means = images.mean((2, 3))
        return means - means.mean(0)


class AtRandom(torch.nn.Module):
    def forward(self, images):
        return torch.nn.functional.dropout(images.flatten(1))


class Wider(torch.nn.Module):
    width = 0

    def forward(self, images):
        self.width += 1
        return images.flatten(1)[:, : self.width]


class AnArray(torch.nn.Module):
    def forward(self, images):
        return images.mean((2, 3)).numpy()


def an_array():
    return AnArray(), STATED


class NoNumber(torch.nn.Module):
    def forward(self, images):
        return images.mean((2, 3)) * float("nan")


def no_number():
    return NoNumber(), STATED


def of_the_batch():
    return OfTheBatch(), STATED


def at_random():
    return AtRandom(), STATED


def wider():
    return Wider(), STATED
"""


def own(function, file="models/mine.py", **settings):
    return ExtractorEntry(library="python", model=f"{file}:{function}", **settings)


@pytest.fixture
def root(tmp_path):
    """A root with the code, and a package beside it that it imports."""
    (tmp_path / "models/parts").mkdir(parents=True)
    (tmp_path / "models/mine.py").write_text(MEANS)
    (tmp_path / "models/parts/__init__.py").write_text("")
    (tmp_path / "models/parts/scale.py").write_text("from .more import FACTOR\n")
    (tmp_path / "models/parts/more.py").write_text("import json\nFACTOR = 2\n")
    (tmp_path / "models/unused.py").write_text("1 / 0\n")
    return tmp_path


def test_the_function_gives_network_and_preprocessing(root):
    picture(40, 40).save(root / "a.png")
    found, identity, _ = extracted(root, root, ["a.png"], "mine", own("means"))
    assert identity.preprocessing == "bilinear-40-32 mean 0.1,0.2,0.3 std 0.5,0.5,0.5"
    pixels = np.asarray(picture(40, 40))[4:36, 4:36] / 255
    np.testing.assert_allclose(found[0], (pixels.mean((0, 1)) - [0.1, 0.2, 0.3]) / 0.5 * 2, rtol=1e-5)
    given = own("means", resize=50, mean=[0.0] * 3)
    assert (str(input_of(given, root).preprocessing), input_of(given, root).mean[0]) == ("bilinear-50-32", 0.0)


def test_a_weights_file_is_handed_to_the_function(root):
    network = torch.nn.Sequential(torch.nn.Identity(), torch.nn.Linear(3, 2))
    torch.save(network.state_dict(), root / "w.pth")
    loaded = load_extractor("mine", own("weighted", pretrained={"file": "w.pth"}), root)
    np.testing.assert_array_equal(loaded.module[1].weight.detach(), network[1].weight.detach())
    with pytest.raises(InputError, match="extractor mine: .*none.pth: the weights file does not exist"):
        load_extractor("mine", own("weighted", pretrained={"file": "none.pth"}), root)


def test_code_weights_and_what_the_code_imports_count_in_the_key(root, tmp_path):
    def identity():
        settings = {"library": "python", "model": "models/mine.py:loose", "pretrained": {"file": "w.pth"}, "crop": 32}
        raw = changed(root=str(root), extractors=["mine"], extractor_registry__mine=settings)
        plan = Plan(load(raw))
        assert set(plan.weights_paths("mine")) == {"w.pth", *files}
        return str(plan.extractor_identity("mine"))

    names = ("mine.py", "parts/__init__.py", "parts/scale.py", "parts/more.py")
    files = [str(root / "models" / name) for name in names]
    assert set(network_files(own("means"), root)) == set(files)
    (root / "w.pth").write_bytes(b"1")
    seen = {identity()}
    for path in (*files, root / "w.pth"):
        with open(path, "a") as file:
            file.write("\n")
        seen.add(identity())
    assert len(seen) == 1 + len(files) + 1
    (root / "models/unused.py").write_text("")
    assert identity() in seen


def test_two_folders_may_have_modules_of_the_same_name(root):
    other = root / "others"
    (other / "parts").mkdir(parents=True)
    for name in ("mine.py", "parts/__init__.py", "parts/scale.py"):
        (other / name).write_text((root / "models" / name).read_text())
    (other / "parts/more.py").write_text("FACTOR = 7\n")
    images = torch.ones(1, 3, 2, 2)
    factors = [
        load_extractor("a", own("means", f"{f}/mine.py"), root).module(images)[0, 0] for f in ("models", "others")
    ]
    assert factors == [2, 7]


FAULTS = {
    "no file": (own("means", "models/none.py"), "models/none.py does not exist; expected a Python file"),
    "no function": (own("meanz"), "there is no such function in the file; did you mean `means`"),
    "no pair": (own("alone"), r"function alone: returned Means; expected \(torch.nn.Module, preprocessing\)"),
    "another key": (own("named"), "function named: its preprocessing is .*'crops'.*; expected a dict of crop, interp"),
    "crop larger than resize": (own("wide"), "crop 64 is larger than resize 40"),
    "means of pixels to 255": (
        own("wild"),
        "function wild: its preprocessing is .*; mean.0: .*less than or equal to 1",
    ),
    "the end of a script": (own("leaves"), r"function leaves, line \d+: SystemExit: 0"),
    "an exception": (own("fails"), r"mine.py, function fails, line \d+: RuntimeError: no such thing"),
    "an argument that is not given": (own("weighted"), "function weighted.*: TypeError: .*missing 1 required"),
    "a map": (own("maps"), r"returns float32 \[2, 4, 30, 30\]; expected \[2, d\]: give `pool`"),
    "a fault in a module": (own("means", "models/unused.py"), "unused.py, function means, line 1: ZeroDivisionError"),
    "statistics of a batch": (own("of_the_batch"), "an image other features beside another image"),
    "random numbers": (own("at_random"), "or at another time; expected features that depend on the image alone"),
    "more columns each time": (own("wider"), "an image other features"),
    "no number": (own("no_number"), "gives NaN or Inf for images of random pixels; expected finite features"),
    "an array": (own("an_array"), r"returns a numpy ndarray of float32 \[2, 3\]; expected one tensor"),
    "no Python": (own("means", "models/text.py"), "text.py, (line|function means.*SyntaxError)"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_of_the_code_is_named(root, name):
    entry, message = FAULTS[name]
    (root / "models/text.py").write_text("this is no Python\n")
    with pytest.raises(InputError, match=f"extractor mine: .*{message}"):
        refuse_unfit("mine", entry, root)


@pytest.mark.parametrize("key", [{"key": "state"}, {"prefix": "net."}, {"drop": ["head."]}, {"match": "order"}])
@pytest.mark.parametrize("library", [{"library": "python", "model": "mine.py:make"}, {"library": "torchscript"}])
def test_what_picks_tensors_of_a_file_has_no_use_where_the_file_is_taken_as_it_is(library, key):
    with pytest.raises(ValidationError, match=f"as it is; expected no `{next(iter(key))}` beside its name"):
        ExtractorEntry(**library, pretrained={"file": "w.pth", **key})


def test_an_entry_names_file_and_function():
    for model in (None, "mine.py", "mine:make", "mine.py:"):
        with pytest.raises(ValidationError, match="library python needs `model: FILE.py:FUNCTION`"):
            ExtractorEntry(library="python", model=model)


def test_the_documented_network_runs(tmp_path):
    """The example of docs/models.md, as it stands there."""
    [code] = re.findall(r"```python\n(.*?)```", (REPOSITORY / "docs/models.md").read_text(), re.DOTALL)
    (tmp_path / "models").mkdir()
    (tmp_path / "models/edges.py").write_text(code)
    picture(90, 70).save(tmp_path / "a.png")
    found, identity, _ = extracted(tmp_path, tmp_path, ["a.png"], "edges", own("edges", "models/edges.py"))
    assert found.shape == (1, 48) and identity.preprocessing.startswith("bicubic-64-64 ")
