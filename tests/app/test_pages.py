"""Every address: pages, figures, fragments, embeds, state tables, health."""

from __future__ import annotations

import csv
import io
from urllib.parse import urljoin

import pytest
from starlette.testclient import TestClient

from app.addresses import place_of
from app.assets import version
from app.cache.queue import Crowded
from lessons.catalogue import Lesson, load_lesson
from lessons.kit.controls import MOST_TOGETHER, as_parameter
from tests.app.html import parse
from tests.app.state_tables import table_of, views_of
from tests.each import each

LESSON = "/lessons/quantization"
QUANTIZATION = load_lesson("quantization")
IDS = {name: figure.id for name, figure in QUANTIZATION.figures.items()}
ASIDE = [name for name in IDS if QUANTIZATION.in_workshop(name)]
WHERE = {name: place_of(QUANTIZATION, name, anchor="") for name in IDS}
PAGES = [
    "/",
    "/accessibility",
    LESSON,
    *(f"{LESSON}/{page}" for page in ("summary", "faq", "courses", "sources", "receipts", "workshop")),
    *(f"{LESSON}/workshop/{page.slug}" for page in QUANTIZATION.workshop),
    *(f"{LESSON}/figures/{name}" for name in IDS),
]


@pytest.fixture(scope="module", params=IDS)
def name(request: pytest.FixtureRequest) -> str:
    """Of the module, so that the tests of one figure follow each other: a page is parsed once."""
    figure: str = request.param
    return figure


def fragment(name: str, query: str = "") -> str:
    return f"/fragments/{version()}/quantization/{name}?{query}"


@pytest.mark.parametrize("address", PAGES)
def test_page_is_served_and_links_to_the_accessibility_statement(client: TestClient, address: str) -> None:
    answer = client.get(address)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    footer = parse(answer.text).one("footer")
    assert "/accessibility" in [link.attributes["href"] for link in footer.all("a")]


def test_the_lesson_says_how_long_it_takes(client: TestClient) -> None:
    """Counted by lessons/kit/duration.py; test_claims.py holds the count."""
    reading, whole = QUANTIZATION.minutes
    text = parse(client.get(LESSON).text).one("p", class_="kicker").text
    assert f"{reading} minutes, about {whole} with its questions and tasks" in text
    assert 10 < reading < whole


@each("address", [*PAGES, "/healthz", "/readyz", fragment("rtn")])
def test_head_has_the_headers_of_get(client: TestClient, address: str) -> None:
    head, get = client.head(address), client.get(address)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers.get("etag") == get.headers.get("etag")


def test_figure_has_its_id_one_get_form_and_named_outputs(client: TestClient, name: str) -> None:
    figure = parse(client.get(WHERE[name]).text).one("figure", id=IDS[name])
    assert figure.one("form").attributes["method"] == "get"
    outputs = [output for output in figure.all("output") if "name" in output.attributes]
    assert outputs
    assert all("data-value" in output.attributes for output in outputs)


def test_figure_carries_words_formula_source_and_table(client: TestClient, name: str) -> None:
    figure = parse(client.get(f"{LESSON}/figures/{name}").text).one("figure")
    assert len(figure.one("p", class_="finding").text) > 20
    assert figure.all("math")
    assert "def " in "".join(pre.text for pre in figure.all("pre"))
    assert figure.one("details", class_="data").all("td")


def test_fragment_is_the_view_of_the_page(client: TestClient, name: str) -> None:
    view = parse(client.get(fragment(name)).text).one("div", id=f"{IDS[name]}-view")
    page = parse(client.get(f"{LESSON}/figures/{name}").text).one("div", id=f"{IDS[name]}-view")
    code = {"view": view.one("details", class_="code").text, "page": page.one("details", class_="code").text}
    controls = page.one("div", class_="more-controls").text  # a change leaves them alone
    there = page.text.replace(code["page"], "").replace(controls, "", 1)
    assert view.text.replace(code["view"], "").split() == there.split()


