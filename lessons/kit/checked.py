"""What a file of data holds, checked when it is read: an error names the file and the field."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

Kind = TypeVar("Kind")


class Row(BaseModel):
    """What is read from a file by the names of its fields; the file may say more."""

    model_config = ConfigDict(frozen=True)


class Whole(BaseModel):
    """What is read from a file that says nothing else."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def checked(kind: type[Kind], content: Any, file: str) -> Kind:
    """Give the content of a file as models.

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
