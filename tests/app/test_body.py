"""Bodies: kept compressed, sent as the browser likes them, the same bytes whatever the form."""

from __future__ import annotations

import gzip

import brotli
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.body import Body, preferred

TEXT = ("A weight is one small vote in a sum over thousands. " * 40).encode()


@pytest.mark.parametrize(
    ("accept", "encoding", "decode"),
    [
        ("gzip, deflate, br, zstd", "br", brotli.decompress),
        ("gzip", "gzip", gzip.decompress),
        ("br;q=0, gzip;q=0.5", "gzip", gzip.decompress),
        ("", "", bytes),
        ("identity", "", bytes),
    ],
)
def test_every_form_holds_the_same_bytes(accept: str, encoding: str, decode: object) -> None:
    content, named = Body(TEXT, "text/html; charset=utf-8").encoded(accept)
    assert named == encoding
    assert decode(content) == TEXT  # type: ignore[operator]  # three decoders of three libraries


def test_what_compresses_is_kept_compressed_only() -> None:
    assert Body(TEXT, "text/html; charset=utf-8").size < len(TEXT) / 10


@pytest.mark.parametrize("media_type", ["font/woff2", "application/octet-stream"])
def test_what_is_compressed_already_is_sent_as_it_is(media_type: str) -> None:
    assert Body(TEXT, media_type).encoded("br, gzip") == (TEXT, "")


def test_a_few_bytes_are_not_worth_compressing() -> None:
    assert Body(b"{}", "application/json").encoded("br") == (b"{}", "")


def test_the_etag_follows_the_bytes() -> None:
    assert Body(TEXT, "text/html").etag == Body(TEXT, "text/html").etag != Body(TEXT + b".", "text/html").etag


@given(st.text(max_size=40))
def test_any_accept_encoding_is_understood(header: str) -> None:
    assert preferred(header) in ("br", "gzip", "")
