from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from allegro.core.base.errors import Refusal
from allegro.core.models.ladder import (
    PROBED,
    Cooling,
    Ladder,
    Spend,
    Trouble,
    cost_usd,
    ladder_words,
    rung_key,
    within_caps,
)
from allegro.core.models.refusals import classify
from allegro.core.models.usage import TokenCounts, estimated_tokens, usage_of
from allegro.core.models.waits import retry_after_s
from allegro.core.settings import ModelSettings, Rung
from tests.core.builders import refused

NOW_S = 1_800_000_000.0
PLENTY = 10**12
NUMBERS_THAT_ARE_NONE = [math.nan, math.inf, -math.inf]
SOON_S, LATER_S = 0.0, 1e9
DAY_S = 86_400.0
MODEL = "gpt-9"
CALLERS = frozenset({Trouble.BAD_REQUEST, Trouble.OVERFLOW})
TELLING = frozenset({Trouble.QUOTA, Trouble.OVERLOAD})


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
    (403, "no such model", Trouble.DEAD_KEY),
    (402, "", Trouble.QUOTA), (402, "Insufficient Balance", Trouble.QUOTA),
    (429, "", Trouble.OVERLOAD), (429, "slow down", Trouble.OVERLOAD),
    (429, '{"error":{"message":"You exceeded your current quota"}}', Trouble.QUOTA),
    (429, '{"error":{"code":"billing","message":"no"}}', Trouble.QUOTA),
    (429, '{"message":"Insufficient balance"}', Trouble.QUOTA),
    (429, '{"error":{"message":"try again","param":"credits"}}', Trouble.OVERLOAD),
    (429, '{"error":{"code":429,"type":null,"message":"slow down"}}', Trouble.OVERLOAD),
    (404, '{"error":{"code":"model_not_found"}}', Trouble.UNKNOWN_MODEL),
    (400, '{"error":{"code":"model_not_found","message":"no"}}', Trouble.UNKNOWN_MODEL),
    (422, '{"error":{"type":"invalid_model"}}', Trouble.UNKNOWN_MODEL),
    (400, '{"code":"no_such_model"}', Trouble.UNKNOWN_MODEL),
    (400, '{"error":{"message":"Unknown model: gpt-9"}}', Trouble.UNKNOWN_MODEL),
    (400, '{"error":"model gpt-9 not found"}', Trouble.UNKNOWN_MODEL),
    (400, "Unknown Model: gpt-9", Trouble.UNKNOWN_MODEL),
    (400, "The model `gpt-9` does not exist", Trouble.UNKNOWN_MODEL),
    (422, "model gpt-9 not found", Trouble.UNKNOWN_MODEL),
    (404, "", Trouble.UNKNOWN_MODEL), (405, "", Trouble.UNKNOWN_MODEL),
    (410, "gone", Trouble.UNKNOWN_MODEL),
    (400, '[{"error":{"code":400,"message":"API key not valid. Please pass a valid API key."}}]',
     Trouble.DEAD_KEY),
    (503, "", Trouble.OVERLOAD), (529, "overloaded_error", Trouble.OVERLOAD),
    (408, "", Trouble.BROKEN), (500, "", Trouble.BROKEN), (502, "quota", Trouble.BROKEN),
    (504, "", Trouble.BROKEN), (599, "", Trouble.BROKEN),
    (204, "", Trouble.BROKEN), (302, "", Trouble.BROKEN), (399, "", Trouble.BROKEN),
    (400, "messages must not be empty", Trouble.BAD_REQUEST), (422, "", Trouble.BAD_REQUEST),
    (400, "quota", Trouble.BAD_REQUEST), (413, "too long", Trouble.BAD_REQUEST),
    (409, "model gpt-9 not found", Trouble.BAD_REQUEST),
])  # fmt: skip
def test_a_refusal_is_told_apart_by_what_helps(status: int, told: str, trouble: Trouble) -> None:
    assert classify(status, told, MODEL) is trouble


