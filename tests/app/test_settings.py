"""Settings that would break a header or a link are refused by name, in one line."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from app.settings import Settings, explained


@pytest.mark.parametrize(
    "value",
    [
        "*",
        "'none'",
        "'self'",
        "https:",
        "https://lms.example",
        "'self' https://*.lms.example:8443 http://10.0.0.1:*",
    ],
)
def test_valid_policy_sources_are_accepted(value: str) -> None:
    assert Settings(embed_ancestors=value).embed_ancestors == value


@pytest.mark.parametrize(
    "value",
    [
        "",
        " ",
        "https://a.example; script-src *",
        "https://a.example, default-src *",
        "https://a.example\nSet-Cookie: a=b",
        "https://a.example\r\n",
        "https://a.example  https://b.example",
        "'unsafe-inline'",
        "'none' https://a.example",
        "* https://a.example",
        "javascript:",
        "https://a.example/folder",
        "https://é.example",
    ],
)
def test_invalid_policy_sources_are_refused(value: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Settings(embed_ancestors=value)
    line = explained(refused.value)
    assert line.startswith(f"ACADEMY_EMBED_ANCESTORS={value!r} cannot be used: give *, ")
    assert "\n" not in line


@pytest.mark.parametrize(
    "value", ["academy", "/", "/academy/", "//lms.example", "/a/../b", "/a b", "/a\n", "/a?b", '/"']
)
def test_invalid_prefix_is_refused(value: str) -> None:
    with pytest.raises(ValidationError, match="without a slash at its end"):
        Settings(root_path=value)


@pytest.mark.parametrize("value", ["", "/academy", "/courses/2026/llm-quantization"])
def test_valid_prefix_is_accepted(value: str) -> None:
    assert Settings(root_path=value).root_path == value
