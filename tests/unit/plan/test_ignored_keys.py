"""Keys of an entry that would be ignored are refused."""

import pytest
from helpers.config import assert_refused

IGNORED = {
    "a model of a colour histogram": (
        dict(extractor_registry__color__model="resnet50"),
        ["`extractor_registry.color`: library color has no network; expected no `model`"],
    ),
    "a model beside TorchScript": (
        dict(extractor_registry__sscd__model="resnet50"),
        ["`extractor_registry.sscd`: library torchscript has its network in the file", "expected no `model`"],
    ),
    "a seed of trained weights": (
        dict(extractor_registry__dino__seed=1),
        ["`extractor_registry.dino`: `seed` is of weights that are drawn; expected `pretrained: none`"],
    ),
    "a source with two addresses": (
        dict(sources__json__url="https://a.org/"),
        ["`sources.json`: kind hub has no url; expected repo alone"],
    ),
}


@pytest.mark.parametrize("name", IGNORED)
def test_refused_with_the_key_and_why(name):
    assert_refused(*IGNORED[name])
