from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allegro.core.errors import Refusal
from allegro.core.models import (
    MAX_COOL_S,
    PROBED,
    Cooling,
    Ladder,
    Spend,
    Trouble,
    classify,
    cost_usd,
    estimated_tokens,
    ladder_words,
    retry_after_s,
    rung_key,
    usage_of,
    within_caps,
)
from allegro.core.settings import ModelSettings, Rung

from .builders import refused

NOW_S = 1_800_000_000.0
PLENTY = 10**12
NUMBERS_THAT_ARE_NONE = [math.nan, math.inf, -math.inf]
SOON_S, LATER_S = 0.0, 1e9


def rung(model: str = "gpt", provider: str = "far", **changes: Any) -> Rung:
    return Rung(
        **{"model": model, "provider": provider, "base_url": "https://x.example/v1", **changes}
    )


FAR, NEAR = rung(), rung(provider="near")
OTHER = rung("claude", "far")
HOME = rung("small", "home", local=True)
RUNGS = (FAR, OTHER, NEAR, HOME)


def ladder(**changes: Any) -> Ladder:
    return Ladder(ModelSettings(**{"rungs": RUNGS, **changes}))


def caps(**changes: Any) -> ModelSettings:
    values: dict[str, Any] = {
        "usd_per_day": 10.0, "usd_per_session": 2.0, "tokens_per_day": 1000,
        "tokens_per_session": 100,
    }  # fmt: skip
    return ModelSettings(**{**values, **changes})


# --- what a refusal means -----------------------------------------------------------------------


@pytest.mark.parametrize(("status", "told", "trouble"), [
    (401, "", Trouble.DEAD_KEY), (401, "Incorrect API key provided", Trouble.DEAD_KEY),
    (401, "quota", Trouble.DEAD_KEY), (403, "", Trouble.DEAD_KEY),
    (403, "Key limit exceeded: add credits", Trouble.QUOTA),
    (403, "SPENDING LIMIT reached", Trouble.QUOTA), (403, "spend limit reached", Trouble.QUOTA),
    (402, "", Trouble.QUOTA), (402, "Insufficient Balance", Trouble.QUOTA),
    (429, '{"error":{"code":"insufficient_quota"}}', Trouble.QUOTA),
    (429, "check your plan and billing details", Trouble.QUOTA),
    (429, "", Trouble.OVERLOAD), (429, "slow down", Trouble.OVERLOAD),
    (404, '{"error":{"code":"model_not_found"}}', Trouble.UNKNOWN_MODEL),
    (400, "gpt-9 is not a valid model ID", Trouble.UNKNOWN_MODEL),
    (400, "Unknown Model: gpt-9", Trouble.UNKNOWN_MODEL),
    (400, "no such model", Trouble.UNKNOWN_MODEL),
    (400, "The model `gpt-9` does not exist", Trouble.UNKNOWN_MODEL),
    (422, "model gpt-9 not found", Trouble.UNKNOWN_MODEL),
    (404, "", Trouble.UNKNOWN_MODEL), (405, "", Trouble.UNKNOWN_MODEL),
    (410, "gone", Trouble.UNKNOWN_MODEL),
    (503, "", Trouble.OVERLOAD), (529, "overloaded_error", Trouble.OVERLOAD),
    (408, "", Trouble.BROKEN), (500, "", Trouble.BROKEN), (502, "quota", Trouble.BROKEN),
    (504, "", Trouble.BROKEN), (599, "", Trouble.BROKEN),
    (400, "messages must not be empty", Trouble.BAD_REQUEST), (422, "", Trouble.BAD_REQUEST),
    (400, "quota", Trouble.BAD_REQUEST),
])  # fmt: skip
def test_a_refusal_is_told_apart_by_what_helps(status: int, told: str, trouble: Trouble) -> None:
    assert classify(status, told) is trouble


@given(st.integers(400, 599), st.text(max_size=40))
def test_every_refusal_means_one_trouble_and_a_providers_own_failure_is_never_the_callers_fault(
    status: int, told: str
) -> None:
    trouble = classify(status, told)
    assert trouble in Trouble
    if status >= 500 or status in {401, 402, 403, 429}:
        assert trouble is not Trouble.BAD_REQUEST


# --- when a quota resets ------------------------------------------------------------------------


