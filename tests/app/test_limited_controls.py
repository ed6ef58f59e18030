"""Controls without effect in a state are disabled, with the reason beside them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from app.assets import version
from lessons.catalogue import load_lesson
from lessons.kit.controls import Text
from lessons.quantization import smollm2
from tests.app.html import Element, parse

PAGE = "/lessons/quantization/figures"
FIGURES = load_lesson("quantization").figures


def figure(client: TestClient, address: str) -> Element:
    answer = client.get(f"{PAGE}/{address}")
    assert answer.status_code == 200
    return parse(answer.text).one("figure")


def radios(shown: Element, name: str) -> dict[str, dict[str, str]]:
    return {
        i.attributes["value"]: i.attributes
        for i in shown.all("input", name=name)
        if i.attributes["type"] == "radio"
    }


def test_measures_missing_from_the_data_are_disabled(client: TestClient) -> None:
    shown = figure(client, "quality?data=base")
    off = {name for name, attributes in radios(shown, "measure").items() if "disabled" in attributes}
    assert off == {"benchmark_loss", "gsm8k"}
    reason = shown.one("small", id="fig-05-measure-reason")
    assert "perplexity alone" in reason.text
    groups = [
        f
        for f in shown.all("fieldset")
        if reason.attributes["id"] in f.attributes.get("aria-describedby", "")
    ]
    assert [g.one("legend").text for g in groups] == ["Measured by"]
    limits = json.loads(shown.one("div", class_="view").attributes["data-limits"])
    assert limits["measure"]["options"] == ["benchmark_loss", "gsm8k"]
    assert limits["measure"]["reason"] == reason.text

    free = figure(client, "quality")
    assert not [a for a in radios(free, "measure").values() if "disabled" in a]
    assert "measure" not in json.loads(free.one("div", class_="view").attributes["data-limits"])


@pytest.mark.parametrize("measure", ["benchmark_loss", "gsm8k"])
def test_address_with_a_missing_measure_shows_perplexity_with_a_note(
    client: TestClient, measure: str
) -> None:
    shown = figure(client, f"quality?data=base&measure={measure}")
    assert "checked" in radios(shown, "measure")[measure]
    assert "perplexity, better is up" in shown.text
    assert any("the plot shows perplexity" in note.text for note in shown.all("p", class_="note"))


@pytest.mark.parametrize(
    ("address", "name", "value", "words"),
    [
        ("measured?family=gptq&imatrix=with", "imatrix", "with", "Only GGUF"),
        ("measured?family=gguf&group=32", "group", "32", "blocks of their own"),
        ("measured?family=w8a8", "group", "64", "each row"),
        ("xray?format=Q8_0&importance=on", "importance", "on", "Q8_0 does not look"),
        ("xray?block=outlier", "importance", "off", "without activations"),
    ],
)
def test_control_without_effect_is_disabled_and_keeps_its_value(
    client: TestClient, address: str, name: str, value: str, words: str
) -> None:
    shown = figure(client, address)
    reason = next(small for small in shown.all("small") if words in small.text)
    (control,) = [
        f
        for f in shown.all("fieldset")
        if f.attributes.get("aria-describedby", "").endswith(reason.attributes["id"])
    ]
    assert "disabled" in control.attributes
    form = next(each for each in shown.all("form") if each.attributes.get("id", "").endswith("-form"))
    hidden = [i for i in form.all("input", name=name) if i.attributes["type"] == "hidden"]
    assert [i.attributes["value"] for i in hidden] == [value]


@pytest.mark.parametrize("name", ["measured", "sentence"])
@pytest.mark.parametrize("installed", [False, True])
def test_missing_model_is_disabled(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, name: str, installed: bool
) -> None:
    monkeypatch.setattr(smollm2, "model_file", lambda: Path("here") if installed else None)
    state = f"family={'rtn' if installed else 'awq'}" if name == "measured" else f"seed={4 + installed}"
    shown = figure(client, f"{name}?{state}")  # another state each time, because responses are cached
    assert ("disabled" in radios(shown, "model")["smollm2"]) is not installed
    assert ("is not installed on this server" in shown.text) is not installed


def test_errors_of_typed_input_are_beside_the_field(client: TestClient) -> None:
    address = f"/fragments/{version()}/quantization/sentence?sentence=caf%C3%A9"
    view = parse(client.get(address).text).one("div", class_="view")
    told = json.loads(view.attributes["data-limits"])["sentence"]
    assert told["options"] == []
    assert "“é”" in told["reason"]
    assert view.attributes["data-announce"].startswith(told["reason"])
    page = figure(client, "sentence?sentence=caf%C3%A9")
    field = page.one("input", id="fig-05e-sentence")
    assert field.attributes["value"] == "café"
    assert "disabled" not in field.attributes
    assert field.attributes["aria-describedby"] == "fig-05e-sentence-hint fig-05e-sentence-reason"


def test_every_reason_names_existing_controls_and_options() -> None:
    for name, each in FIGURES.items():
        text = load_lesson("quantization").texts[name]
        for control, widget in each.controls.widgets().items():
            for value in () if isinstance(widget, Text) else widget.states()[:12]:
                state = each.controls().model_copy(update={control: value})
                for limited, limit in each.view(state).limits.items():
                    states = each.controls.widgets()[limited].states()
                    assert set(limit.options or ()) <= set(map(str, states))
                    assert text.sentence(limit.reason)