def test_fetched_code_equals_that_of_the_page(client: TestClient, name: str) -> None:
    view = parse(client.get(fragment(name)).text)
    page = parse(client.get(f"{LESSON}/figures/{name}").text)
    listings = [element for element in view.all("div") if "data-listing" in element.attributes]
    assert listings
    for listing in listings:
        there = page.one("div", id=listing.attributes["id"])
        assert parse(client.get(listing.attributes["data-listing"]).text).one("div").text == there.text


def test_lesson_links_to_omitted_data_and_code(client: TestClient, name: str) -> None:
    figure = parse(client.get(WHERE[name]).text).one("figure", id=IDS[name])
    folded = [part for part in figure.all("details") if part.attributes.get("class") in ("code", "data")]
    links = [part.all("a")[0].attributes["href"] for part in folded]
    assert all(client.get(link.partition("#")[0]).status_code == 200 for link in links)
    assert links[-1].endswith(f"#{IDS[name]}-data")
    parse(client.get(links[-1]).text).one("div", id=f"{IDS[name]}-data")


@pytest.mark.parametrize(
    "name",
    ["os.system", "quant_core.methods.rtn.nothing", "quant_core.methods.rtn.np.load", "app.main.create_app"],
)
def test_only_the_library_shows_its_code(client: TestClient, name: str) -> None:
    assert client.get(f"{LESSON}/code/{name}").status_code == 404
    assert client.get(f"/fragments/{version()}/quantization/rtn/code/{name}").status_code == 404


def test_python_that_ran_begins_with_the_computation_of_the_figure(client: TestClient, name: str) -> None:
    function = f"lessons.quantization.figures.{name}.compute"
    code = parse(client.get(f"{LESSON}/figures/{name}").text).one("details", class_="code")
    first = code.all("p", class_="listing-name")[0]
    assert first.text == function
    alone = parse(client.get(f"{LESSON}/code/{function}").text)
    assert all("def compute(controls: Controls)" in page.text for page in (code, alone))
    part = client.get(f"/fragments/{version()}/quantization/{name}/code/{function}")
    assert "compute" in part.text


def test_a_function_has_a_page_with_its_lines(client: TestClient) -> None:
    page = parse(client.get(f"{LESSON}/code/quant_core.methods.rtn.round_to_nearest").text)
    assert "def round_to_nearest(" in "".join(pre.text for pre in page.all("pre"))


def test_old_addresses_of_functions_redirect(client: TestClient) -> None:
    for former, now in (
        ("quant_core.rtn", "quant_core.methods.rtn"),
        ("quant_core.mixes", "quant_core.ggml.mixes"),
    ):
        name = "round_to_nearest" if former.endswith("rtn") else "tensor_types"
        pages = [client.get(f"{LESSON}/code/{module}.{name}") for module in (former, now)]
        assert [page.status_code for page in pages] == [200, 200]
        assert pages[0].text.replace(former, now) == pages[1].text


def test_state_table_holds_the_fragment_of_each_state(client: TestClient) -> None:
    table = table_of(client, f"/fragments/{version()}/quantization/rtn/along/bits?block=outlier")
    views = views_of(table)
    assert list(views) == ["2", "3", "4", "5", "6", "7", "8"]
    assert views["5"] == client.get(fragment("rtn", "block=outlier&bits=5")).text
    assert table["beside"] == []


def test_large_state_tables_are_sent_in_parts(client: TestClient, lesson: Lesson) -> None:
    along = f"/fragments/{version()}/quantization/fit/along/memory"
    seen: list[str] = []
    at = ["memory=4"]
    while at:
        table = table_of(client, f"{along}?device=own&{at.pop()}")
        assert len(table["states"]) <= MOST_TOGETHER
        seen += table["states"]
        at = [f"memory={value}" for value in table["beside"] if value not in seen]
    states = [as_parameter(state) for state in lesson.figures["fit"].controls.widgets()["memory"].states()]
    assert len(states) > MOST_TOGETHER
    assert seen == states