@pytest.mark.parametrize(("headers", "after_s"), [
    ({"Retry-After": "30"}, 30.0), ({"retry-after": " 1.5 "}, 1.5), ({"RETRY-AFTER": "20s"}, 20.0),
    ({"Retry-After": "0"}, 0.0), ({"Retry-After": "999999"}, MAX_COOL_S),
    ({"X-RateLimit-Reset": "60"}, 60.0), ({"X-RateLimit-Reset": "1800000090"}, 90.0),
    ({"X-RateLimit-Reset": "1800000090000"}, 90.0), ({"X-RateLimit-Reset": "1799999999"}, 0.0),
    ({"X-RateLimit-Reset": "1900000000"}, MAX_COOL_S), ({"x-ratelimit-reset-requests": "6s"}, 6.0),
    ({"X-RateLimit-Reset": "60", "Retry-After": "5"}, 5.0),
    ({"Retry-After": "soon", "X-RateLimit-Reset": "60"}, 60.0),
    ({}, None), ({"Retry-After": ""}, None), ({"Retry-After": "-5"}, None),
    ({"Retry-After": "nan"}, None), ({"Retry-After": "inf"}, None), ({"Retry-After": "1e9"}, None),
    ({"Retry-After": "1m30s"}, None), ({"Retry-After": "120ms"}, None),
    ({"Retry-After": "9" * 16}, None), ({"Retry-After": "٣"}, None), ({"Date": "30"}, None),
])  # fmt: skip
def test_the_seconds_until_a_quota_resets_are_read_in_each_of_their_spellings(
    headers: dict[str, str], after_s: float | None
) -> None:
    assert retry_after_s(headers, NOW_S) == after_s


HEADERS = st.dictionaries(
    st.sampled_from(["Retry-After", "x-ratelimit-reset", "X-RateLimit-Reset-Requests", "Date"]),
    st.integers(-(10**18), 10**18).map(str)
    | st.floats().map(str)
    | st.decimals(allow_nan=False, allow_infinity=False).map("{:f}".format)
    | st.text(alphabet="0123456789.s e+-", max_size=20),
)


@given(HEADERS, st.floats(0, 4e9))
def test_whatever_a_provider_tells_nothing_waits_longer_than_a_day(
    headers: dict[str, str], now_s: float
) -> None:
    after_s = retry_after_s(headers, now_s)
    assert after_s is None or 0.0 <= after_s <= MAX_COOL_S


@given(st.integers(0, 86_400), st.integers(1_000_000_001, 4_000_000_000))
def test_seconds_unix_seconds_and_unix_milliseconds_of_one_moment_are_read_alike(
    after_s: int, now_s: int
) -> None:
    at_s = now_s + after_s
    for told in (after_s, at_s, at_s * 1000):
        assert retry_after_s({"X-RateLimit-Reset": str(told)}, float(now_s)) == after_s


# --- the ladder ---------------------------------------------------------------------------------


def test_models_are_listed_once_in_the_configured_order() -> None:
    assert ladder().models() == ("gpt", "claude", "small")
    assert ladder(rungs=()).models() == ()


@pytest.mark.parametrize(("default", "wanted", "model"), [
    ("", "", "gpt"), ("claude", "", "claude"), ("claude", "small", "small"), ("", "claude", "claude"),
])  # fmt: skip
def test_a_model_is_the_one_that_is_named_or_the_default_or_the_first(
    default: str, wanted: str, model: str
) -> None:
    assert ladder(default=default).resolve(wanted) == model


@pytest.mark.parametrize("wanted", ["gpt-9", "GPT", "gpt ", "far", "*"])
def test_an_unknown_model_is_refused_and_never_replaced(wanted: str) -> None:
    answer = ladder(default="gpt", last="small").resolve(wanted)
    assert refused(answer, "unknown_model")
    assert isinstance(answer, Refusal)
    assert answer.detail == f"no model {wanted!r} here; known: gpt, claude, small"


def test_a_default_that_is_not_configured_is_refused_too() -> None:
    assert refused(ladder(default="gone").resolve(""), "unknown_model")


def test_without_a_rung_no_model_is_known() -> None:
    answer = ladder(rungs=()).resolve("")
    assert isinstance(answer, Refusal)
    assert answer == Refusal("unknown_model", "no model '' here; known: none")


def test_a_models_rungs_are_tried_in_order_and_the_last_model_after_them() -> None:
    assert ladder().rungs("gpt", SOON_S) == [FAR, NEAR]
    assert ladder(last="small").rungs("gpt", SOON_S) == [FAR, NEAR, HOME]
    assert ladder(last="small").rungs("small", SOON_S) == [HOME]
    assert ladder(last="gone").rungs("gpt", SOON_S) == [FAR, NEAR]
    assert ladder().rungs("gone", SOON_S) == []


