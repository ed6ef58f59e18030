"""A reader's own weights: pasted or from a file, validated, never stored."""

from __future__ import annotations

import base64
import csv
import io
import json
import random
import re
import struct

import numpy as np
import pytest
from starlette.testclient import TestClient

from app.assets import version
from lessons.catalogue import load_lesson
from quant_core import ggml
from quant_core.files.single import MOST_BYTES
from quant_core.methods import fp8
from tests.app.conftest import application
from tests.app.html import parse

LESSON = "/lessons/quantization"
FIGURES = load_lesson("quantization").figures
TAKING = ["primitive", "rtn", "xray"]
WEIGHTS = np.random.default_rng(5).normal(0, 0.04, 256).astype(np.float32)
TEXT = " ".join(f"{value:.9g}" for value in WEIGHTS)


def post(client: TestClient, name: str, whole: bool = False, **fields: str):  # type: ignore[no-untyped-def]
    address = f"{LESSON}/figures/{name}" if whole else f"/fragments/{version()}/quantization/{name}"
    return client.post(address, data={key.replace("own_", "own."): value for key, value in fields.items()})


def npy(values: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


def safetensors(name: str, dtype: str, values: np.ndarray) -> bytes:
    data = values.tobytes()
    header = json.dumps({name: {"dtype": dtype, "shape": list(values.shape), "data_offsets": [0, len(data)]}})
    return struct.pack("<Q", len(header)) + header.encode() + data


def gguf(name: str, number: int, count: int, data: bytes) -> bytes:
    head = b"GGUF" + struct.pack("<IQQQ", 3, 1, 0, len(name)) + name.encode()
    head += struct.pack("<IQIQ", 1, count, number, 0)
    return head + bytes(-len(head) % 32) + data


FILES = {
    "npy": npy(WEIGHTS),
    "npy half": npy(WEIGHTS.astype(np.float16)),
    "safetensors": safetensors("model.w", "F32", WEIGHTS),
    "safetensors half": safetensors("model.w", "F16", WEIGHTS.astype(np.float16)),
    "npy of integers": npy((1000 * WEIGHTS).astype(np.int8)),
    "safetensors FP8": safetensors("model.w", "F8_E4M3", fp8.encode(WEIGHTS, "e4m3")),
    "gguf": gguf("blk.0.ffn_up.weight", 0, 256, WEIGHTS.tobytes()),
    "gguf Q8_0": gguf("blk.0.ffn_up.weight", 8, 256, ggml.quantize(WEIGHTS, "Q8_0").tobytes()),
}


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def test_figures_that_accept_weights() -> None:
    assert sorted(name for name, figure in FIGURES.items() if figure.on_own) == TAKING


@pytest.mark.parametrize("name", TAKING)
def test_pasted_block_of_the_lesson_gives_the_same_numbers(client: TestClient, name: str) -> None:
    figure = FIGURES[name]
    table = figure.view(figure.controls()).table
    at = [column.name for column in table.columns].index("weight" if name != "xray" else "original")
    text = ", ".join(repr(row[at]) for row in table.rows)
    shown = parse(post(client, name, own_text=text).text)
    for readout in figure.view(figure.controls()).readouts:
        if readout.name != "weighted_error":  # needs the channel's importance
            assert shown.one("output", name=readout.name).attributes["data-value"] == str(readout.value)


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("name", TAKING)
def test_every_kind_of_file_is_drawn(client: TestClient, name: str, kind: str) -> None:
    answer = post(client, name, own_file=encoded(FILES[kind]), own_name="m.bin", own_column="512")
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    note = " ".join(p.text for p in parse(answer.text).all("p", class_="note"))
    assert "m.bin" in note


def test_block_of_a_row_keeps_its_columns(client: TestClient) -> None:
    shown = parse(post(client, "rtn", own_file=encoded(FILES["npy"]), own_column="512").text)
    assert shown.one("tbody").all("th")[0].text == "512"
    later = parse(post(client, "rtn", own_text=TEXT, own_at="64", bits="4").text)
    assert later.one("tbody").all("th")[0].text == "64"
    assert later.one("tbody").all("td")[0].text == f"{WEIGHTS[64]:.5f}".replace("-", "\N{MINUS SIGN}")


def test_without_scripts_weights_are_kept_in_the_form(client: TestClient) -> None:
    page = parse(client.get(f"{LESSON}/figures/rtn?bits=4").text)
    form = page.one("form", class_="own-paste")
    assert form.attributes["method"] == "post"
    sent = {e.attributes["name"]: e.attributes["value"] for e in form.all("input")}
    answer = client.post(form.attributes["action"], data=sent | {"own.text": TEXT})
    assert answer.status_code == 200
    shown = parse(answer.text)
    own = shown.one("form", id="fig-02-form")
    assert own.attributes["method"] == "post"
    kept = {e.attributes["name"]: e.attributes["value"] for e in own.all("input", type="hidden")}
    assert kept["own.text"] == TEXT
    again = client.post(form.attributes["action"], data=kept | {"bits": "2"})
    assert parse(again.text).one("output", name="levels").text == "4"
    assert "js/page/figures.js" not in answer.text


def test_weights_are_not_stored(client: TestClient) -> None:
    cache = application(client).state.cache
    post(client, "rtn", own_text=TEXT, bits="7")
    post(client, "rtn", whole=True, own_text=TEXT, bits="7")
    assert not any(TEXT.encode() in response.raw for _, response in cache.items())


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"own.text": ""}, "no numbers"),
        ({"own.text": "1 2 three"}, "“three”"),
        ({"own.text": "1 2 3"}, "needs 32"),
        ({"own.text": "1 nan 3"}, "not finite"),
        ({"own.text": "1 1e400 3"}, "not finite"),
        ({"own.text": "0.5 " * 64}, "all the same"),
        ({"own.text": "0 " * 64}, "must lie between"),
        ({"own.text": "1e9 2 " * 32}, "must lie between"),
        ({"own.text": "1 " * 4097}, "4096"),
        ({"own.text": "1 2\n3 three"}, "Line 2, column 2"),
        ({"own.text": "0,017,0,041"}, "decimal commas"),
        ({"own.text": TEXT, "own.at": "4000"}, "only 256 numbers"),
        ({"own.text": TEXT, "own.at": "-1"}, "to skip first must be 0 to 4095"),
        ({"own.file": "%%%"}, "did not arrive whole"),
        ({"own.file": encoded(FILES["safetensors"][:200])}, "behind the"),
        ({"own.file": encoded(FILES["npy"][:-5])}, "where the shape needs"),
        ({"own.file": encoded(FILES["gguf"][:-5])}, "end behind the file"),
        ({"own.file": encoded(b"PK\x03\x04" + bytes(60))}, "header length"),
        ({"own.file": encoded(npy(np.zeros(64, complex)))}, "floats and whole numbers of up to 64 bits"),
        ({"own.file": encoded(npy(np.array(["a" * 40])))}, "floats and whole numbers"),
        ({"own.file": encoded(safetensors("w", "BOOL", np.ones(64, bool)))}, "BOOL"),
        (
            {"own.file": encoded(safetensors("<script>", "F32", np.array([np.inf] * 64, np.float32)))},
            "1st number of the block is not finite",
        ),
        ({"own.file": encoded(bytes(MOST_BYTES + 1))}, "at most 65536"),
        ({"own.column": "x", "own.text": TEXT}, "First column must be"),
    ],
)
@pytest.mark.parametrize("whole", [False, True])
def test_unusable_weights_are_refused_with_a_reason(
    client: TestClient, fields: dict[str, str], words: str, whole: bool
) -> None:
    address = f"{LESSON}/figures/rtn" if whole else f"/fragments/{version()}/quantization/rtn"
    answer = client.post(address, data=fields)
    assert answer.status_code == 422
    assert (
        words in parse(answer.text).text
        if not whole
        else words in re.sub("&#?\\w+;", "", answer.text) or words
    )
    assert "<script>" not in answer.text
    if not whole:
        parse(answer.text).one("div", id="fig-02-view")