@pytest.mark.parametrize("told", [
    'file "x" not found', '{"error":{"message":"file \\"x\\" not found"}}',
    "the model was told of a file that does not exist", "unknown tool", "invalid model settings",
    "model gpt-8 not found", "gpt-9 cannot open the file: not found",
    "the model gpt-9 was asked to read a prompt and a tool said: garden.md not found",
    "garden.md not found, said a tool, and then somebody asked the model gpt-9 to go on",
    "the model gpt-9 takes no images", '{"a":' * 398, "[]", "null", '{"error":null}', '{"error":[1]}', '{"cut":',
    "\ud800",
])  # fmt: skip
@pytest.mark.parametrize("status", [400, 422])
def test_an_error_that_echoes_words_about_some_other_missing_thing_is_a_bad_request(
    status: int, told: str
) -> None:
    assert classify(status, told, MODEL) is Trouble.BAD_REQUEST


def test_without_a_name_only_a_code_says_that_a_model_is_missing() -> None:
    assert classify(400, "model gpt-9 not found") is Trouble.BAD_REQUEST
    assert classify(400, '{"error":{"code":"unknown_model"}}') is Trouble.UNKNOWN_MODEL


@pytest.mark.parametrize("told", [
    "the load balancer has no healthy upstream", "rebalance in progress", "accredited callers only",
    '{"error":{"message":"load balancer: slow down","code":429}}', "balance", "quotation",
])  # fmt: skip
def test_a_load_balancer_is_no_quota(told: str) -> None:
    assert classify(429, told, MODEL) is Trouble.OVERLOAD
    assert classify(403, told, MODEL) is Trouble.DEAD_KEY


CODES = st.none() | st.integers(0, 599) | st.text(max_size=10) | st.just("model_not_found")
BODIES = st.text(max_size=40) | st.fixed_dictionaries({}, optional={
    "error": st.fixed_dictionaries({}, optional={
        "code": CODES, "type": CODES, "message": st.none() | st.text(max_size=40),
    }) | st.text(max_size=10),
    "code": CODES, "message": st.text(max_size=20),
}).map(lambda body: msgspec.json.encode(printable(body)).decode())  # fmt: skip


def printable(value: Any) -> Any:
    """Return a JSON value without lone surrogates, which no JSON can hold."""
    if isinstance(value, dict):
        return {name: printable(inner) for name, inner in value.items()}
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


@given(st.integers(100, 599), BODIES, st.just("") | st.text(max_size=8))
def test_every_refusal_means_one_trouble_and_a_providers_own_failure_is_never_the_callers_fault(
    status: int, told: str, model: str
) -> None:
    trouble = classify(status, told, model)
    assert trouble in Trouble
    if status >= 500 or status < 400 or status in {401, 402, 403, 408, 429}:
        assert trouble is not Trouble.BAD_REQUEST
    if status >= 500 or status < 400:
        assert trouble not in PROBED


@pytest.mark.parametrize("told", [
    '{"error":{"code":"insufficient_quota"}}', "check your plan and billing details",
    '{"error":"quota exceeded"}', '[{"error":{"message":"quota exceeded"}}]',
    '{"error":{"message":"You exceeded your current quota", "help":"cut he',
])  # fmt: skip
def test_a_quota_is_read_from_a_code_alone_and_from_a_body_of_another_shape(told: str) -> None:
    assert classify(429, told, MODEL) is Trouble.QUOTA


@pytest.mark.parametrize("told", [
    '{"error":{"code":[]}}', '{"error":{"type":{}}}', '{"code":{"a":1}}',
    '{"a":' + "[" * 1_990,
])  # fmt: skip
def test_no_body_of_a_provider_ends_the_one_who_reads_it(told: str) -> None:
    assert classify(400, told, MODEL) is Trouble.BAD_REQUEST


def test_a_model_id_that_is_not_valid_is_an_unknown_model() -> None:
    told = '{"error":{"message":"gpt-9 is not a valid model ID","code":400}}'
    assert classify(400, told, MODEL) is Trouble.UNKNOWN_MODEL


@pytest.mark.parametrize("told", [
    "Invalid value for 'temperature' with model gpt-9", "Unknown parameter 'top_k' for model gpt-9",
])  # fmt: skip
def test_a_bad_parameter_of_a_good_model_is_a_bad_request(told: str) -> None:
    assert classify(400, told, MODEL) is Trouble.BAD_REQUEST


