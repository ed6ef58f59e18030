"""Codes, secrets, names and rates: what needs no database."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.classroom import codes, names, rates
from app.classroom.models import NAME_LENGTH
from app.classroom.refusals import NameRefusedError, TooManyError


def test_code_is_read_however_it_is_typed() -> None:
    code = codes.new_code()
    for typed in (code.lower(), codes.spaced(code), f" {code[:3]}-{code[3:]} ", f"{code[:2]}–{code[2:]}"):
        assert codes.canonical(typed) == code


@pytest.mark.parametrize("typed", ["", "K7M4X", "K7M4XPP", "K7M4XI", "K7M4X\x00", "Ｋ7M4XP", "K" * 9999])
def test_what_cannot_be_a_code_is_none(typed: str) -> None:
    assert codes.canonical(typed) is None


def test_secret_has_128_bits_and_only_it_matches_its_hash() -> None:
    secret, other = codes.new_secret(), codes.new_secret()
    assert re.fullmatch("[A-Za-z0-9_-]{22}", secret)
    assert secret != other
    stored = codes.hash_of(secret)
    assert len(stored) == 32
    assert codes.matches(secret, stored)
    assert not codes.matches(other, stored)
    assert not codes.matches("", stored)


def test_every_pseudonym_is_a_name_of_its_own() -> None:
    words = names._words()
    offered = [f"{adjective} {animal}" for adjective in words["adjectives"] for animal in words["animals"]]
    assert len(offered) >= 10_000
    assert [names.clean(name) for name in offered] == offered
    assert len({names.skeleton(name) for name in offered}) == len(offered)
    assert names.is_offered(names.offer())


def test_offer_is_free_even_when_all_pseudonyms_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "_words", lambda: {"adjectives": ("quiet",), "animals": ("heron",)})
    taken = {names.skeleton("quiet heron")}
    assert re.fullmatch(r"quiet heron \d+", names.offer(taken))


@pytest.mark.parametrize(
    ("typed", "stored"),
    [
        ("  Anna   Lee ", "Anna Lee"),
        ("Ａｎｎａ", "Anna"),
        ("Zoe\u0308", "Zoë"),
        ("Lê Thị Bưởi", "Lê Thị Bưởi"),
        ("نور", "نور"),
        ("小明", "小明"),
        ("O'Neil-Smith", "O'Neil-Smith"),
        ("Scunthorpe", "Scunthorpe"),
        ("=1+1", "=1+1"),
        ("<b>x", "<b>x"),
    ],
)
def test_name_is_kept(typed: str, stored: str) -> None:
    assert names.clean(typed) == stored


@pytest.mark.parametrize(
    ("typed", "why"),
    [
        ("", "length"),
        ("x", "length"),
        ("x" * 25, "length"),
        ("x" * 10_000, "length"),
        ("an\u200bna", "characters"),
        ("an\u202ena", "characters"),
        ("an\x00na", "characters"),
        ("an\nna", "characters"),
        ("an\u2028na", "characters"),
        ("\u3164\u3164\u3164", "characters"),
        ("a" + "\u0316" * 9, "characters"),
        ("...", "characters"),
        ("Teacher", "words"),
        ("teасher", "words"),
        ("the Nazis", "words"),
        ("f u c k", "words"),
        ("SH1T", "words"),
    ],
)
def test_name_is_refused(typed: str, why: str) -> None:
    with pytest.raises(NameRefusedError) as refused:
        names.clean(typed)
    assert refused.value.why == why


@pytest.mark.parametrize(
    "like",
    ["quiet heron", "Quiet Heron", "quietheron", "quiet-her0n", "quіet hеrоn", "qu1et heron", "quïet heron"],
)
def test_look_alikes_have_one_skeleton(like: str) -> None:
    assert names.skeleton(like) == names.skeleton("quiet heron")


@given(st.text(max_size=60))
def test_any_text_is_a_clean_name_or_refused(text: str) -> None:
    try:
        name = names.clean(text)
    except NameRefusedError:
        return
    assert 2 <= len(name) <= NAME_LENGTH
    assert name.isprintable()
    assert names.clean(name) == name
    assert 0 < len(names.skeleton(name)) <= NAME_LENGTH


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def passed(limit: rates.Rates, clock: Clock, what: rates.Limited, times: list[float]) -> int:
    count = 0
    for clock.now in times:
        try:
            limit.take(what, "192.0.2.7", "K7M4XP")
            count += 1
        except TooManyError as error:
            assert 1 <= error.seconds <= 60
            assert str(error.seconds) in error.sentence
    return count


def test_large_class_behind_one_address_joins_and_votes() -> None:
    clock = Clock()
    limit = rates.Rates(clock)
    assert passed(limit, clock, "join", [60 * i / 350 for i in range(350)]) == 350
    clock.now = 0
    assert passed(rates.Rates(clock), clock, "vote", [50 + 10 * i / 1000 for i in range(1000)]) == 1000


def test_rush_of_joins_is_spread_and_nobody_waits_long() -> None:
    clock = Clock()
    limit = rates.Rates(clock)
    came_in, waiting, second = 0, 350, 0
    while waiting:
        now = passed(limit, clock, "join", [second] * waiting)
        came_in, waiting, second = came_in + now, waiting - now, second + 1
    assert came_in == 350
    assert second <= 31


def test_codes_cannot_be_walked_through() -> None:
    clock = Clock()
    limit = rates.Rates(clock)
    assert passed(limit, clock, "unknown code", [i / 100 for i in range(6000)]) <= 120
    with pytest.raises(TooManyError):
        limit.check("unknown code", "192.0.2.7", "K7M4XP")
    limit.check("unknown code", "192.0.2.8", "K7M4XP")
    clock.now += 60
    for _ in range(1000):
        limit.check("unknown code", "192.0.2.7", "K7M4XP")  # a look takes nothing


def test_buckets_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "MOST_BUCKETS", 10)
    limit = rates.Rates(Clock())
    for number in range(100):
        limit.take("vote", str(number))
    assert len(limit._buckets["vote"]) == 10


def test_made_up_students_do_not_make_tries_of_codes_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "MOST_BUCKETS", 10)
    limit = rates.Rates(Clock())
    for _ in range(rates.RATES["unknown code"].burst):
        limit.take("unknown code", "192.0.2.7")
    for number in range(100):
        limit.take("answers of one", str(number))
    with pytest.raises(TooManyError):
        limit.check("unknown code", "192.0.2.7")


def test_who_tries_codes_does_not_lock_out_who_knows_a_class() -> None:
    limit = rates.Rates(Clock())
    limit.learn("192.0.2.7", "K7M4XP")
    assert limit.knows("192.0.2.7", "K7M4XP")
    assert not limit.knows("192.0.2.7", "BCDFGH")
    assert not limit.knows("192.0.2.8", "K7M4XP")


def test_documentation_tells_the_rates() -> None:
    table = (Path(__file__).parents[3] / "docs/hosting.md").read_text("utf-8")
    join, vote, one = rates.RATES["join"], rates.RATES["vote"], rates.RATES["vote of one"]
    assert f"{join.per_minute:.0f} a minute, {join.burst} at once" in table
    votes = f"{vote.per_minute:,.0f} a minute, {vote.burst:,} at once; {one.per_minute:.0f}, {one.burst}"
    assert table.count(votes) == 1
    answers, one = rates.RATES["answers"], rates.RATES["answers of one"]
    sent = f"{answers.per_minute:,.0f} a minute, {answers.burst:,} at once; {one.per_minute:.0f}, {one.burst}"
    assert table.count(sent) == 1
    assert f"{rates.RATES['unknown code'].per_minute:.0f} a minute | 429, also" in table
    assert f"{rates.RATES['create'].burst}, then one a minute" in table