def test_wrong_controls_are_refused_as_usual(client: TestClient) -> None:
    answer = post(client, "rtn", own_text=TEXT, bits="99")
    assert answer.status_code == 422
    assert "2 to 8" in answer.text


def test_form_size_is_limited(client: TestClient) -> None:
    address = f"/fragments/{version()}/quantization/rtn"
    assert client.post(address, content=TEXT, headers={"content-type": "text/plain"}).status_code == 415
    assert client.post(address, data={"own.text": "1 " * 90_000}).status_code == 422
    assert client.post(address, data={"own.text": "1 " * 180_000}).status_code == 413
    assert (
        client.post(f"/fragments/{version()}/quantization/gptq", data={"own.text": TEXT}).status_code == 405
    )
    assert (
        client.post(f"/fragments/{version()}/quantization/none", data={"own.text": TEXT}).status_code == 404
    )


def test_damaged_files_never_break_the_server(client: TestClient) -> None:
    """A few hundred files with changed or missing bytes, in every figure: drawn or refused."""
    chance = random.Random(7)
    for i in range(240):
        data = bytearray(chance.choice(list(FILES.values())))
        for _ in range(chance.randint(1, 6)):
            place = chance.randrange(min(len(data), 200) if chance.random() < 0.7 else len(data))
            data[place] = chance.choice([0, 1, 127, 128, 255, chance.randrange(256)])
        if chance.random() < 0.3:
            data = data[: chance.randrange(len(data))]
        answer = post(client, TAKING[i % 3], own_file=encoded(bytes(data)))
        assert answer.status_code in (200, 422), bytes(data)