# --- when it may be asked again -------------------------------------------------------------------


@pytest.mark.parametrize(("headers", "after_s"), [
    ({"Retry-After": "30"}, 30.0), ({"retry-after": " 1.5 "}, 1.5), ({"RETRY-AFTER": "20s"}, 20.0),
    ({"Retry-After": "0"}, 0.0), ({"Retry-After": "999999"}, DAY_S),
    ({"X-RateLimit-Reset": "60"}, 60.0), ({"X-RateLimit-Reset": "1800000090"}, 90.0),
    ({"X-RateLimit-Reset": "1800000090000"}, 90.0), ({"X-RateLimit-Reset": "1799999999"}, 0.0),
    ({"X-RateLimit-Reset": "1900000000"}, DAY_S), ({"x-ratelimit-reset-requests": "6s"}, 6.0),
    ({"x-ratelimit-reset-tokens": "6m0s"}, 360.0),
    ({"x-ratelimit-reset-tokens": "5", "x-ratelimit-reset-requests": "7"}, 7.0),
    ({"X-RateLimit-Reset": "60", "Retry-After": "5"}, 5.0),
    ({"Retry-After": "soon", "X-RateLimit-Reset": "60"}, 60.0),
    ({"Retry-After": "", "X-RateLimit-Reset": "60"}, 60.0),
    ({"Retry-After": "1m30s"}, 90.0), ({"Retry-After": "120ms"}, 0.12),
    ({"Retry-After": "2m59.56s"}, 179.56), ({"Retry-After": "1h2m3s"}, 3723.0),
    ({"Retry-After": "2m"}, 120.0), ({"Retry-After": "24h"}, DAY_S), ({"Retry-After": "99999h"}, DAY_S),
    ({"Retry-After": "1h5s"}, 3605.0), ({"Retry-After": "1.25ms"}, 0.00125),
    ({"Retry-After": "Fri, 15 Jan 2027 08:01:30 GMT"}, 90.0),
    ({"Retry-After": "Fri, 15 Jan 2027 10:01:30 +0200"}, 90.0),
    ({"Retry-After": "Sun, 06 Nov 1994 08:49:37 GMT"}, 0.0),
    ({"Retry-After": "Sun, 06 Nov 2094 08:49:37 GMT"}, DAY_S),
    ({"Retry-After": "Fri, 15 Jan 99999 08:01:30 GMT"}, None),
    ({"Retry-After": "Fri, 45 Jan 2027 08:01:30 GMT"}, None),
    ({}, None), ({"Retry-After": ""}, None), ({"Retry-After": " "}, None),
    ({"Retry-After": "-5"}, None), ({"Retry-After": "h"}, None), ({"Retry-After": "s"}, None),
    ({"Retry-After": "1m5ms"}, None), ({"Retry-After": "30s1m"}, None),
    ({"Retry-After": "nan"}, None), ({"Retry-After": "inf"}, None), ({"Retry-After": "1e9"}, None),
    ({"Retry-After": "9" * 16}, None), ({"Retry-After": "٣"}, None), ({"Date": "30"}, None),
])  # fmt: skip
def test_when_a_quota_resets_is_read_in_each_of_its_spellings(
    headers: dict[str, str], after_s: float | None
) -> None:
    assert retry_after_s(Trouble.QUOTA, headers, NOW_S) == after_s


@pytest.mark.parametrize(("headers", "after_s"), [
    ({"Retry-After": "30"}, 30.0), ({"Retry-After": "1m30s"}, 90.0), ({"Retry-After": "0"}, 0.0),
    ({"Retry-After": "300.5"}, 300.0), ({"Retry-After": "999999"}, 300.0),
    ({"Retry-After": "Fri, 15 Jan 2027 08:01:30 GMT"}, 90.0),
    ({"X-RateLimit-Reset": "60"}, None), ({"x-ratelimit-reset-requests": "60"}, None),
    ({"x-ratelimit-reset-tokens": "60"}, None), ({"Retry-After": "x", "X-RateLimit-Reset": "9"}, None),
    ({}, None),
])  # fmt: skip
def test_an_overloaded_provider_is_left_for_five_minutes_at_most_and_only_where_it_asks_for_it(
    headers: dict[str, str], after_s: float | None
) -> None:
    assert retry_after_s(Trouble.OVERLOAD, headers, NOW_S) == after_s


