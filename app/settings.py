"""Settings, all from the environment. docs/hosting.md lists them; a test keeps the two equal."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

PREFIX = "ACADEMY_"

_FOLDER = re.compile(r"(/[A-Za-z0-9._~-]+)*")
_ANCESTOR = re.compile(
    r"'self'|https?:|(https?://)?(\*\.)?[a-z0-9-]+(\.[a-z0-9-]+)*(:(\d{1,5}|\*))?", re.IGNORECASE
)


def _root_path(value: str) -> str:
    """Only a folder: `//host` at the start of a link would lead to another server."""
    if not _FOLDER.fullmatch(value) or "/.." in value:
        raise ValueError("give a path such as /academy, without a slash at its end")
    return value


def _embed_ancestors(value: str) -> str:
    """Only sources: whatever else stood here would become part of a header."""
    sources = value.split(" ")
    if value not in ("*", "'none'") and not all(_ANCESTOR.fullmatch(source) for source in sources):
        raise ValueError("give *, 'none', or 'self' and hosts such as https://lms.example between spaces")
    return value


class Settings(BaseSettings):
    """What a host may set. Every name has the prefix `ACADEMY_`."""

    model_config = SettingsConfigDict(env_prefix=PREFIX)

    root_path: Annotated[str, AfterValidator(_root_path)] = Field(
        "", description="URL prefix under which a proxy serves the lesson, such as /academy"
    )
    embed_ancestors: Annotated[str, AfterValidator(_embed_ancestors)] = Field(
        "*", description="who may embed figures: CSP frame-ancestors of embed pages"
    )
    cache_mib: int = Field(64, ge=1, le=4096, description="MiB of rendered answers kept by each worker")
    least_free_mib: int = Field(
        64, ge=0, le=65536, description="MiB of memory; with less left /readyz says no, 0 for never"
    )
    make_ahead: bool = Field(
        True,
        description="after the start, make what readers are likely to ask for: some 20 s of a core, a worker",
    )
    answers_folder: str = Field(
        "", description="where what is made ahead survives a restart; if empty, build/answers of the project"
    )
    pseudo_languages: bool = Field(
        False, description="also answer in the pseudo-languages that show what is not translated"
    )
    jobs_folder: str = Field(
        "",
        description="where long computations keep what they found; if empty, a folder in /tmp",
    )
    code_key: str = Field(
        "",
        description="secret of the codes that done tasks give; if empty, anybody can compute one",
    )
    log_level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(str.lower)] = Field(
        "info", description="debug, info, warning or error"
    )


def explained(error: ValidationError) -> str:
    """One line for each setting that cannot be used: its name, what was given, and what is allowed."""
    return "\n".join(
        f"{PREFIX}{str(problem['loc'][0]).upper()}={problem['input']!r} cannot be used: "
        f"{problem['msg'].removeprefix('Value error, ')}."
        for problem in error.errors()
    )
