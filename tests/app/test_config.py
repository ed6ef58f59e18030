"""FIG.06 with any model: a posted config.json or GGUF header becomes an ordinary address."""

from __future__ import annotations

import base64
import json
import re
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from starlette.testclient import TestClient

from app.assets import version
from lessons.catalogue import load_lesson
from lessons.quantization.own_model import line_of
from tests.app.conftest import application
from tests.app.html import parse
from tests.lessons.test_own_model import LISTED, header, published

PAGE = "/lessons/quantization/figures/fit"
FRAGMENT = f"/fragments/{version()}/quantization/fit"
QWEN = published(LISTED["qwen3-30b-a3b"])


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def readouts(answer: Any) -> dict[str, tuple[str, str]]:
    shown = parse(answer.text).all("output")
    return {
        each.attributes["name"]: (each.attributes["data-value"], each.text)
        for each in shown
        if "data-value" in each.attributes
    }


def test_only_fig06_accepts_a_model() -> None:
    figures = load_lesson("quantization").figures
    assert [name for name, figure in figures.items() if figure.from_file] == ["fit"]


@pytest.mark.parametrize("name", ["qwen3-30b-a3b", "llama-3.1-8b", "gemma-3-4b", "gpt-oss-20b"])
def test_without_scripts_a_pasted_config_redirects_to_its_model(client: TestClient, name: str) -> None:
    page = parse(client.get(f"{PAGE}?mix=Q5_K_M&scope=weights").text)
    form = page.one("form", class_="own-paste")
    assert form.attributes["method"] == "post"
    sent = {e.attributes["name"]: e.attributes["value"] for e in form.all("input")}
    assert sent == {"mix": "Q5_K_M", "scope": "weights"}
    answer = client.post(
        form.attributes["action"], data=sent | {"own.text": published(LISTED[name])}, follow_redirects=False
    )
    assert answer.status_code == 303
    assert answer.headers["cache-control"] == "no-store"
    place = urlsplit(answer.headers["location"])
    assert place.path == PAGE
    line = line_of(LISTED[name])
    assert dict(parse_qsl(place.query)) == {"source": "config", "config": line, **sent}

    given, chosen = client.get(answer.headers["location"]), client.get(f"{PAGE}?{_query(model=name, **sent)}")
    assert given.status_code == 200
    assert parse(given.text).one("input", id="fig-06-config").attributes["value"] == line
    assert readouts(given) == readouts(chosen) != {}


def _query(**pairs: str) -> str:
    return "&".join(f"{name}={value}" for name, value in pairs.items())


def test_csv_of_a_config_equals_that_of_its_model(client: TestClient) -> None:
    state = {"source": "config", "config": line_of(LISTED["llama-3.1-8b"]), "scope": "weights"}
    chosen = {"model": "llama-3.1-8b", "scope": "weights"}
    table = client.get(f"{PAGE}.csv", params=state).text
    assert table == client.get(f"{PAGE}.csv", params=chosen).text
    assert client.get(f"{PAGE}.py", params=state).status_code == 200
    lesson = client.get("/lessons/quantization", params={f"fit.{k}": v for k, v in state.items()})
    assert 'value="' + state["config"] + '"' in lesson.text


@pytest.mark.parametrize(
    "fields",
    [
        {"own.text": QWEN},
        {"own.file": encoded(QWEN.encode()), "own.name": "config.json"},
        {"own.file": encoded(header(LISTED["qwen3-8b"], "qwen3"))},
    ],
)
def test_script_receives_the_controls(client: TestClient, fields: dict[str, str]) -> None:
    answer = client.post(FRAGMENT, data=fields)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    name = "qwen3-8b" if fields.get("own.file", "").startswith("R0dVR") else "qwen3-30b-a3b"
    assert answer.json() == {"source": "config", "config": line_of(LISTED[name])}


BAD: list[tuple[dict[str, Any], str]] = [
    ({"own.text": ""}, "nothing to read"),
    ({"own.text": "not a config"}, "not valid JSON"),
    ({"own.text": "{}"}, "hidden_size is missing; it must be an integer from 1 to 1048576"),
    ({"own.text": json.dumps({**LISTED["qwen3-8b"], "num_hidden_layers": 10**9})}, "from 1 to 512"),
    ({"own.text": '{"model_type": "<script>alert(1)</script>"}'}, "hidden_size is missing"),
    ({"own.file": "%%%"}, "did not arrive whole"),
    ({"own.file": encoded(header(LISTED["qwen3-8b"], "qwen3")[:99])}, "8 need 104 bytes and 75 are left"),
    ({"own.file": encoded(header(LISTED["qwen3-8b"], "bert"))}, "known are llama, qwen2, qwen3"),
    ({"own.file": encoded(b"PK\x03\x04" + bytes(60))}, "not valid JSON"),
]


@pytest.mark.parametrize(("fields", "words"), BAD)
@pytest.mark.parametrize("address", [PAGE, FRAGMENT])
def test_refusals_name_the_reason(
    client: TestClient, fields: dict[str, str], words: str, address: str
) -> None:
    answer = client.post(address, data=fields, follow_redirects=False)
    assert answer.status_code == 422
    assert words in parse(answer.text).text
    assert "<script>alert" not in answer.text


def test_wrong_config_in_the_address_is_named(client: TestClient) -> None:
    answer = client.get(PAGE, params={"source": "config", "config": "hidden_size=0"})
    assert answer.status_code == 422
    assert "hidden_size is 0; it must be an integer from 1 to 1048576" in parse(answer.text).text


def test_lesson_links_to_the_panel_which_a_script_can_fetch(client: TestClient) -> None:
    lesson = parse(client.get("/lessons/quantization").text)
    link = lesson.one("details", class_="sharing config").one("a")
    assert link.attributes["href"] == f"{PAGE}#fig-06-paste"
    panel = parse(client.get(f"{FRAGMENT}/own?mix=Q8_0").text)
    assert panel.one("div", id="fig-06-paste-panel").one("textarea").attributes["name"] == "own.text"
    alone = parse(client.get(PAGE).text).one("details", id="fig-06-paste")
    assert len(alone.all("form", class_="own-paste")) == 1


def test_uploaded_files_are_not_stored(client: TestClient) -> None:
    cache = application(client).state.cache
    client.post(FRAGMENT, data={"own.text": QWEN})
    client.post(PAGE, data={"own.text": QWEN})
    assert not any(b"somewhere/model" in response.raw for _, response in cache.items())


def test_ids_of_the_page_are_unique(client: TestClient) -> None:
    ids = re.findall(r'\sid="([^"]+)"', client.get(PAGE, params={"source": "config"}).text)
    assert [each for each in ids if ids.count(each) > 1] == []
