"""Responses: cached compressed, sent in the requested encoding, with the same content in each."""

from __future__ import annotations

import gzip

import brotli
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.assets import static_file
from app.cache.response import PIECE, CachedResponse, Unpacked, preferred

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
def test_every_encoding_holds_the_same_bytes(accept: str, encoding: str, decode: object) -> None:
    content, named = CachedResponse(TEXT, "text/html; charset=utf-8").encoded(accept)
    assert named == encoding
    assert decode(content) == TEXT  # type: ignore[operator]  # three decoders of three libraries


def test_compressible_responses_are_cached_only_compressed() -> None:
    assert CachedResponse(TEXT, "text/html; charset=utf-8").size < len(TEXT) / 10


LARGE = b"".join(b"%d " % number for number in range(200_000))


@pytest.mark.parametrize("raw", [LARGE, b"a" * 10_000_000, LARGE[:50_000]])
def test_large_response_without_encoding_is_sent_in_pieces(raw: bytes) -> None:
    """The pieces are decompressed one by one, so that no copy of the whole is held."""
    body = CachedResponse(raw, "text/plain")
    _status, headers, content = body.answer("identity", "", "no-cache")
    assert isinstance(content, Unpacked)
    pieces = list(content)
    assert b"".join(pieces) == raw
    assert max(map(len, pieces)) <= PIECE
    assert dict(headers)[b"content-length"] == str(len(raw)).encode()
    assert b"content-encoding" not in dict(headers)
    assert dict(headers)[b"etag"].decode() == body.etag("")


def test_static_file_without_encoding_is_not_copied_per_client() -> None:
    for path in ("vendor/plotly-basic.min.js", "lesson.css", "js/page/figures.js"):
        body = static_file(path)
        assert body
        assert body.encoded("identity")[0] is body.encoded("identity")[0]
        assert brotli.decompress(body.encoded("br")[0]) == body.raw


@pytest.mark.parametrize("media_type", ["font/woff2", "application/octet-stream"])
def test_compressed_file_types_are_not_compressed_again(media_type: str) -> None:
    assert CachedResponse(TEXT, media_type).encoded("br, gzip") == (TEXT, "")


def test_small_responses_are_not_compressed() -> None:
    assert CachedResponse(b"{}", "application/json").encoded("br") == (b"{}", "")


def test_the_etag_follows_the_bytes() -> None:
    first, again, other = (
        CachedResponse(TEXT, "text/html"),
        CachedResponse(TEXT, "text/html"),
        CachedResponse(TEXT + b".", "text/html"),
    )
    assert first.etag("br") == again.etag("br") != other.etag("br")


def test_each_encoding_has_its_own_etag() -> None:
    body = CachedResponse(TEXT, "text/html")
    tags = {}
    for accept in ("br", "gzip", "identity"):
        status, headers, _ = body.answer(accept, "", "no-cache")
        tags[accept] = dict(headers)[b"etag"].decode()
        assert status == 200
    assert len(set(tags.values())) == 3
    for accept in tags:
        for named in tags:
            status, headers, content = body.answer(accept, tags[named], "no-cache")
            assert status == (304 if named == accept else 200)
            assert dict(headers)[b"etag"].decode() == tags[accept]
            assert (content == b"") == (status == 304)


@pytest.mark.parametrize("header", ["{}", "W/{}", '"other", {}', '"other",W/{} , "more"', "*"])
def test_etag_is_found_in_any_form_of_the_header(header: str) -> None:
    body = CachedResponse(TEXT, "text/html")
    assert body.answer("br", header.format(body.etag("br")), "no-cache")[0] == 304


@pytest.mark.parametrize("header", ["", '"other"', "abc", '"', "{}x", "x{}"])
def test_other_etags_do_not_match(header: str) -> None:
    body = CachedResponse(TEXT, "text/html")
    assert body.answer("", header.format(body.etag("")), "no-cache")[0] == 200


@given(st.text(max_size=40))
def test_any_accept_encoding_is_parsed(header: str) -> None:
    assert preferred(header) in ("br", "gzip", "")
