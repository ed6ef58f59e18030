"""Static files: one version hash in the URL, immutable caching, brotli and gzip made once.

The style sheets are served as one file. `static/vendor/` is filled at set-up from the npm lock file.
"""

from __future__ import annotations

import functools
import hashlib
import mimetypes
import re
from pathlib import Path

from app.cache.response import BEST, CachedResponse
from app.http.security import SHARED
from lessons.catalogue import style_sheets

ROOT = Path(__file__).parent.parent
STATIC = ROOT / "static"
CONTENT = ("app", "lessons", "quant_core", "templates", "static")
"""Folders whose bytes decide every answer: their hash versions all immutable URLs."""

STYLESHEETS = ("tokens", "base", "page", "figure", "ask", "chart", "print")

COMMENT = re.compile(rb"/\*.*?\*/\s*", re.DOTALL)
SPACE = re.compile(rb"\s*([{};])\s*|(?<=[:,])\s+")
"""Both are for who reads the files; sent, they would be a fifth of the sheet."""

mimetypes.add_type("text/javascript", ".js")
mimetypes.add_type("font/woff2", ".woff2")


@functools.cache
def version() -> str:
    """The `content_hash` of the files that this process serves; computed once."""
    return content_hash()


def content_hash() -> str:
    """Hash of everything that a response can depend on, so that a stale one is never shown."""
    digest = hashlib.sha256()
    for folder in CONTENT:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts and path.suffix not in (".br", ".gz"):
                digest.update(str(path.relative_to(ROOT)).encode())
                digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def static_file(path: str) -> CachedResponse | None:
    """A file of `static/`, or the bundled style sheet; None if there is none of this name."""
    if path == "lesson.css":
        return _stylesheet()
    if path == "workshop.css":
        return _workshop_stylesheet()
    file = static_files().get(path)
    return _read(file) if file else None


@functools.cache
def static_files() -> dict[str, Path]:
    """Every file that is served, by its address."""
    return {
        path.relative_to(STATIC).as_posix(): path
        for path in STATIC.rglob("*")
        if path.is_file() and path.suffix != ".br" and path.resolve().is_relative_to(STATIC.resolve())
    }


@functools.cache
def _read(file: Path) -> CachedResponse:
    media_type = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
    if media_type.startswith("text/"):
        media_type += "; charset=utf-8"
    prepared = file.with_name(file.name + ".br")  # made at set-up at the highest quality
    compressed = prepared.read_bytes() if prepared.is_file() else None
    return CachedResponse(file.read_bytes(), media_type, BEST, compressed, headers=SHARED, keep_raw=True)


@functools.cache
def _workshop_stylesheet() -> CachedResponse:
    """The styles of the figures in the workshop, for the pages that show one of them."""
    return _sheet(_figure_sheets(in_workshop=True))


def _figure_sheets(*, in_workshop: bool) -> bytes:
    """The styles of the figures of a lesson's sections, or of its workshop."""
    return b"\n".join(file.read_bytes() for file, aside in style_sheets() if aside is in_workshop)


def _sheet(content: bytes) -> CachedResponse:
    return CachedResponse(_bare(content), "text/css; charset=utf-8", BEST, headers=SHARED, keep_raw=True)


def _bare(sheet: bytes) -> bytes:
    return SPACE.sub(rb"\1", COMMENT.sub(b"", sheet)).replace(b";}", b"}")


@functools.cache
def _stylesheet() -> CachedResponse:
    folder = STATIC / "css"
    shared = [(folder / f"{name}.css").read_bytes() for name in STYLESHEETS]
    faces = (STATIC / "vendor" / "fonts.css").read_bytes().replace(b"url(", b"url(vendor/")
    return _sheet(b"\n".join([faces, *shared, _figure_sheets(in_workshop=False)]))
