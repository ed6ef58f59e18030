"""Wrong addresses get an error that names the control and its range, never a traceback."""

from __future__ import annotations

from urllib.parse import parse_qsl, quote, urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from app.assets import version
from lessons.catalogue import load_lesson
from lessons.kit.controls import as_parameter
from tests.app.html import parse
from tests.app.test_pages import IDS, LESSON, PAGES
from tests.each import each

FRAGMENT = f"/fragments/{version()}/quantization"


@pytest.mark.parametrize(
    "address", [f"{LESSON}/figures/rtn?bits=9", f"{LESSON}?rtn.bits=9", f"{FRAGMENT}/rtn?bits=9"]
)
def test_value_out_of_range_names_control_and_range(client: TestClient, address: str) -> None:
    answer = client.get(address)
    assert answer.status_code == 422
    assert "Bits per weight" in answer.text
    assert "2 to 8" in answer.text


@pytest.mark.parametrize(
    "address", [f"{LESSON}/figures/rtn?bits=9&group_size=64", f"{LESSON}?rtn.bits=9&rtn.group_size=64"]
)
def test_correction_link_keeps_valid_controls(client: TestClient, address: str) -> None:
    back = parse(client.get(address).text).one("p", class_="way-back").one("a").attributes["href"]
    page = parse(client.get(back).text)
    checked = [
        i
        for i in page.one("figure", id="fig-02").all("input", name="group_size")
        if "checked" in i.attributes
    ]
    assert [i.attributes["value"] for i in checked] == ["64"]


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("bits=", "nothing"),
        ("bits=3&bits=4", "one value"),
        ("bit=3", "bits"),
        ("bits=nan", "2 to 8"),
        ("bits=1e9", "2 to 8"),
        ("block=nowhere", "calm"),
        ("embed=2", "embed must be 0 or 1"),
        ("present=2", "present must be 0 or 1"),
        ("embed=1&present=1", "present must be 0 in an embed"),
    ],
)
def test_errors_are_named(client: TestClient, query: str, words: str) -> None:
    answer = client.get(f"{LESSON}/figures/rtn?{query}")
    assert answer.status_code == 422
    assert words in answer.text


@pytest.mark.parametrize(
    ("query", "status"),
    [("bits=%ff%fe", 400), ("x=" + "1" * 9000, 414), ("&".join(f"a{i}=1" for i in range(200)), 400)],
)
@each("address", [*PAGES, f"{FRAGMENT}/rtn", f"{LESSON}/figures/rtn.csv"])
def test_malformed_queries_are_refused_everywhere(
    client: TestClient, address: str, query: str, status: int
) -> None:
    assert client.get(f"{address}?{query}").status_code == status


def test_markup_in_the_query_is_escaped(client: TestClient) -> None:
    text = client.get(f"{LESSON}/figures/rtn?bits=" + quote("<script>alert(1)</script>")).text
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert" in text


@pytest.mark.parametrize(
    "address",
    [
        "/nowhere",
        "/lessons/none",
        f"{LESSON}/figures/none",
        f"{FRAGMENT}/none",
        "/static/x/none.css",
        f"{LESSON}/",
    ],
)
def test_unknown_address_has_an_error_page(client: TestClient, address: str) -> None:
    answer = client.get(address)
    assert answer.status_code == 404
    assert parse(answer.text).one("h1").text == "Not Found"


def test_unknown_figure_lists_known_ones(client: TestClient) -> None:
    assert "rtn" in client.get(f"{LESSON}/figures/none").text


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_pages_accept_only_get_and_head(client: TestClient, method: str) -> None:
    assert client.request(method, LESSON).status_code == 405


@settings(max_examples=150)
@given(
    name=st.sampled_from(sorted(IDS)),
    shape=st.sampled_from(["{l}/figures/{n}?{q}", "{l}/figures/{n}.csv?{q}", "{f}/{n}?{q}", "{l}?{q}"]),
    pairs=st.lists(
        st.tuples(
            st.sampled_from(
                ["bits", "block", "alpha", "pick", "model", "rtn.bits", "fit.context", "embed", "in", "x", ""]
            ),
            st.one_of(
                st.text(max_size=30),
                st.integers().map(str),
                st.floats().map(str),
                st.sampled_from(["on", "3", "calm"]),
            ),
        ),
        max_size=4,
    ),
)
def test_no_query_breaks_a_page(
    client: TestClient, name: str, shape: str, pairs: list[tuple[str, str]]
) -> None:
    encoded = "&".join(
        f"{key}={quote(value.encode('utf-8', 'surrogatepass'), safe='')}" for key, value in pairs
    )
    answer = client.get(shape.format(l=LESSON, f=FRAGMENT, n=name, q=encoded))
    assert answer.status_code in (200, 303, 304, 400, 414, 422)