@pytest.mark.parametrize("trouble", sorted(set(Trouble) - {Trouble.BAD_REQUEST}))
def test_a_rung_in_trouble_is_passed_over_until_its_time_is_over(trouble: Trouble) -> None:
    # given
    steps = ladder(last="small")
    # when
    steps.failed(FAR, trouble, 100.0)
    # then
    until_s = steps.cooling[rung_key(FAR)].until_s
    assert steps.cooling[rung_key(FAR)].trouble is trouble
    assert 100.0 < until_s <= 100.0 + MAX_COOL_S
    assert steps.rungs("gpt", 100.0) == [NEAR, HOME]
    assert steps.rungs("gpt", until_s - 0.001) == [NEAR, HOME]
    assert steps.rungs("gpt", until_s) == [FAR, NEAR, HOME]


def test_what_cures_itself_is_tried_again_soon_and_what_does_not_is_left_longer() -> None:
    steps = ladder()
    waits: dict[Trouble, float] = {}
    for trouble in set(Trouble) - {Trouble.BAD_REQUEST}:
        steps.failed(FAR, trouble, 0.0)
        waits[trouble] = steps.cooling[rung_key(FAR)].until_s
    assert waits == {
        Trouble.DEAD_KEY: 600.0, Trouble.QUOTA: 300.0, Trouble.OVERLOAD: 5.0,
        Trouble.UNKNOWN_MODEL: 600.0, Trouble.UNREACHABLE: 10.0, Trouble.BROKEN: 5.0,
        Trouble.STALLED: 10.0,
    }  # fmt: skip
    assert min(waits[trouble] for trouble in PROBED) > max(
        wait for trouble, wait in waits.items() if trouble not in PROBED
    )


def test_a_quota_is_waited_for_as_long_as_the_provider_says() -> None:
    steps = ladder()
    steps.failed(FAR, Trouble.QUOTA, 100.0, 7.0)
    assert steps.cooling == {("far", "gpt"): Cooling(Trouble.QUOTA, 107.0)}


def test_a_provider_that_says_at_once_is_still_not_asked_at_once() -> None:
    steps = ladder()
    steps.failed(FAR, Trouble.OVERLOAD, 100.0, 0.0)
    assert steps.rungs("gpt", 100.0) == [NEAR]


def test_a_bad_request_is_not_the_fault_of_the_rung() -> None:
    steps = ladder()
    steps.failed(FAR, Trouble.BAD_REQUEST, 100.0, 50.0)
    assert steps.cooling == {}
    assert steps.rungs("gpt", 100.0) == [FAR, NEAR]


def test_a_rung_that_works_again_is_used_at_once() -> None:
    steps = ladder()
    steps.failed(FAR, Trouble.DEAD_KEY, 100.0)
    steps.worked(FAR)
    steps.worked(NEAR)
    assert steps.rungs("gpt", 100.0) == [FAR, NEAR]


def test_a_trouble_of_one_model_leaves_the_providers_other_models_alone() -> None:
    steps = ladder()
    steps.failed(FAR, Trouble.UNKNOWN_MODEL, 100.0)
    assert steps.rungs("claude", 100.0) == [OTHER]


def test_two_names_for_one_model_of_a_provider_cool_together() -> None:
    alias = rung("fast", "far", upstream="gpt")
    steps = ladder(rungs=(FAR, alias))
    steps.failed(alias, Trouble.QUOTA, 100.0)
    assert rung_key(alias) == rung_key(FAR) == ("far", "gpt")
    assert steps.rungs("gpt", 100.0) == []


MODELS = st.sampled_from(["a", "b", "c"])
PROVIDERS = st.sampled_from(["p", "q", "r"])
HISTORY = st.lists(
    st.tuples(st.integers(0, 7), st.sampled_from(list(Trouble)), st.floats(0, 1000)), max_size=8
)


