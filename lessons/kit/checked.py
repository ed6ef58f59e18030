"""Data files are checked when they are read: an error names the file and the field."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

Kind = TypeVar("Kind")


class Row(BaseModel):
    """An entry of a data file; fields that it does not name are ignored."""

    model_config = ConfigDict(frozen=True)


class Whole(BaseModel):
    """An entry of a data file that may have no other fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def checked(kind: type[Kind], content: Any, file: str) -> Kind:
    """The content of a file as models.

    Raises
    ------
    ValueError
        With the name of the file, each field that is missing, unknown or wrong, and what is wrong with it.
    """
    try:
        return TypeAdapter(kind).validate_python(content)
    except ValidationError as error:
        wrong = (f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise ValueError(f"{file}: {'; '.join(wrong)}") from None
