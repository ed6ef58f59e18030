"""The morph that writes a figure's next view into the one that is shown (`static/js/figure/patch.js`)."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest
from playwright.sync_api import Page

from tests.browser.covering import covering
from tests.browser.figures import FIGURES, NAMES, open_alone

pytestmark = pytest.mark.tidy

BEGIN = """
  const lesson = document.querySelector('script[src$="/js/page/figures.js"]').src;
  const { patch } = await import(lesson.replace("page/figures.js", "figure/patch.js"));
  const parse = (html) => {
    const template = document.createElement("template");
    template.innerHTML = html;
    return template.content.firstElementChild;
  };
"""
WALK = """async (figures) => {
  BEGIN
  const seen = (view) => {
    view.querySelector(".more").remove();
    for (const template of view.querySelectorAll("template")) template.replaceWith(template.innerHTML);
    return view;
  };
  const wrong = [];
  for (const [name, addresses] of Object.entries(figures)) {
    const views = await Promise.all(addresses.map(async (address) => (await fetch(address)).text()));
    const shown = document.body.appendChild(parse(views.at(-1)));
    for (const [i, view] of views.entries()) {
      patch(shown, parse(view));
      if (!seen(shown.cloneNode(true)).isEqualNode(seen(parse(view)))) wrong.push(addresses[i]);
    }
    shown.remove();
  }
  return wrong;
}""".replace("BEGIN", BEGIN)
CHILDREN = """async ([before, after]) => {
  BEGIN
  const [one, other] = [before, after].map((children) => parse(`<div>${children}</div>`));
  const shown = document.body.appendChild(one);
  const input = shown.querySelector("input");
  const marked = shown.querySelector("#mark");
  input.focus();
  patch(shown, other);
  const same = [document.activeElement === input, shown.querySelector("#mark") === marked];
  const found = [shown.innerHTML === after, ...same];
  shown.remove();
  return found;
}""".replace("BEGIN", BEGIN)
INPUT, MARK = "<p><input></p>", '<b id="mark">1</b>'


def test_every_figures_view_becomes_the_next_one_to_the_letter(page: Page) -> None:
    """From state to state through every option of every control; what is folded is left as it was."""
    open_alone(page, "rtn")
    addresses = {}
    for name in NAMES:
        figure = FIGURES[name]
        base = page.locator("#fig-02-form").get_attribute("hx-get") or ""
        queries = [urlencode(figure.controls.parse(list(state.items())).query()) for state in covering(name)]
        addresses[name] = [f"{base.replace('/rtn', f'/{name}')}?{query}" for query in queries]
    assert sum(map(len, addresses.values())) > 50
    assert page.evaluate(WALK, addresses) == []


def test_what_has_the_focus_and_what_has_a_name_stay_where_others_come_and_go(page: Page) -> None:
    open_alone(page, "rtn")
    others = ["", "<i>x</i>", " <u>y</u> ", "z"]
    for before in others:
        for after in others:
            texts = [f"{before}{INPUT}{before}{MARK}", f"{after}{INPUT}{MARK}{before}"]
            assert page.evaluate(CHILDREN, texts) == [True, True, True], texts
    texts = [f'{MARK}{INPUT}<i id="a">1</i>', f'<i id="a">1</i>{INPUT}{MARK}']
    assert page.evaluate(CHILDREN, texts)[0::2] == [True, True]
