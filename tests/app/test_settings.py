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


@pytest.mark.parametrize("key", ["", "seven77"])
def test_a_key_is_needed_where_classes_have_one_and_is_never_printed(key: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Settings(classes="key", class_key=key)
    line = explained(refused.value)
    assert line == "ACADEMY_CLASS_KEY cannot be used: ACADEMY_CLASSES=key needs one of at least 8 characters."
    assert Settings(classes="open", class_key=key).holds_classes
    assert not Settings(classes="off", class_key=key).holds_classes


def test_the_database_is_read_from_the_variable_that_hosts_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://host/name")
    assert Settings().database_url == "postgresql://host/name"
    assert Settings(data_dir="/srv/data").data_folder == "/srv/data"
    assert Settings(data_dir="var").data_folder.endswith("/var")
