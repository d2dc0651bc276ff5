"""Hold what all typed models of settings share: closed models, names and paths, numbers.

The description of a type says what is expected, in messages and in editors.
"""

import os
from typing import Annotated, Any, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from attribench.common.text_files import decimal_number

# A part of a path, a rule's wildcard or a column name.
NAME_IN_WORDS = "a name of letters, digits, `_` and `-`"
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_\-]*$", description=NAME_IN_WORDS)]
# What tables and figures call something, in place of its name.
_LINE = r"\x00-\x1f\x7f-\x9f\u2028\u2029"  # what one line of text has not
Label = Annotated[
    str,
    Field(
        max_length=60,
        pattern=rf"^[^\s{_LINE}]([^{_LINE}]*[^\s{_LINE}])?$",
        description="one line of text, at most 60 characters, without spaces at its ends",
    ),
]


def _refuse_no_number(value: Any) -> Any:
    """Refuse what Python takes for a number and people do not: true and false for 1 and 0, text such as `5_0` for 50."""
    if isinstance(value, bool):
        raise PydanticCustomError("no_number", "expected a number")
    if isinstance(value, str):
        try:
            decimal_number(value.strip())
        except ValueError:
            raise PydanticCustomError("no_number", "expected a number") from None
    return value


def whole(**limits: float) -> Any:
    """Return the type of a whole number within `limits`, as pydantic calls them: ge, gt, le, lt."""
    return Annotated[int, Field(**limits), BeforeValidator(_refuse_no_number)]


def number(**limits: float) -> Any:
    """Return the type of a number within `limits`."""
    return Annotated[float, Field(**limits), BeforeValidator(_refuse_no_number)]


Positive = whole(ge=1, le=10**12)


def expanded(path: str) -> str:
    """Return `path` with the user's home in place of `~`. Raises ValueError for a blank, and for a variable."""
    if not path.strip():
        raise ValueError("expected a path")
    if path.startswith("$"):
        raise ValueError("expected a path; variables are the shell's, so write out what it stands for")
    absolute = os.path.expanduser(path)
    if absolute.startswith("~"):
        raise ValueError(f"there is no user {absolute.split('/')[0].removeprefix('~')}; expected a path")
    return absolute


# `~` at its beginning is the user's home.
FilePath = Annotated[str, Field(min_length=1, description="a path"), AfterValidator(expanded)]


class Closed(BaseModel):
    """Refuse unknown keys, and any change after the check."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _read_null(cls, values: Any) -> Any:
        """Take the text `null` for null where that may stand: Snakemake reads it so on the command line."""
        if not isinstance(values, dict):
            return values
        optional = {name for name, field in cls.model_fields.items() if type(None) in get_args(field.annotation)}
        return {key: None if value == "null" and key in optional else value for key, value in values.items()}