@given(st.lists(st.builds(rung, MODELS, PROVIDERS), max_size=8).map(tuple), MODELS, st.just("") | MODELS, HISTORY, st.floats(0, 2000))  # fmt: skip
def test_a_ladder_only_leaves_rungs_out_and_never_changes_their_order_or_the_model(
    rungs: tuple[Rung, ...], model: str, last: str,
    history: list[tuple[int, Trouble, float]], now_s: float,
) -> None:  # fmt: skip
    # given
    steps = ladder(rungs=rungs, last=last)
    full = steps.rungs(model, SOON_S)
    # when
    for at, trouble, at_s in history:
        if at < len(rungs):
            steps.failed(rungs[at], trouble, at_s)
    # then
    own = [one for one in rungs if one.model == model]
    spare = [one for one in rungs if one.model == last != model]
    assert full == own + spare
    left = [
        one for one in full
        if rung_key(one) not in steps.cooling or steps.cooling[rung_key(one)].until_s <= now_s
    ]  # fmt: skip
    assert steps.rungs(model, now_s) == left
    assert steps.rungs(model, LATER_S) == full


# --- what it costs ------------------------------------------------------------------------------


def test_a_call_costs_its_tokens_at_the_configured_prices() -> None:
    priced = rung(input_usd=2.0, output_usd=8.0)
    assert cost_usd(priced, 1_000_000, 500_000) == 6.0
    assert cost_usd(priced, 0, 0) == 0.0
    assert cost_usd(rung(input_usd=0.0, output_usd=0.0), 10, 10) == 0.0


@pytest.mark.parametrize("changes", [
    {}, {"input_usd": 2.0}, {"output_usd": 2.0},
])  # fmt: skip
def test_without_both_prices_the_cost_is_unknown_and_not_nothing(changes: dict[str, Any]) -> None:
    assert cost_usd(rung(**changes), 10, 10) is None


def test_what_runs_at_home_is_free() -> None:
    assert cost_usd(HOME, 10**9, 10**9) == 0.0
    assert cost_usd(rung(local=True, input_usd=5.0, output_usd=5.0), 10, 10) == 0.0


def test_spend_adds_up_and_tells_what_has_no_price() -> None:
    spend = Spend().plus(10, 0.5).plus(7, None).plus(3, 0.25)
    assert spend == Spend(usd=0.75, tokens=20, unpriced_tokens=7)


@given(st.lists(st.tuples(st.integers(0, 2**40), st.none() | st.floats(0, 1e6)), max_size=20))
def test_spend_never_shrinks_and_every_token_counts(
    calls: list[tuple[int, float | None]],
) -> None:
    spend = Spend()
    for tokens, usd in calls:
        more = spend.plus(tokens, usd)
        assert more.usd >= spend.usd
        spend = more
    assert spend.tokens == sum(tokens for tokens, _ in calls)
    assert spend.unpriced_tokens == sum(tokens for tokens, usd in calls if usd is None)


@pytest.mark.parametrize(("size", "tokens"), [(0, 0), (1, 1), (3, 1), (4, 2), (300, 100)])
def test_tokens_nobody_told_are_estimated_upwards(size: int, tokens: int) -> None:
    assert estimated_tokens(size) == tokens


# --- caps ---------------------------------------------------------------------------------------


def test_a_call_within_every_cap_may_start() -> None:
    day, session = Spend(9.99, 899, 0), Spend(1.99, 49, 0)
    assert within_caps(day, session, 50, caps(), PLENTY) is None


@pytest.mark.parametrize(("day", "session", "more", "own", "name"), [
    (Spend(10.0), Spend(), 1, PLENTY, "usd_per_day"),
    (Spend(11.0), Spend(), 1, PLENTY, "usd_per_day"),
    (Spend(), Spend(2.0), 1, PLENTY, "usd_per_session"),
    (Spend(tokens=999), Spend(), 2, PLENTY, "tokens_per_day"),
    (Spend(tokens=2000), Spend(), 0, PLENTY, "tokens_per_day"),
    (Spend(), Spend(tokens=99), 2, PLENTY, "tokens_per_session"),
    (Spend(), Spend(), 101, PLENTY, "tokens_per_session"),
    (Spend(), Spend(tokens=20), 31, 50, "tokens_per_session"),
    (Spend(), Spend(tokens=0, unpriced_tokens=0), 1, 0, "tokens_per_session"),
])  # fmt: skip
def test_a_call_that_could_pass_a_cap_does_not_start(
    day: Spend, session: Spend, more: int, own: int, name: str
) -> None:
    answer = within_caps(day, session, more, caps(), own)
    assert refused(answer, "spend_cap")
    assert isinstance(answer, Refusal)
    assert answer.detail.startswith(f"models.{name} reached: ")


def test_a_refusal_for_a_cap_tells_both_numbers() -> None:
    answer = within_caps(Spend(12.5), Spend(), 1, caps(), PLENTY)
    assert answer == Refusal("spend_cap", "models.usd_per_day reached: 12.5 of 10")


