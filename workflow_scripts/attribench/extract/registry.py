"""Define what an entry of the extractor registry may say."""

import re
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from attribench.common.schema import Closed, FilePath, Label, Name, Positive, number, whole
from attribench.extract import libraries
from attribench.extract.readout import Pool

Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos"]
PrecisionName = Literal["float32", "bf16"]
# Of pixels from 0 to 1.
Mean = Annotated[list[number(ge=0, le=1)], Field(min_length=3, max_length=3)]
Std = Annotated[list[number(gt=0, le=1)], Field(min_length=3, max_length=3)]


class WeightsFile(Closed):
    """Name a checkpoint on disk: a path below the benchmark root (or absolute), or a file that a Python package ships.

    It has to hold the network's tensors and no others, but for what the entry says. key: entry of the checkpoint that holds
    the state dict; prefix: only names that begin with it are taken, without it; drop: names that then begin so are left
    out; match: `name`, or `order` for a file whose tensors have other names but the network's order and shapes.
    """

    file: FilePath
    package: str | None = None
    key: str | None = None
    prefix: str = ""
    drop: tuple[str, ...] = ()
    match: Literal["name", "order"] = "name"


class FeatureFiles(Closed):
    """Name files of features that exist already: of the database, and of splits (with {split} in it for each its own)."""

    database: Annotated[str, Field(min_length=1)] | None = None
    splits: Annotated[str, Field(min_length=1)] | None = None


class ExtractorEntry(Closed):
    """Describe an extractor: a network of a library, or features that exist already, or both for different images.

    What is not given of the preprocessing is the model's own, as its library states it.
    features: a file for all images, or with {collection} in it for each collection its own; or the files of each.
    label: its name in tables and figures; squash: resize both sides to `resize`, not the short one alone; precision: this
    extractor's, in place of the config key; seed: of the weights of an untrained network; output, pool: what features are
    made of, where a network returns several outputs, or one for each position (see `readout`).
    """

    library: Literal[*libraries.NAMES] | None = None
    features: Annotated[str, Field(min_length=1)] | FeatureFiles | None = None
    label: Label | None = None
    model: str | None = None
    pretrained: WeightsFile | Name = "hub"
    resize: Positive | None = None
    crop: Positive | None = None
    interpolation: Interpolation | None = None
    squash: bool | None = None
    mean: Mean | None = None
    std: Std | None = None
    seed: whole(ge=0, le=10**12) = 0
    precision: PrecisionName | None = None
    output: int | str | None = None
    pool: Pool | None = None

    def features_of(self, is_database: bool) -> str | None:
        """Return the pattern of the features of the database, or of splits, that the entry gives; None for none."""
        if isinstance(self.features, FeatureFiles):
            return self.features.database if is_database else self.features.splits
        return self.features

    @model_validator(mode="after")
    def _has_a_source(self) -> "ExtractorEntry":
        if self.library is None and self.features is None:
            raise ValueError("give `library` for a network, or `features` for the file of features that exist already")
        network_keys = sorted(self._chosen() - {"library", "features", "label"})
        if self.library is None and network_keys:
            raise ValueError(
                f"`{network_keys[0]}` needs a `library`; features that exist already are taken as they are"
            )
        return self

    def _chosen(self) -> set[str]:
        """Return the keys with another value than their default: a job is given an entry with all keys."""
        return {name for name, field in type(self).model_fields.items() if getattr(self, name) != field.default}

    @model_validator(mode="after")
    def _has_use_for_what_is_given(self) -> "ExtractorEntry":
        """Refuse keys that the library would ignore."""
        if self.library == "color" and (unused := sorted(self._chosen() & {"model", "pretrained", "seed"})):
            raise ValueError(f"library color has no network; expected no `{unused[0]}`")
        if self.library == "torchscript" and self.model:
            raise ValueError("library torchscript has its network in the file of `pretrained`; expected no `model`")
        is_whole = self.library in ("python", "torchscript") and isinstance(self.pretrained, WeightsFile)
        if is_whole and (
            unused := sorted(self.pretrained.model_dump(exclude_defaults=True).keys() - {"file", "package"})
        ):
            raise ValueError(
                f"library {self.library} takes the file of `pretrained` as it is; expected no `{unused[0]}` beside its name"
            )
        is_drawn = self.library == "python" or (self.library in ("timm", "open_clip") and self.pretrained == "none")
        if self.seed and not is_drawn:
            raise ValueError("`seed` is of weights that are drawn; expected `pretrained: none`, or no `seed`")
        return self

    @model_validator(mode="after")
    def _complete(self) -> "ExtractorEntry":
        if self.library in ("timm", "open_clip") and not self.model:
            raise ValueError(f"library {self.library} needs a `model`")
        hub, colon, repository = (self.model or "").partition(":")
        if colon and hub == libraries.HUB and not re.fullmatch(r"\w[\w.\-]*/\w[\w.\-]*(@[\w.\-]+)?", repository):
            raise ValueError(f"expected `model: {hub}:OWNER/NAME` or {hub}:OWNER/NAME@REVISION, found {self.model}")
        if self.library == "timm" and isinstance(self.pretrained, str) and self.pretrained not in ("hub", "none"):
            raise ValueError(
                f"pretrained `{self.pretrained}`: a timm model takes hub, none or {{file: …}}; a tag belongs to its name"
            )
        if self.library == "python" and not re.fullmatch(r".+\.py:\w+", self.model or ""):
            raise ValueError(f"library python needs `model: FILE.py:FUNCTION`, found {self.model}")
        if self.library == "color" and (self.output is not None or self.pool):
            raise ValueError("library color returns features; expected no `output` and no `pool`")
        if self.library == "torchscript" and not isinstance(self.pretrained, WeightsFile):
            raise ValueError("library torchscript needs `pretrained: {file: …}`")
        if self.library == "color" and self.precision not in (None, "float32"):
            raise ValueError(f"library color computes in float32; expected no `precision`, found {self.precision}")
        if self.library == "color" and (self.mean or self.std):
            raise ValueError("library color takes pixels as they are; expected no `mean` and no `std`")
        if self.resize and self.crop and self.crop > self.resize:
            raise ValueError(f"crop {self.crop} is larger than resize {self.resize}")
        return self

    def identity(self) -> dict[str, Any]:
        """Return what tells the entry's features from others', but for the precision, as JSON holds it."""
        special = {key for key in ("output", "pool") if getattr(self, key) is None}
        return self.model_dump(mode="json", exclude={"precision", "label", "features", *special})