@pytest.mark.parametrize("trouble", sorted(set(Trouble) - TELLING))
def test_no_header_says_how_long_any_other_trouble_lasts(trouble: Trouble) -> None:
    headers = {"Retry-After": "30", "X-RateLimit-Reset": "1800000090"}
    assert retry_after_s(trouble, headers, NOW_S) is None


HEADERS = st.dictionaries(
    st.sampled_from(["Retry-After", "x-ratelimit-reset", "X-RateLimit-Reset-Requests", "Date"]),
    st.integers(-(10**18), 10**18).map(str)
    | st.floats().map(str)
    | st.decimals(allow_nan=False, allow_infinity=False).map("{:f}".format)
    | st.text(alphabet="0123456789.hms e+-", max_size=20)
    | st.datetimes().map(lambda at: format_datetime(at.replace(tzinfo=UTC)))
    | st.text(alphabet="0123456789:,+- FriJanGMT", max_size=40),
)


@given(st.sampled_from(Trouble), HEADERS, st.floats(0, 4e9))
def test_whatever_a_provider_tells_nothing_waits_longer_than_a_day(
    trouble: Trouble, headers: dict[str, str], now_s: float
) -> None:
    after_s = retry_after_s(trouble, headers, now_s)
    assert after_s is None or 0.0 <= after_s <= DAY_S
    if after_s is not None:
        assert trouble in TELLING
        assert trouble is Trouble.QUOTA or after_s <= 300.0


@given(st.integers(0, 86_400), st.integers(1_000_000_001, 4_000_000_000), st.integers(-14, 14))
def test_every_spelling_of_one_moment_is_read_alike(after_s: int, now_s: int, zone: int) -> None:
    at_s = now_s + after_s
    at = datetime.fromtimestamp(at_s, UTC)
    abroad = at.astimezone(timezone(timedelta(hours=zone)))
    minutes, seconds = divmod(after_s, 60)
    hours, rest = divmod(minutes, 60)
    for told in (
        after_s, f"{after_s}s", f"{after_s * 1000}ms", f"{minutes}m{seconds}s",
        f"{hours}h{rest}m{seconds}.0s", at_s, at_s * 1000, format_datetime(at, usegmt=True),
        format_datetime(abroad),
    ):  # fmt: skip
        headers = {"X-RateLimit-Reset": str(told)}
        assert retry_after_s(Trouble.QUOTA, headers, float(now_s)) == after_s, told


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


@pytest.mark.parametrize("trouble", sorted(set(Trouble) - CALLERS))
def test_a_rung_in_trouble_is_passed_over_until_its_time_is_over(trouble: Trouble) -> None:
    # given
    steps = ladder(last="small")
    # when
    steps.failed(FAR, trouble, 100.0)
    # then
    until_s = steps.cooling[rung_key(FAR)].until_s
    assert steps.cooling[rung_key(FAR)].trouble is trouble
    assert 100.0 < until_s <= 100.0 + DAY_S
    assert steps.rungs("gpt", 100.0) == [NEAR, HOME]
    assert steps.rungs("gpt", until_s - 0.001) == [NEAR, HOME]
    assert steps.rungs("gpt", until_s) == [FAR, NEAR, HOME]


def test_what_cures_itself_is_tried_again_soon_and_what_does_not_is_left_longer() -> None:
    steps = ladder()
    waits: dict[Trouble, float] = {}
    for trouble in set(Trouble) - CALLERS:
        steps.worked(FAR)
        steps.failed(FAR, trouble, 0.0)
        waits[trouble] = steps.cooling[rung_key(FAR)].until_s
    assert waits == {
        Trouble.DEAD_KEY: 60.0, Trouble.QUOTA: 300.0, Trouble.OVERLOAD: 5.0,
        Trouble.UNKNOWN_MODEL: 60.0, Trouble.UNREACHABLE: 10.0, Trouble.BROKEN: 5.0,
        Trouble.STALLED: 10.0, Trouble.PARAMETER: 10.0,
    }  # fmt: skip
    assert min(waits[trouble] for trouble in PROBED) > max(
        wait for trouble, wait in waits.items() if trouble not in PROBED
    )


