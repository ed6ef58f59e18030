"""Settings, all from the environment. docs/hosting.md lists them; a test keeps the two equal."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

ROOT = Path(__file__).resolve().parents[1]
PREFIX = "ACADEMY_"
SHORTEST_KEY = 8
"""Characters of `class_key`."""
SECRETS = ("class_key", "code_key", "database_url")
"""Settings whose value is never printed."""

_FOLDER = re.compile(r"(/[A-Za-z0-9._~-]+)*")
_ANCESTOR = re.compile(
    r"'self'|https?:|(https?://)?(\*\.)?[a-z0-9-]+(\.[a-z0-9-]+)*(:(\d{1,5}|\*))?", re.IGNORECASE
)


def _root_path(value: str) -> str:
    """Check that it is a path: a link that begins with `//host` would lead to another server."""
    if not _FOLDER.fullmatch(value) or "/.." in value:
        raise ValueError("give a path such as /academy, without a slash at its end")
    return value


def _embed_ancestors(value: str) -> str:
    """Check that it is a list of CSP sources, because it becomes part of a header."""
    sources = value.split(" ")
    if value not in ("*", "'none'") and not all(_ANCESTOR.fullmatch(source) for source in sources):
        raise ValueError("give *, 'none', or 'self' and hosts such as https://lms.example between spaces")
    return value


class Settings(BaseSettings):
    """The settings of a host. Every name has the prefix `ACADEMY_`, except `DATABASE_URL`."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, validate_by_name=True, validate_by_alias=True)

    root_path: Annotated[str, AfterValidator(_root_path)] = Field(
        "", description="URL prefix under which a proxy serves the lesson, such as /academy"
    )
    embed_ancestors: Annotated[str, AfterValidator(_embed_ancestors)] = Field(
        "*", description="who may embed figures: CSP frame-ancestors of embed pages"
    )
    cache_mib: int = Field(64, ge=1, le=4096, description="MiB of rendered responses that each worker caches")
    least_free_mib: int = Field(
        64, ge=0, le=65536, description="MiB of memory; with less left /readyz says no, 0 for never"
    )
    make_ahead: bool = Field(
        True,
        description="render likely responses after the start: some 20 s of a core for each worker",
    )
    answers_folder: str = Field(
        "", description="where responses made ahead are stored; if empty, build/answers of the project"
    )
    pseudo_languages: bool = Field(
        False, description="also answer in the pseudo-languages that show what is not translated"
    )
    jobs_folder: str = Field(
        "",
        description="where jobs store their results; if empty, a folder in /tmp",
    )
    code_key: str = Field(
        "",
        description="secret of the codes that done tasks give; if empty, anybody can compute one",
    )
    classes: Annotated[Literal["", "off", "key", "open"], BeforeValidator(str.lower)] = Field(
        "",
        description="who may start a class: nobody (off), who has the key (key), or everybody (open);"
        " if empty, open on a loopback HOST and off elsewhere",
    )
    class_key: str = Field("", validate_default=True, description="what a teacher types to start a class")
    data_dir: str = Field(
        "var", description="folder of the database of classes; within the project unless it begins with /"
    )
    database_url: str = Field(
        "",
        validation_alias="DATABASE_URL",
        description="address of a PostgreSQL database; if empty, SQLite in ACADEMY_DATA_DIR",
    )
    hosts: int = Field(
        1, ge=1, le=64, description="hosts that share the database of classes, and the places of a client"
    )
    retention_months: int = Field(
        12, ge=1, le=120, description="months after its last day that a class is deleted, with all answers"
    )
    answers: Annotated[Literal["teachers", "public"], BeforeValidator(str.lower)] = Field(
        "teachers", description="who sees the answers to the plans' tasks: teachers, from the desk, or public"
    )
    log_level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(str.lower)] = Field(
        "info", description="debug, info, warning or error"
    )

    @field_validator("class_key")
    @classmethod
    def _long_enough(cls, value: str, info: ValidationInfo) -> str:
        if info.data.get("classes") == "key" and len(value) < SHORTEST_KEY:
            raise ValueError(f"ACADEMY_CLASSES=key needs one of at least {SHORTEST_KEY} characters")
        return value

    @property
    def holds_classes(self) -> bool:
        """Whether classes can be held; `scripts/serve.py` has filled in an empty setting."""
        return self.classes in ("key", "open")

    @property
    def data_folder(self) -> str:
        """`data_dir` as an absolute path."""
        return str(ROOT / self.data_dir)


def explained(error: ValidationError) -> str:
    """One line for each invalid setting: its name, its value, and what is allowed."""
    return "\n".join(
        f"{_variable(str(problem['loc'][0]), problem['input'])} cannot be used: "
        f"{problem['msg'].removeprefix('Value error, ')}."
        for problem in error.errors()
    )


def _variable(name: str, given: object) -> str:
    """The environment variable with its value, unless that is a secret."""
    variable = f"{PREFIX}{name.upper()}"
    return variable if name in SECRETS else f"{variable}={given!r}"