@pytest.mark.parametrize("changes", [
    {"usd_per_day": 0.0}, {"usd_per_session": 0.0}, {"tokens_per_day": 0}, {"tokens_per_session": 0},
])  # fmt: skip
def test_a_cap_of_zero_lets_nothing_start(changes: dict[str, Any]) -> None:
    assert refused(within_caps(Spend(), Spend(), 0, caps(**changes), PLENTY), "spend_cap")


@given(st.sampled_from(NUMBERS_THAT_ARE_NONE), st.booleans(), st.floats(0, 9), st.integers(0, 10))
def test_a_spend_that_is_no_number_lets_nothing_start(
    none: float, of_day: bool, usd: float, more: int
) -> None:
    day, session = (Spend(none), Spend(usd / 9)) if of_day else (Spend(usd), Spend(none))
    assert refused(within_caps(day, session, more, caps(), PLENTY), "spend_cap")


@pytest.mark.parametrize("cap", [math.nan, -math.inf, -1.0])
@pytest.mark.parametrize("name", ["usd_per_day", "usd_per_session"])
def test_a_cap_that_is_no_amount_lets_nothing_start(name: str, cap: float) -> None:
    assert refused(within_caps(Spend(), Spend(), 0, caps(**{name: cap}), PLENTY), "spend_cap")


@pytest.mark.parametrize("none", NUMBERS_THAT_ARE_NONE)
def test_once_a_price_is_no_number_nothing_more_is_spent(none: float) -> None:
    spend = Spend(1.0, 10).plus(1, none).plus(1, 0.1)
    assert refused(within_caps(spend, Spend(), 1, caps(), PLENTY), "spend_cap")


SPENDS = st.builds(Spend, st.floats(0, 20), st.integers(0, 2000), st.integers(0, 2000))


@given(SPENDS, SPENDS, st.integers(0, 2000), st.integers(0, 200))
def test_whatever_starts_stays_within_every_cap_and_more_use_never_opens_a_door(
    day: Spend, session: Spend, more: int, own: int
) -> None:
    answer = within_caps(day, session, more, caps(), own)
    if answer is None:
        assert day.usd < 10.0
        assert session.usd < 2.0
        assert day.tokens + more <= 1000
        assert session.tokens + more <= min(100, own)
    else:
        assert within_caps(day.plus(1, 0.1), session, more, caps(), own) is not None
        assert within_caps(day, session.plus(1, 0.1), more + 1, caps(), own) is not None


# --- what an answer tells -----------------------------------------------------------------------


@pytest.mark.parametrize(("told", "usage"), [
    ({"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}, (3, 5)),
    ({"input_tokens": 3, "output_tokens": 5}, (3, 5)), ({"prompt_tokens": 0, "output_tokens": 0}, (0, 0)),
    ({"prompt_tokens": 2**40 - 1, "completion_tokens": 1}, (2**40 - 1, 1)),
    ({"prompt_tokens": 3}, None), ({"completion_tokens": 3}, None), ({}, None), (None, None),
    ("3", None), ([3, 5], None), (7, None),
    ({"prompt_tokens": -1, "completion_tokens": 5}, None),
    ({"prompt_tokens": 3, "completion_tokens": 2**40}, None),
    ({"prompt_tokens": 3.0, "completion_tokens": 5}, None),
    ({"prompt_tokens": math.nan, "completion_tokens": 5}, None),
    ({"prompt_tokens": "3", "completion_tokens": 5}, None),
    ({"prompt_tokens": True, "completion_tokens": 5}, None),
    ({"prompt_tokens": None, "input_tokens": 3, "completion_tokens": 5}, None),
])  # fmt: skip
def test_usage_is_two_plausible_counts_or_was_not_told(
    told: Any, usage: tuple[int, int] | None
) -> None:
    assert usage_of(told) == usage


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["prompt_tokens", "completion_tokens", "x"]), inner)
    ),
    max_leaves=6,
)


@given(JSON)
def test_no_answer_of_a_provider_makes_a_count_that_could_lower_a_spend(told: Any) -> None:
    usage = usage_of(told)
    assert usage is None or all(type(count) is int and 0 <= count < 2**40 for count in usage)


def test_what_was_tried_is_told_in_words() -> None:
    tried = [(FAR, Trouble.QUOTA), (HOME, Trouble.UNREACHABLE)]
    assert ladder_words(tried) == "far: quota; home: unreachable"
    assert ladder_words([]) == "nothing"