def test_a_quota_is_waited_for_as_long_as_the_provider_says() -> None:
    steps = ladder()
    steps.failed(FAR, Trouble.QUOTA, 100.0, 7.0)
    assert steps.cooling == {rung_key(FAR): Cooling(Trouble.QUOTA, 107.0)}


def test_a_provider_that_says_at_once_is_asked_at_once_and_its_trouble_is_not_forgotten() -> None:
    steps = ladder()
    steps.failed(FAR, Trouble.QUOTA, 100.0, 0.0)
    assert steps.rungs("gpt", 100.0) == [FAR, NEAR]
    assert steps.last_trouble(FAR) is Trouble.QUOTA


def test_a_500_with_a_reset_header_benches_for_five_seconds() -> None:
    # given
    steps, headers = ladder(), {"X-RateLimit-Reset": "1800003600", "Retry-After": "3600"}
    trouble = classify(500, "quota", "gpt")
    # when
    steps.failed(FAR, trouble, 100.0, retry_after_s(trouble, headers, NOW_S))
    # then
    assert steps.cooling == {rung_key(FAR): Cooling(Trouble.BROKEN, 105.0)}


def test_a_shorter_trouble_does_not_shorten_a_longer() -> None:
    # given
    steps = ladder()
    steps.failed(FAR, Trouble.DEAD_KEY, 100.0)
    # when
    steps.failed(FAR, Trouble.BROKEN, 110.0)
    steps.failed(FAR, Trouble.QUOTA, 110.0, 49.0)
    # then
    assert steps.cooling == {rung_key(FAR): Cooling(Trouble.DEAD_KEY, 160.0)}


def test_a_longer_trouble_takes_the_place_of_a_shorter_and_a_new_one_of_an_old() -> None:
    steps = ladder()
    steps.failed(FAR, Trouble.BROKEN, 100.0)
    steps.failed(FAR, Trouble.DEAD_KEY, 101.0)
    assert steps.cooling == {rung_key(FAR): Cooling(Trouble.DEAD_KEY, 161.0)}
    steps.failed(FAR, Trouble.BROKEN, 161.0)
    assert steps.cooling == {rung_key(FAR): Cooling(Trouble.BROKEN, 166.0)}


@given(
    st.lists(
        st.tuples(st.sampled_from(Trouble), st.floats(0, 400), st.none() | st.floats(0, 1000)),
        max_size=8,
    )
)
def test_no_further_trouble_makes_a_rung_ready_sooner(
    troubles: list[tuple[Trouble, float, float | None]],
) -> None:
    steps, now_s, until_s = ladder(), 0.0, 0.0
    for trouble, later_s, after_s in troubles:
        now_s += later_s
        steps.failed(FAR, trouble, now_s, after_s)
        held = steps.cooling.get(rung_key(FAR))
        if held is not None:
            assert until_s <= now_s or held.until_s >= until_s
            until_s = held.until_s


def test_what_was_wrong_with_a_rung_last_is_known_until_it_works() -> None:
    steps = ladder()
    assert steps.last_trouble(FAR) is None
    steps.failed(FAR, Trouble.UNKNOWN_MODEL, 100.0)
    assert steps.rungs("gpt", LATER_S) == [FAR, NEAR]
    assert steps.last_trouble(FAR) is Trouble.UNKNOWN_MODEL
    assert steps.last_trouble(NEAR) is None
    steps.worked(FAR)
    assert steps.last_trouble(FAR) is None


def test_when_every_rung_cools_those_that_may_be_well_any_moment_are_tried_anyway() -> None:
    # given
    steps = ladder(last="small")
    steps.failed(FAR, Trouble.OVERLOAD, 100.0, 300.0)
    steps.failed(NEAR, Trouble.DEAD_KEY, 100.0)
    assert steps.rungs("gpt", 101.0) == [HOME]
    # when
    steps.failed(HOME, Trouble.UNREACHABLE, 101.0)
    # then
    assert steps.rungs("gpt", 102.0) == [FAR, HOME]
    assert steps.rungs("small", 102.0) == [HOME]
    assert steps.rungs("gpt", 111.0) == [HOME]


