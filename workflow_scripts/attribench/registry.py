"""What an entry of the extractor registry may say."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

# What becomes part of a path, a rule's wildcard or a column name: never a slash, a dot alone, or a space.
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_\-]*$")]
Positive = Annotated[int, Field(ge=1)]
Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos"]
PrecisionName = Literal["float32", "bf16"]
PerChannel = Annotated[list[float], Field(min_length=3, max_length=3)]


class Closed(BaseModel):
    """A model that refuses keys it does not know and never changes."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class WeightsFile(Closed):
    """A checkpoint on disk: a path below the benchmark root (or absolute), or a file that a Python package ships.

    It has to hold the network's tensors and no others, but for what the entry says. key: entry of the checkpoint that holds
    the state dict; prefix: kept names begin with it, and lose it; drop: beginnings of names, after that, that the network
    does not have; match: `name`, or `order` for a file whose tensors have other names but the network's order and shapes.
    """

    file: str
    package: str | None = None
    key: str | None = None
    prefix: str = ""
    drop: list[str] = []
    match: Literal["name", "order"] = "name"


class ExtractorEntry(Closed):
    """One extractor. What is not given of the preprocessing is asked of the library that has the model.

    squash: resize both sides to `resize`, not the short one alone; precision: this extractor's, in place of the config key.
    """

    library: Literal["timm", "open_clip", "torchscript", "color"]
    model: str | None = None
    pretrained: WeightsFile | Name = "hub"
    resize: Positive | None = None
    crop: Positive | None = None
    interpolation: Interpolation | None = None
    squash: bool | None = None
    mean: PerChannel | None = None
    std: PerChannel | None = None
    seed: int = 0
    precision: PrecisionName | None = None

    @model_validator(mode="after")
    def _complete(self) -> "ExtractorEntry":
        if self.library in ("timm", "open_clip") and not self.model:
            raise ValueError(f"library {self.library} needs a `model`")
        if self.library == "torchscript" and not isinstance(self.pretrained, WeightsFile):
            raise ValueError("library torchscript needs `pretrained: {file: …}`")
        if self.library == "color" and self.precision not in (None, "float32"):
            raise ValueError(f"library color computes in float32; expected no `precision`, found {self.precision}")
        if self.resize and self.crop and self.crop > self.resize:
            raise ValueError(f"crop {self.crop} is larger than resize {self.resize}")
        return self
