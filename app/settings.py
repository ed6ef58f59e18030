"""Settings, all from the environment. docs/hosting.md lists them; a test keeps the two equal."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """What a host may set. Every name has the prefix `ACADEMY_`."""

    model_config = SettingsConfigDict(env_prefix="ACADEMY_")

    root_path: str = Field(
        "", description="URL prefix under which a proxy serves the lesson, such as /academy"
    )
    embed_ancestors: str = Field("*", description="who may embed figures: CSP frame-ancestors of embed pages")
    cache_mib: int = Field(64, ge=1, le=4096, description="MiB of rendered answers kept by each worker")
    log_level: str = Field("info", description="debug, info, warning or error")