@pytest.mark.parametrize("trouble", sorted(PROBED))
def test_a_rung_whose_trouble_only_a_person_can_end_is_not_tried_though_all_are_cooling(
    trouble: Trouble,
) -> None:
    steps = ladder(rungs=(FAR,))
    steps.failed(FAR, trouble, 100.0)
    assert steps.rungs("gpt", 101.0) == []


def test_the_rungs_that_are_passed_over_are_told_with_what_is_wrong() -> None:
    steps = ladder(last="small")
    assert steps.passed_over("gpt", 100.0) == []
    steps.failed(HOME, Trouble.BROKEN, 100.0)
    steps.failed(FAR, Trouble.QUOTA, 100.0)
    steps.failed(OTHER, Trouble.QUOTA, 100.0)
    assert steps.passed_over("gpt", 101.0) == [(FAR, Trouble.QUOTA), (HOME, Trouble.BROKEN)]
    assert steps.passed_over("gpt", 105.0) == [(FAR, Trouble.QUOTA)]
    assert steps.passed_over("gpt", LATER_S) == []


def test_a_spare_key_on_the_same_provider_is_tried_after_a_dead_one() -> None:
    # given
    first, spare = rung(key_file="first.key"), rung(key_file="spare.key")
    steps = ladder(rungs=(first, spare))
    # when
    steps.failed(first, Trouble.DEAD_KEY, 100.0)
    # then
    assert steps.rungs("gpt", 100.0) == [spare]
    steps.failed(spare, Trouble.QUOTA, 100.0)
    assert steps.rungs("gpt", 100.0) == []


def test_a_trouble_at_one_address_leaves_the_providers_other_address_alone() -> None:
    there, here = rung(), rung(base_url="https://eu.x.example/v1")
    steps = ladder(rungs=(there, here))
    steps.failed(there, Trouble.UNREACHABLE, 100.0)
    assert steps.rungs("gpt", 100.0) == [here]


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
    assert rung_key(alias) == rung_key(FAR) == ("far", "https://x.example/v1", "", "gpt")
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
    cooling = {key: why.trouble for key, why in steps.cooling.items() if now_s < why.until_s}
    ready = [one for one in full if rung_key(one) not in cooling]
    soft = [one for one in full if cooling.get(rung_key(one)) not in PROBED]
    assert steps.rungs(model, now_s) == (ready or soft)
    assert steps.passed_over(model, now_s) == [
        (one, cooling[rung_key(one)]) for one in full if rung_key(one) in cooling
    ]
    assert steps.rungs(model, LATER_S) == full


# --- what it costs ------------------------------------------------------------------------------


def test_a_call_costs_its_tokens_at_the_configured_prices() -> None:
    priced = rung(input_usd=2.0, output_usd=8.0)
    assert cost_usd(priced, TokenCounts(1_000_000, 500_000)) == 6.0
    assert cost_usd(priced, TokenCounts(0, 0)) == 0.0
    assert cost_usd(rung(input_usd=0.0, output_usd=0.0), TokenCounts(10, 10)) == 0.0


@pytest.mark.parametrize("changes", [
    {}, {"input_usd": 2.0}, {"output_usd": 2.0},
])  # fmt: skip
def test_without_both_prices_the_cost_is_unknown_and_not_nothing(changes: dict[str, Any]) -> None:
    assert cost_usd(rung(**changes), TokenCounts(10, 10)) is None


def test_what_runs_at_home_is_free() -> None:
    assert cost_usd(HOME, TokenCounts(10**9, 10**9)) == 0.0
    assert cost_usd(rung(local=True, input_usd=5.0, output_usd=5.0), TokenCounts(10, 10)) == 0.0


def test_spend_adds_up_and_tells_what_has_no_price() -> None:
    spend = Spend().plus(10, 0.5).plus(7, None).plus(3, 0.25)
    assert spend == Spend(usd=0.75, tokens=20, unpriced_tokens=7)