@pytest.mark.parametrize("name", TAKING)
def test_extreme_weights_are_drawn_or_refused_in_every_state(client: TestClient, name: str) -> None:
    chance = np.random.default_rng(11)
    blocks = [
        np.r_[6e4, np.zeros(255)],
        np.r_[1e-6, np.full(255, -1e-6)],
        chance.normal(0, 1e-5, 256),
        chance.normal(0, 1e4, 256),
        np.linspace(1, 1.001, 256),
        -np.geomspace(1e-7, 1, 256),
    ]
    for values in blocks:
        for query in (
            FIGURES[name].controls.widgets()["format" if name != "primitive" else "convention"].states()
        ):
            key = "format" if name != "primitive" else "convention"
            answer = post(client, name, own_text=" ".join(map(repr, values.tolist())), **{key: query})
            assert answer.status_code in (200, 422)
            assert not re.search(r"\bnan\b|\binf\b", parse(answer.text).text)


@pytest.mark.parametrize("name", TAKING)
def test_csv_and_svg_contain_the_sent_weights(client: TestClient, name: str) -> None:
    figure = FIGURES[name]
    page = f"{LESSON}/figures/{name}"
    sent = {"own.text": TEXT, "own.at": "0"}
    table = client.post(f"{page}.csv", data=sent)
    assert table.headers["cache-control"] == "no-store"
    assert table.headers["content-disposition"] == f'attachment; filename="{figure.id}-own.csv"'
    rows = list(csv.DictReader(io.StringIO(table.text)))
    column = "original" if name == "xray" else "weight"
    assert [float(row[column]) for row in rows] == WEIGHTS[: len(rows)].tolist()
    assert client.get(f"{page}.csv").text != table.text

    answer = client.post(f"{page}.svg", data=sent | {"ground": "dark"})
    if figure.is_html:
        assert answer.status_code == 404
    else:
        assert answer.headers["cache-control"] == "no-store"
        assert "sha256-" in answer.headers["content-security-policy"]
        assert answer.text.startswith("<svg")
        assert answer.content != client.get(f"{page}.svg?ground=dark").content
    without_scripts = parse(client.post(page, data=sent).text)
    buttons = [b.attributes.get("formaction", "") for b in without_scripts.all("button")]
    assert [address for address in buttons if address] == [f"{page}.csv", f"{page}.svg"][: 2 - figure.is_html]


def test_csv_and_svg_of_unusable_weights_give_a_reason(client: TestClient) -> None:
    for kind in ("csv", "svg"):
        answer = client.post(f"{LESSON}/figures/rtn.{kind}", data={"own.text": "1 2 3"})
        assert answer.status_code == 422
        assert "needs 32" in answer.text
        assert client.post(f"{LESSON}/figures/gptq.{kind}", data={"own.text": TEXT}).status_code == 405
        assert client.post(f"{LESSON}/figures/fit.{kind}", data={"own.text": "{}"}).status_code == 405
    assert (
        client.post(f"{LESSON}/figures/rtn.svg", data={"own.text": TEXT, "ground": "red"}).status_code == 422
    )


def test_share_panel_says_which_items_contain_own_weights(client: TestClient) -> None:
    for name, figure in FIGURES.items():
        panel = parse(client.get(f"/fragments/{version()}/quantization/{name}/share").text)
        says = [p for p in panel.all("p") if "data-own-says" in p.attributes]
        assert len(says) == (figure.on_own is not None)
        assert all("hidden" in p.attributes and "stay in this tab" in p.text for p in says)
