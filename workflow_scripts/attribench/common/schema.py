"""What all typed models of settings share: closed models, names that may become paths, positive numbers."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

# A part of a path, a rule's wildcard or a column name: letters, digits, `_` and `-` only.
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_\-]*$")]
Positive = Annotated[int, Field(ge=1)]


class Closed(BaseModel):
    """Refuse unknown keys, and any change after the check."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, protected_namespaces=())