AMOUNTS = st.builds(Spend, st.floats(0, 1e6), st.integers(0, 2**40), st.integers(0, 2**40))


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


def test_what_a_call_may_still_cost_is_added_and_taken_off_again() -> None:
    used, more = Spend(1.5, 10, 4), Spend(0.25, 7, 2)
    assert used.with_more(more) == Spend(1.75, 17, 6)
    assert used.with_more(more).without(more) == used
    assert used.without(more) == Spend(1.25, 3, 2)


def test_no_spend_falls_below_nothing() -> None:
    assert Spend(1.0, 5, 1).without(Spend(2.0, 6, 2)) == Spend()


@given(st.lists(AMOUNTS, max_size=8), AMOUNTS)
def test_calls_that_end_in_any_order_give_back_what_was_set_aside_for_them(
    calls: list[Spend], used: Spend
) -> None:
    total = used
    for call in calls:
        total = total.with_more(call)
    for call in reversed(calls[1:]):
        total = total.without(call)
    for call in calls[:1]:
        total = total.without(call)
    assert (total.tokens, total.unpriced_tokens) == (used.tokens, used.unpriced_tokens)
    assert total.usd == pytest.approx(used.usd, abs=1e-6)


@pytest.mark.parametrize(("size", "tokens"), [(0, 0), (1, 1), (3, 1), (4, 2), (300, 100)])
def test_tokens_nobody_told_are_estimated_upwards(size: int, tokens: int) -> None:
    assert estimated_tokens(size) == tokens


# --- caps ---------------------------------------------------------------------------------------


def test_a_call_that_fills_every_cap_to_the_brim_may_start() -> None:
    day, session = Spend(9.5, 950), Spend(1.5, 50)
    assert within_caps(day, session, Spend(0.5, 50), caps(), 100) is None


@pytest.mark.parametrize(("day", "session", "more", "own", "name"), [
    (Spend(9.5), Spend(), Spend(0.75), PLENTY, "models.usd_per_day"),
    (Spend(10.5), Spend(), Spend(), PLENTY, "models.usd_per_day"),
    (Spend(), Spend(1.5), Spend(0.75), PLENTY, "models.usd_per_session"),
    (Spend(), Spend(2.5), Spend(), PLENTY, "models.usd_per_session"),
    (Spend(), Spend(), Spend(2.25), PLENTY, "models.usd_per_session"),
    (Spend(tokens=999), Spend(), Spend(0.0, 2), PLENTY, "models.tokens_per_day"),
    (Spend(tokens=2000), Spend(), Spend(), PLENTY, "models.tokens_per_day"),
    (Spend(), Spend(tokens=99), Spend(0.0, 2), PLENTY, "models.tokens_per_session"),
    (Spend(), Spend(), Spend(0.0, 101), PLENTY, "models.tokens_per_session"),
    (Spend(), Spend(tokens=20), Spend(0.0, 31), 50, "the tokens of this loan"),
    (Spend(), Spend(), Spend(0.0, 1), 0, "the tokens of this loan"),
])  # fmt: skip
def test_a_call_that_could_pass_a_cap_does_not_start(
    day: Spend, session: Spend, more: Spend, own: int, name: str
) -> None:
    answer = within_caps(day, session, more, caps(), own)
    assert refused(answer, "spend_cap")
    assert isinstance(answer, Refusal)
    assert answer.detail.startswith(f"{name}: this call could come to ")


def test_a_refusal_for_a_cap_tells_both_numbers() -> None:
    answer = within_caps(Spend(12.5), Spend(), Spend(0.25), caps(), PLENTY)
    assert answer == Refusal(
        "spend_cap", "models.usd_per_day: this call could come to 12.75 of 10.0"
    )


def test_two_calls_under_way_cannot_both_take_the_last_of_a_cap() -> None:
    call = Spend(1.5, 60)
    assert within_caps(Spend(), Spend(), call, caps(), PLENTY) is None
    under_way = Spend().with_more(call)
    assert refused(within_caps(under_way, under_way, call, caps(), PLENTY), "spend_cap")
    ended = under_way.without(call)
    assert within_caps(ended, ended, call, caps(), PLENTY) is None


