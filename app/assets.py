"""Static files: one version hash in the URL, immutable caching, brotli and gzip made once.

The style sheets are served as one file. `static/vendor/` is filled at set-up from the npm lock file.
"""

from __future__ import annotations

import functools
import gzip
import hashlib
import mimetypes
from dataclasses import dataclass
from pathlib import Path

import brotli

ROOT = Path(__file__).parent.parent
STATIC = ROOT / "static"
CONTENT = ("app", "lessons", "quant_core", "templates", "static")
"""Folders whose bytes decide every answer: their hash versions all immutable URLs."""

STYLESHEETS = ("tokens", "base", "page", "figure", "chart", "print")
COMPRESSIBLE = ("text/", "application/json", "application/javascript", "image/svg")

mimetypes.add_type("text/javascript", ".js")
mimetypes.add_type("font/woff2", ".woff2")


@functools.cache
def version() -> str:
    """Hash of everything that an answer can depend on, so that a stale one can never be shown."""
    digest = hashlib.sha256()
    for folder in CONTENT:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts and path.suffix not in (".br", ".gz"):
                digest.update(str(path.relative_to(ROOT)).encode())
                digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


@dataclass(frozen=True)
class Body:
    """Bytes to send, with their compressed forms made on first use."""

    raw: bytes
    media_type: str
    quality: int = 5

    @functools.cached_property
    def brotli(self) -> bytes:
        return bytes(brotli.compress(self.raw, quality=self.quality))

    @functools.cached_property
    def gzip(self) -> bytes:
        return gzip.compress(self.raw, compresslevel=6, mtime=0)

    @functools.cached_property
    def etag(self) -> str:
        return f'"{hashlib.sha256(self.raw).hexdigest()[:24]}"'

    @property
    def compressible(self) -> bool:
        return len(self.raw) > 512 and self.media_type.startswith(COMPRESSIBLE)

    def encoded(self, accept_encoding: str) -> tuple[bytes, str | None]:
        """The bytes and content encoding that suit the request's Accept-Encoding."""
        if self.compressible:
            accepted = {
                item.split(";")[0].strip()
                for item in accept_encoding.split(",")
                if "q=0" not in item.split(";")[1:]
            }
            if "br" in accepted:
                return self.brotli, "br"
            if "gzip" in accepted:
                return self.gzip, "gzip"
        return self.raw, None


@functools.cache
def static_files() -> dict[str, Path]:
    """Every file that may be served, by its name below `static/`: an address is looked up, never walked."""
    return {
        path.relative_to(STATIC).as_posix(): path
        for path in STATIC.rglob("*")
        if path.is_file() and path.resolve().is_relative_to(STATIC.resolve())
    }


@functools.lru_cache(maxsize=256)
def static_file(path: str) -> Body | None:
    """A file of `static/`, or the bundled style sheet; None when there is none of this name."""
    if path == "lesson.css":
        return Body(_stylesheet(), "text/css; charset=utf-8", quality=9)
    file = static_files().get(path)
    if file is None:
        return None
    media_type = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
    if media_type.startswith("text/"):
        media_type += "; charset=utf-8"
    body = Body(file.read_bytes(), media_type, quality=9)
    prepared = file.with_name(file.name + ".br")
    if prepared.is_file():  # made at set-up at the highest quality
        body.__dict__["brotli"] = prepared.read_bytes()
    return body


def _stylesheet() -> bytes:
    folder = STATIC / "css"
    files = [folder / f"{name}.css" for name in STYLESHEETS] + sorted((folder / "figures").glob("*.css"))
    return b"\n".join(file.read_bytes() for file in files if file.is_file())