@settings(max_examples=100)
@given(path=st.text(max_size=60))
def test_no_path_breaks_the_server(client: TestClient, path: str) -> None:
    answer = client.get("/" + quote(path.encode("utf-8", "surrogatepass"), safe="/"))
    assert answer.status_code < 500


HOSTILE = 'A & B #1 = 50%? +/\\ "q" <x>'


def _way_back(page: str) -> str:
    return parse(page).one("p", class_="way-back").one("a").attributes["href"]


def _refused(name: str) -> list[tuple[str, str]]:
    """An invalid value for each control."""
    return [(control, "½\t") for control in load_lesson("quantization").figures[name].controls.model_fields]


@pytest.mark.parametrize("name", sorted(IDS))
def test_correction_link_is_valid_and_keeps_every_other_value(client: TestClient, name: str) -> None:
    controls = load_lesson("quantization").figures[name].controls
    for control, wrong in _refused(name):
        others = {
            other: HOSTILE if other == "sentence" else as_parameter(widget.states()[-1])
            for other, widget in controls.widgets().items()
            if other != control
        }
        query = urlencode({**others, control: wrong})
        lesson = urlencode({f"{name}.{key}": value for key, value in {**others, control: wrong}.items()})
        addresses = [
            f"{LESSON}/figures/{name}?{query}",
            f"{LESSON}/figures/{name}?{query}&embed=1",
            f"{LESSON}/figures/{name}.csv?{query}",
            f"{FRAGMENT}/{name}?{query}",
        ]
        if control == next(iter(controls.model_fields)):  # the lesson is long
            addresses.append(f"{LESSON}?{lesson}")
        for address in addresses:
            answer = client.get(address)
            assert answer.status_code == 422, address
            back = _way_back(answer.text)
            assert ("embed=1" in back) == ("embed=1" in address)
            named = parse_qsl(back.partition("?")[2])
            state = controls.parse(
                [(key.removeprefix(f"{name}."), value) for key, value in named if key != "embed"]
            )
            assert state == controls.parse(others.items())
            assert client.get(back, follow_redirects=True).status_code == 200


@settings(max_examples=60)
@given(
    wrong=st.lists(st.tuples(st.text(min_size=1, max_size=60), st.text(max_size=60)), min_size=1, max_size=3)
)
def test_correction_link_is_valid_whatever_was_wrong(
    client: TestClient, wrong: list[tuple[str, str]]
) -> None:
    pairs = [("sentence", HOSTILE), ("lock", "seed"), ("seed", "x"), *wrong]
    query = urlencode([(k.encode("utf-8", "replace"), v.encode("utf-8", "replace")) for k, v in pairs])
    answer = client.get(f"{LESSON}/figures/sentence?{query}")
    if answer.status_code == 422 and "way-back" in answer.text:
        assert client.get(_way_back(answer.text), follow_redirects=True).status_code == 200


@pytest.mark.parametrize(
    "address",
    [
        f"{LESSON}/questions/rtn?answer=x",
        f"{LESSON}/tasks/rounding?seed=x&scale=1%2F2",
        f"{LESSON}/jobs/sentence?seed=x&sentence=A+%26+B",
        f"{LESSON}/teach?figure=sentence&set.sentence=A+%26+B&set.seed=x",
        f"{LESSON}/figures/sentence.py?sentence=A+%26+B&seed=x",
        f"{LESSON}/figures/rtn.svg?bits=x&ground=dark",
        f"{LESSON}/figures/rtn?bits=x&lock=block&explain=off&open=details",
        f"{LESSON}/figures/rtn?bits=x&guess=nowhere",
        f"{LESSON}/notebook.ipynb?rtn.bits=x&sentence.sentence=A+%26+B",
    ],
)
def test_every_correction_link_is_valid(client: TestClient, address: str) -> None:
    answer = client.get(address)
    assert answer.status_code == 422
    assert client.get(_way_back(answer.text), follow_redirects=True).status_code == 200