@pytest.mark.parametrize("changes", [
    {"usd_per_day": 0.0}, {"usd_per_session": 0.0}, {"tokens_per_day": 0}, {"tokens_per_session": 0},
])  # fmt: skip
def test_a_cap_of_zero_lets_nothing_start_that_could_use_any(changes: dict[str, Any]) -> None:
    more = Spend(0.01, 1)
    assert refused(within_caps(Spend(), Spend(), more, caps(**changes), PLENTY), "spend_cap")


def test_what_is_free_may_start_also_where_no_dollar_may_be_spent() -> None:
    settings = caps(usd_per_day=0.0, usd_per_session=0.0)
    assert within_caps(Spend(), Spend(), Spend(0.0, 50), settings, PLENTY) is None


@given(
    st.sampled_from(NUMBERS_THAT_ARE_NONE), st.permutations([0, 1, 2]), st.floats(0, 1),
    st.integers(0, 10),
)  # fmt: skip
def test_a_spend_that_is_no_number_lets_nothing_start(
    none: float, order: list[int], usd: float, tokens: int
) -> None:
    of = [Spend(none), Spend(usd), Spend(usd, tokens)]
    day, session, more = (of[at] for at in order)
    assert refused(within_caps(day, session, more, caps(), PLENTY), "spend_cap")


@pytest.mark.parametrize("cap", [math.nan, -math.inf, -1.0])
@pytest.mark.parametrize("name", ["usd_per_day", "usd_per_session"])
def test_a_cap_that_is_no_amount_lets_nothing_start(name: str, cap: float) -> None:
    answer = within_caps(Spend(), Spend(), Spend(), caps(**{name: cap}), PLENTY)
    assert refused(answer, "spend_cap")


@pytest.mark.parametrize("none", NUMBERS_THAT_ARE_NONE)
def test_once_a_price_is_no_number_nothing_more_is_spent(none: float) -> None:
    spend = Spend(1.0, 10).plus(1, none).plus(1, 0.1)
    assert refused(within_caps(spend, Spend(), Spend(0.0, 1), caps(), PLENTY), "spend_cap")


SPENDS = st.builds(Spend, st.floats(0, 20), st.integers(0, 2000), st.integers(0, 2000))
SMALL = st.builds(Spend, st.floats(0, 2), st.integers(0, 100))


@given(SPENDS | SMALL, SPENDS | SMALL, SPENDS | SMALL, st.integers(0, 200))
def test_whatever_starts_stays_within_every_cap_and_more_use_never_opens_a_door(
    day: Spend, session: Spend, more: Spend, own: int
) -> None:
    answer = within_caps(day, session, more, caps(), own)
    if answer is None:
        assert day.usd + more.usd <= 10.0
        assert session.usd + more.usd <= 2.0
        assert day.tokens + more.tokens <= 1000
        assert session.tokens + more.tokens <= min(100, own)
    else:
        further = more.with_more(Spend(0.1, 1))
        assert within_caps(day, session, further, caps(), own) is not None
        assert within_caps(day.plus(1, 0.1), session, more, caps(), own) is not None
        assert within_caps(day, session.plus(1, 0.1), more, caps(), own) is not None


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
    counts = usage_of(told)
    assert (counts and (counts.input, counts.output)) == usage


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
    counts = usage_of(told)
    found = () if counts is None else (counts.input, counts.output, counts.cached, counts.written)
    assert all(type(count) is int and 0 <= count < 2**40 for count in found)


def test_what_was_tried_is_told_in_words() -> None:
    tried = [(FAR, Trouble.QUOTA), (HOME, Trouble.UNREACHABLE)]
    assert ladder_words(tried) == "far: quota; home: unreachable"
    assert ladder_words([]) == "nothing"


def test_a_date_without_a_zone_is_greenwich_s() -> None:
    headers = {"Retry-After": "Fri Jan 15 08:01:30 2027"}
    assert retry_after_s(Trouble.QUOTA, headers, 1_800_000_000.0) == 90.0