def test_slow_state_table_is_empty_and_continues_at_the_next_request(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.views.state_table.TABLE_SECONDS", 1e-6)
    along = f"/fragments/{version()}/quantization/primitive/along/weight?block=llm&bits=3"
    answer = client.get(along)
    assert answer.json() == {}
    assert answer.headers["cache-control"] == "no-store"
    answers = [client.get(along).json() for _ in range(40)]
    assert answers[0] == {}
    assert answers[-1]["states"]


def test_text_controls_have_no_state_table(client: TestClient) -> None:
    along = f"/fragments/{version()}/quantization/sentence/along/seed"
    assert client.get(f"{along}?sentence=a+king").json() == {}
    assert table_of(client, f"{along}?example=modern")["states"]


def test_state_table_of_wrong_controls_names_the_range(client: TestClient) -> None:
    answer = client.get(f"/fragments/{version()}/quantization/rtn/along/bits?block=nowhere")
    assert answer.status_code == 422
    assert "calm" in answer.text


def test_fragment_of_this_version_is_immutable(client: TestClient) -> None:
    assert "immutable" in client.get(fragment("rtn")).headers["cache-control"]


@pytest.mark.parametrize(
    "address",
    [
        "/fragments/older/quantization/rtn",
        "/fragments/older/quantization/rtn/along/bits",
        "/fragments/older/quantization/rtn/share",
        "/fragments/older/quantization/rtn/own",
        "/fragments/older/quantization/rtn/code/quant_core.methods.rtn.round_to_nearest",
        "/fragments/older/quantization/questions/rtn",
        "/fragments/older/quantization/questions",
        "/static/older/lesson.css",
        "/static/older/js/page/figures.js",
        f"/static/{version()}/js/newer.js",
        f"/fragments/{version()}/quantization/newer",
    ],
)
def test_other_versions_get_404_with_no_store(client: TestClient, address: str) -> None:
    """During a deployment another replica may have it, or this one a moment later."""
    answer = client.get(address)
    assert (answer.status_code, answer.headers["cache-control"]) == (404, "no-store")


def test_own_weights_of_another_version_are_refused(client: TestClient) -> None:
    assert client.post("/fragments/older/quantization/rtn", data={"own": "1 2 3"}).status_code == 404


def test_etag_gives_304(client: TestClient) -> None:
    first = client.get(LESSON)
    second = client.get(LESSON, headers={"if-none-match": first.headers["etag"]})
    assert (second.status_code, second.content) == (304, b"")


def test_address_restores_the_state_of_a_figure(client: TestClient) -> None:
    page = parse(client.get(f"{LESSON}?rtn.bits=5").text)
    assert page.one("figure", id="fig-02").one("output", name="levels").attributes["data-value"] == "32"
    assert page.one("input", id="fig-02-bits").attributes["value"] == "5"


def test_form_without_scripts_returns_to_the_lesson_with_every_state(client: TestClient) -> None:
    answer = client.get(f"{LESSON}/figures/rtn?bits=5&in=lesson&xray.importance=on")
    assert answer.status_code == 303
    assert answer.headers["location"] == f"{LESSON}?rtn.bits=5&xray.importance=on#fig-02"


def test_embed_is_bare_and_may_be_framed(client: TestClient) -> None:
    answer = client.get(f"{LESSON}/figures/rtn?embed=1&bits=5")
    assert "frame-ancestors *" in answer.headers["content-security-policy"]
    assert not parse(answer.text).all("header")


def test_csv_holds_the_rows_of_the_page(client: TestClient) -> None:
    rows = list(csv.reader(io.StringIO(client.get(f"{LESSON}/figures/rtn.csv?group_size=16").text)))
    assert rows[0] == ["column", "weight", "code", "snapped", "error"]
    assert len(rows) == 1 + 16


def test_shared_link_with_tracking_names_still_opens(client: TestClient) -> None:
    assert client.get(f"{LESSON}/figures/rtn?bits=5&utm_source=mail&fbclid=x").status_code == 200


def test_health_and_readiness(client: TestClient) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json()["lessons"] == ["quantization"]


def test_course_page_links_to_the_lesson_and_lists_the_path(client: TestClient) -> None:
    page = client.get("/").text
    assert f'href="{LESSON}"' in page
    assert all(number in page for number in ("02·01", "02·02", "02·03", "02·04"))


def test_every_claim_of_the_prose_links_to_its_source(client: TestClient, lesson: Lesson) -> None:
    sources = parse(client.get(f"{LESSON}/sources").text)
    known = {element.attributes["id"] for element in sources.all("div") if "id" in element.attributes}
    for page in (LESSON, f"{LESSON}/summary", f"{LESSON}/faq"):
        links = {
            urljoin(page, a.attributes["href"])
            for a in parse(client.get(page).text).all("a")
            if "claim" in a.attributes.get("class", "")
        }
        assert links
        assert links <= {f"{LESSON}/sources#{claim}" for claim in known}


def test_source_lists_uses_of_its_claim(client: TestClient) -> None:
    size = parse(client.get(f"{LESSON}/sources").text).one("div", id="size-70b-q4km")
    used = {a.attributes["href"] for a in size.one("dd", class_="used-in").all("a")}
    assert {f"{LESSON}#opening", f"{LESSON}/summary", f"{LESSON}/tasks/choose"} <= used
    rtn = parse(client.get(f"{LESSON}/sources").text).one("div", id="werr-rtn").one("dd", class_="used-in")
    assert f"{LESSON}/workshop/gptq" in {a.attributes["href"] for a in rtn.all("a")}


def test_a_section_leads_to_its_own_sources(client: TestClient, lesson: Lesson) -> None:
    links = [a.attributes["href"] for a in parse(client.get(LESSON).text).all("a")]
    for section in lesson.sections:
        assert (f"{LESSON}/sources?section={section.slug}" in links) == bool(section.claims)
    page = parse(client.get(f"{LESSON}/sources?section=awq").text)
    shown = {
        entry.attributes["id"] for entry in page.all("div") if entry.attributes.get("id") in lesson.claims
    }
    assert shown == set(lesson.section("awq").claims)
    assert client.get(f"{LESSON}/sources?section=nowhere").status_code == 422


def test_summary_shows_pieces_of_figures_in_the_states_that_it_names(
    client: TestClient, lesson: Lesson
) -> None:
    """Drawings and sentences there are computed, not copied."""
    page = parse(client.get(f"{LESSON}/summary").text)
    marks = [mark.attributes.get("class", "").split() for mark in page.all("circle")]
    assert sum("snap-mark" in classes for classes in marks) == 16
    state = [("model", "llama-3.1-8b"), ("scope", "everything"), ("device", "rtx-3060-12")]
    fits = lesson.figures["fit"].view(lesson.figures["fit"].controls.parse(state))
    assert lesson.texts["fit"].sentence(fits.description[0]) in page.one("p", class_="worked").text


def test_lesson_links_to_its_summary(client: TestClient) -> None:
    links = parse(client.get(LESSON).text).one("section", id="close").all("a")
    assert f"{LESSON}/summary" in {urljoin(LESSON, a.attributes["href"]) for a in links}


def test_lesson_links_to_the_questions_people_ask(client: TestClient) -> None:
    links = parse(client.get(LESSON).text).one("section", id="close").all("a")
    assert f"{LESSON}/faq" in {urljoin(LESSON, a.attributes["href"]) for a in links}


def test_links_of_the_questions_people_ask_lead_somewhere(client: TestClient) -> None:
    page = f"{LESSON}/faq"
    links = {urljoin(page, a.attributes["href"]) for a in parse(client.get(page).text).all("a")}
    figures = {link for link in links if "/figures/" in link}
    assert len(figures) > 10
    assert {link: client.get(link).status_code for link in figures} == dict.fromkeys(figures, 200)


def test_a_lesson_without_such_questions_says_so(client: TestClient) -> None:
    assert client.get("/lessons/specimen/faq").status_code == 404
    assert client.get("/lessons/specimen/courses").status_code == 404


def test_links_beside_other_courses_lead_to_states(client: TestClient) -> None:
    """`tests/lessons/test_courses.py` checks what the states show."""
    page = f"{LESSON}/courses"
    links = {urljoin(page, a.attributes["href"]) for a in parse(client.get(page).text).all("a")}
    inside = {link for link in links if link.startswith(LESSON)}
    assert len(inside) > 15
    assert {link: client.get(link).status_code for link in inside} == dict.fromkeys(inside, 200)
    assert page in {urljoin(LESSON, a.attributes["href"]) for a in parse(client.get(LESSON).text).all("a")}


def test_static_file_of_this_version_is_immutable_and_compressed(client: TestClient) -> None:
    answer = client.get(f"/static/{version()}/lesson.css", headers={"accept-encoding": "br"})
    assert answer.headers["content-encoding"] == "br"
    assert "immutable" in answer.headers["cache-control"]


def test_static_serves_nothing_outside_its_folder(client: TestClient) -> None:
    assert client.get(f"/static/{version()}/..%2fpyproject.toml").status_code == 404


def test_root_path_prefixes_every_link() -> None:
    from app import create_app
    from app.settings import Settings

    with TestClient(create_app(Settings(root_path="/academy"))) as proxied:
        page = parse(proxied.get(f"/academy{LESSON}").text)
    addresses = [a.attributes.get("href", "") for a in page.all("a")] + [
        f.attributes["action"] for f in page.all("form")
    ]
    inner = [a for a in addresses if a.startswith("/")]
    assert inner
    assert all(a.startswith("/academy/") for a in inner)


def test_figures_of_the_workshop_have_their_own_style_sheet(client: TestClient) -> None:
    sheet = f"/static/{version()}/workshop.css"
    rules = client.get(sheet)
    assert rules.headers["content-type"].startswith("text/css")
    assert all(f".fig-{name}" in rules.text for name in ASIDE)
    first = client.get(f"/static/{version()}/lesson.css").text
    assert not any(f".fig-{name} ." in first for name in ASIDE)
    for page in ("figures/measured", "figures/measured?embed=1", "workshop/measured"):
        assert f'href="{sheet}"' in client.get(f"{LESSON}/{page}").text
    assert sheet not in client.get(f"{LESSON}/figures/rtn").text


def test_own_words_are_shown_and_escaped(client: TestClient) -> None:
    typed = "<script>alert(1)</script> \"&'"
    for address in (f"{LESSON}/figures/sentence", WHERE["sentence"]):
        key = "sentence" if "/figures/" in address else "sentence.sentence"
        answer = client.get(address, params={key: typed})
        assert answer.status_code == 200
        assert "<script>alert" not in answer.text
    field = parse(client.get(f"{LESSON}/figures/sentence", params={"sentence": typed}).text)
    assert field.one("input", name="sentence").attributes["value"] == typed


def test_refused_words_name_what_is_allowed(client: TestClient) -> None:
    answer = client.get(f"{LESSON}/figures/sentence", params={"sentence": 101 * "a"})
    assert answer.status_code == 422
    assert "at most 100 characters" in answer.text
    assert client.get(fragment("sentence", "sentence=%0A")).status_code == 422


def test_too_many_typing_readers_get_retry_after(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(*_: object, **__: object) -> None:
        raise Crowded

    monkeypatch.setattr("app.cache.store.ResponseCache.get", full)
    answer = client.get(fragment("sentence", "sentence=a+king"))
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) >= 1
