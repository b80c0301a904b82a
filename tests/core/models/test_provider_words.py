"""What refusals, waits, sizes and counts of providers mean, spelling by spelling."""

from __future__ import annotations

import time
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from allegro.core.models.dialect import (
    LIMITS,
    NO_LIMIT,
    Dialect,
    Manner,
    adapted,
    blames_ours,
    spoken,
)
from allegro.core.models.ladder import Trouble, cost_usd
from allegro.core.models.refusals import (
    KNOWN_WORDS,
    classify,
    error_for_caller,
    overflows,
    scrubbed,
    status_of,
)
from allegro.core.models.usage import Seen, TokenCounts, counted, merged, usage_of
from allegro.core.models.waits import retry_after_s
from allegro.core.settings import Rung

NOW_S = 1_800_000_000.0
BODY = {"messages": [], "stream": True}
WHOLE = Manner(Dialect(), 8192)


def error(message: str, **more: Any) -> str:
    return msgspec.json.encode({"error": {"message": message, **more}}).decode()


# --- waits --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "wait_s"), [
    ("try again in 38s", 38), ("Please try again in 1m30s.", 90), ("Please try again in 2m59.56s", 179.56),
    ("retry in 38.5 seconds", 38.5), ("Please wait 20 seconds", 20), ("try again in 250ms", 0.25),
    ("try again after 2 minutes", 120), ("wait for 1 minute and 5 seconds", 65), ("resets in 3 hours", 10_800),
    ("Rate limit reached. Try again in 7m12s.", 432), ("retry after 5 secs", 5), ("retry-after: 9s", 9),
    ("available again in 2 days", 86_400), ("try again in 1h2m3s", 3723), ("try again in 99999999s", None),
    ("You can retry in about 4 mins", 240), ("try again later", None), ("30 seconds of audio", None),
    ("the model waited", None), ("", None), ("try again at 2027-01-15T08:01:30Z", 90),
    ("resets 2027-01-15 08:01:30", 90), ("until Fri, 15 Jan 2027 08:01:30 GMT", 90),
    ("try again at 2027-99-15T08:01:30Z", None),
    ('{"error":{"details":[{"@type":"RetryInfo","retryDelay":"38s"}]}}', 38),
    ('{"error":{"details":[{"retryDelay":{"seconds":38}}]}}', 38), ('{"retry_after": 7}', 7),
    ('{"error":{"retry_after_seconds": 7.5}}', 7.5), ('{"retryAfter": "1m"}', 60), ('{"retry-after":"2"}', 2),
    ('{"error":{"metadata":{"retry_after_ms": 1500}}}', 1.5), ('[{"error":{"retryDelay":"3.2s"}}]', 3.2),
    ('{"retry_after": 1800000060}', 60), ('{"retry_after": -5}', None), ('{"retry_after": true}', None),
    ('{"retry_after": 1e999}', None), ('{"retry_after": "soon"}', None), ('{"retry_after": null}', None),
    ('{"retry_after": [5]}', None), ('{"retry_after_ms": "900"}', 0.9), ('{"retryDelay": "x", "retry_after": 4}', 4),
    ('{"error":{"message":"try again in 12s"}}', 12), ("9" * 5000, None), ('{"a":' * 3000, None),
    ("try again in 250 milliseconds", 0.25), ("Try again in 1 Millisecond", 0.001), ("retry in 500 MS", 0.5),
    ("wait 2 Minutes, 5 Secs", 125), ("wait 2 mins and 1 hr", 3720), ("reset in 1 day", 86_400),
    ('{"retry_after": "1800000060"}', 60), ('{"retry_after": 1800000060000}', 60),
    ('{"retry_after": 1000000000}', 86_400), ('{"retry_after": "' + "4".ljust(100) + '"}', 4),
    ('{"retry_after": "' + "4".ljust(101) + '"}', None),
    ('{"a":' * 6 + '{"retry_after": 4}' + "}" * 6, 4), ('{"a":' * 7 + '{"retry_after": 4}' + "}" * 7, None),
    ("[" * 6 + '{"retry_after": 4}' + "]" * 6, 4), ("[" * 7 + '{"retry_after": 4}' + "]" * 7, None),
    ("[" + "5," * 15 + '{"retry_after": 4}]', 4), ("[" + "5," * 16 + '{"retry_after": 4}]', None),
])  # fmt: skip
def test_a_wait_is_read_from_a_body_in_each_of_its_spellings(
    text: str, wait_s: float | None
) -> None:
    found = retry_after_s(Trouble.QUOTA, {}, NOW_S, text)
    assert found == (wait_s if wait_s is None else pytest.approx(wait_s))


def test_a_header_goes_before_the_body_and_the_body_before_a_reset() -> None:
    text, reset = "try again in 38s", {"x-ratelimit-reset": "90"}
    assert retry_after_s(Trouble.OVERLOAD, {"Retry-After": "4"}, NOW_S, text) == 4
    assert (
        retry_after_s(Trouble.OVERLOAD, {"retry-after-ms": "400", "Retry-After": "4"}, NOW_S) == 0.4
    )
    assert retry_after_s(Trouble.QUOTA, reset, NOW_S, text) == 38
    assert retry_after_s(Trouble.QUOTA, reset, NOW_S) == 90


def test_a_body_cannot_ask_for_more_than_a_day_or_five_minutes() -> None:
    assert retry_after_s(Trouble.QUOTA, {}, NOW_S, "try again in 9000 hours") == 86_400
    assert retry_after_s(Trouble.OVERLOAD, {}, NOW_S, "try again in 9000 hours") == 300
    assert retry_after_s(Trouble.BROKEN, {}, NOW_S, "try again in 5s") is None


@given(st.text(max_size=200) | st.from_regex(r"try again in [0-9a-z. ]{0,30}"))
def test_no_words_make_a_wait_that_is_none(text: str) -> None:
    found = retry_after_s(Trouble.QUOTA, {}, NOW_S, text)
    assert found is None or 0 <= found <= 86_400


# --- refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "wait_s", "trouble"), [
    (error("quota exceeded"), None, Trouble.QUOTA), (error("quota exceeded"), 20.0, Trouble.OVERLOAD),
    (error("quota exceeded"), 900.0, Trouble.QUOTA), (error("out of credits, see rate limits"), None, Trouble.OVERLOAD),
    (error("no", code="insufficient_quota"), 20.0, Trouble.QUOTA),
    (error("tokens per minute", code="insufficient_quota"), 20.0, Trouble.OVERLOAD),
    (error("quota per day"), 20.0, Trouble.QUOTA), (error("slow: https://x.example/billing"), None, Trouble.OVERLOAD),
    (error("slow: www.x.example/billing"), None, Trouble.OVERLOAD),
    (error("slow: console.x.example/settings/billing"), None, Trouble.OVERLOAD),
    (error("check your billing"), None, Trouble.QUOTA), (error("daily quota reached"), None, Trouble.QUOTA),
    (error("quota for RPM reached"), None, Trouble.OVERLOAD), (error("no"), 900.0, Trouble.OVERLOAD),
    (error("quota exceeded"), 300.0, Trouble.OVERLOAD), (error("quota exceeded"), 300.5, Trouble.QUOTA),
    (error("Tokens Per Minute", code="insufficient_quota"), None, Trouble.OVERLOAD),
    (error("quota", details=[{"quotaId": "RequestsPerMinute"}]), None, Trouble.OVERLOAD),
    (error("no", code="quota_exceeded"), None, Trouble.QUOTA), (error("no", type="no_credits"), None, Trouble.QUOTA),
    (error("no", type="quota.reached"), None, Trouble.QUOTA), (error("no", status="insufficient_quota"), 20.0, Trouble.QUOTA),
])  # fmt: skip
def test_a_429_is_a_quota_or_a_limit_that_is_over_soon(
    text: str, wait_s: float | None, trouble: Trouble
) -> None:
    assert classify(429, text, "m", wait_s) is trouble


@pytest.mark.parametrize("text", [
    error("no", code="context_length_exceeded"), error("no", type="exceed_context_size_error"),
    error("maximum context length is 8"), error("prompt is too long"), error("input is too long"),
    error("Too many tokens"), error("please reduce the length of the messages"),
    error("exceeds the available context size"), error("The context window is 8"), "context size exceeded",
    error("Request too large for gpt"), error("prompt exceeds max length"),
])  # fmt: skip
def test_a_prompt_that_is_too_long_is_known_by_code_or_words(text: str) -> None:
    for status in (400, 413, 422):
        assert overflows(status, text)
        assert classify(status, text) is Trouble.OVERFLOW
    for status in (401, 404, 429, 500):
        assert not overflows(status, text)
        assert classify(status, text) is not Trouble.OVERFLOW
    assert "context length" in error_for_caller(Trouble.OVERFLOW, text)["message"]
    assert error_for_caller(Trouble.OVERFLOW, text)["code"]


@pytest.mark.parametrize(
    "text", [error("no"), error("messages: too long"), "", "{", "[]", error("image too large")]
)
def test_other_refusals_are_no_overflow(text: str) -> None:
    assert not overflows(400, text)
    assert classify(413, text) is Trouble.BAD_REQUEST


@pytest.mark.parametrize(("text", "code", "message"), [
    (error("no", code="prompt_too_long"), "prompt_too_long", "no (context length exceeded)"),
    (error("no", code="Input_Too_Long"), "Input_Too_Long", "no (context length exceeded)"),
    (error("no", code="bad_request"), "context_length_exceeded", "no (context length exceeded)"),
    (error("Context Length is 8"), "context_length_exceeded", "Context Length is 8"),
])  # fmt: skip
def test_a_caller_hears_of_an_overflow_in_words_that_agents_know(
    text: str, code: str, message: str
) -> None:
    shown = error_for_caller(Trouble.OVERFLOW, text)
    assert (shown["code"], shown["message"]) == (code, message)


def test_a_model_that_is_not_found_is_known_by_its_name_in_quotes() -> None:
    text = error('The model "gpt-9" does not exist')
    assert classify(400, text, "gpt-9") is Trouble.UNKNOWN_MODEL
    assert classify(400, text, "gpt-8") is Trouble.BAD_REQUEST


def test_what_could_be_a_key_is_replaced_by_one_sign() -> None:
    assert scrubbed("key sk-abcdef0123, twice") == "key […], twice"
    assert scrubbed("token " + "A1b2" * 10) == "token […]"


def test_a_long_message_is_scrubbed_as_far_as_it_is_read_and_cut_then() -> None:
    def shown(message: str) -> Any:
        return error_for_caller(Trouble.BAD_REQUEST, error(message))["message"]

    assert shown("k" * 3_000 + " hello") == "[…] hello"
    assert shown("k" * 15_999 + " ab") == "[…] "
    assert shown("no " * 300) == "no " * 200


def test_a_413_about_a_minute_is_an_overload() -> None:
    assert classify(413, error("tokens per minute: limit 6000")) is Trouble.OVERLOAD


@pytest.mark.parametrize("secret", [
    "sk-abcdef0123", "gsk-abcdef_012", "xai-0123456789", "A1b2" * 10, "sk-proj-" + "a-b" * 20,
    "max_tokens." + "k" * 40, "context_length_exceeded/" + "Z9" * 12, "pk-1234567",
])  # fmt: skip
def test_no_key_passes_the_scrubber_in_any_place(secret: str) -> None:
    for text in (secret, f"Bearer {secret}", f"key={secret}.", f'"{secret}"', "x " * 290 + secret):
        assert secret not in scrubbed(text)
        shown = error_for_caller(Trouble.BAD_REQUEST, error(text, code=text, type=text, param=text))
        assert secret not in str(shown)
        assert not any(secret[at : at + 12] in str(shown["message"]) for at in range(len(secret) - 12)
                       if "_" not in secret[at : at + 12])  # fmt: skip


@pytest.mark.parametrize("word", sorted(word for word in KNOWN_WORDS if len(word) >= 20))
def test_every_known_word_passes_the_scrubber(word: str) -> None:
    assert scrubbed(f"about '{word}', and {word}.") == f"about '{word}', and {word}."
    shown = error_for_caller(Trouble.BAD_REQUEST, error("no", code=word, type=word, param=word))
    assert (shown["code"], shown["type"], shown["param"]) == (word, word, word)


@pytest.mark.parametrize(
    "code", ["x" * 20, "a b", "", None, [], {"a": 1}, True, 1.5, "x\n", "sk-abcdefgh"]
)
def test_a_code_that_is_no_known_word_is_left_out(code: object) -> None:
    shown = error_for_caller(Trouble.BAD_REQUEST, error("no", code=code, type=code, param=code))
    assert (shown["code"], shown["type"], shown["param"]) == (None, "provider", None)


def test_a_number_as_code_is_handed_on_in_digits() -> None:
    assert error_for_caller(Trouble.BAD_REQUEST, error("no", code=1210))["code"] == "1210"


def test_a_refusal_without_an_object_is_handed_on_in_its_words() -> None:
    assert error_for_caller(Trouble.BAD_REQUEST, "no such thing")["message"] == "no such thing"
    assert error_for_caller(Trouble.BAD_REQUEST, "x " * 9000)["message"] == "x " * 300
    in_words = msgspec.json.encode({"error": "no such thing"}).decode()
    assert error_for_caller(Trouble.BAD_REQUEST, in_words)["message"] == "no such thing"
    assert error_for_caller(Trouble.BAD_REQUEST, f"[{error('no')}]")["message"] == "no"


@pytest.mark.parametrize(("given_", "status"), [
    ({"code": 429}, 429), ({"code": "503"}, 503), ({"code": "٤٢٩"}, 500), ({"code": 700}, 500), ({}, 500),
    ({"code": 400}, 400), ({"code": 399}, 500), ({"code": 599}, 599), ({"code": 600}, 500), ({"http_code": 402}, 402),
    ("no", 500), (None, 500), ({"type": "Invalid_Request_Error"}, 400), ({"status": "UNAVAILABLE"}, 503),
    ({"code": None, "status_code": 404}, 404), ({"code": 2**70}, 500), ({"code": "x", "type": "api_error"}, 500),
    ({"code": "context_length_exceeded"}, 400), ({"code": True, "status": 401}, 401),
])  # fmt: skip
def test_the_status_of_an_error_inside_an_answer(given_: object, status: int) -> None:
    assert status_of(given_) == status


# --- dialects -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("dialect", "body", "added"), [
    (Dialect(), {}, {"max_tokens": 50}), (Dialect(), {"max_completion_tokens": 9}, {"max_completion_tokens": 50}),
    (Dialect(limit="max_completion_tokens"), {"max_tokens": 9}, {"max_completion_tokens": 50}),
    (Dialect(limit="max_tokens"), {"max_completion_tokens": 9}, {"max_tokens": 50}),
    (Dialect(limit=NO_LIMIT), {"max_tokens": 9}, {}), (Dialect(most=20), {}, {"max_tokens": 20}),
    (Dialect(most=90), {}, {"max_tokens": 50}), (Dialect(stream_options=False), {"stream": True}, {"max_tokens": 50}),
    (Dialect(), {"stream": True}, {"max_tokens": 50, "stream_options": {"include_usage": True}}),
    (Dialect(), {"stream": False}, {"max_tokens": 50}),
])  # fmt: skip
def test_a_request_is_said_in_the_dialect_of_its_rung(
    dialect: Dialect, body: dict[str, Any], added: dict[str, Any]
) -> None:
    asked = spoken({"messages": [], **body}, Manner(dialect, 50))
    kept = {name: value for name, value in body.items() if name not in LIMITS}
    assert asked == {"messages": [], **kept, **added}


def test_a_dialect_is_described_in_words() -> None:
    assert Dialect().describe() == ""
    assert Dialect("max_completion_tokens", False, 9).describe() == (
        "answers limited by max_completion_tokens, at most 9 tokens an answer, no stream_options"
    )
    assert Dialect(NO_LIMIT).describe() == "no limit of its answers"


NAMED, OPTIONS = "max_tokens: unsupported", "stream_options: not permitted"


@pytest.mark.parametrize(("status", "text", "manner"), [
    (400, NAMED, Manner(Dialect(limit="max_completion_tokens"), 8192)),
    (422, OPTIONS, Manner(Dialect(stream_options=False), 8192)),
    (400, "use max_completion_tokens", Manner(Dialect(limit="max_completion_tokens"), 8192)),
    (400, "max_tokens must be at most 4096", Manner(Dialect(most=4096), 8192)),
    (400, "max_tokens: 8192 > 4096", Manner(Dialect(most=4096), 8192)),
    (400, "max_tokens is wrong", Manner(Dialect(), 2048)),
    (413, "too much", Manner(Dialect(), 2048)), (413, "Limit 6000, Requested 9000", Manner(Dialect(), 5192)),
    (413, "Limit 6000, Requested 15000", None), (413, "Limit 6000, Requested 13937", None),
    (413, "Limit 6000, Requested 13936", Manner(Dialect(), 256)),
    (413, "too much, at most 4096 fit", Manner(Dialect(), 2048)), (413, "Limit 9000, Requested 9000", Manner(Dialect(), 2048)),
    (413, "Limit 9000, Requested 6000", Manner(Dialect(), 2048)), (400, "max_tokens must be at most 8192", Manner(Dialect(), 2048)),
    (400, "max_tokens must be at most 1", Manner(Dialect(most=1), 8192)),
    (400, "max_tokens must be at most 0", Manner(Dialect(), 2048)),
    (429, "slow down: max_tokens", None), (429, "Limit 6000, Requested 9000", Manner(Dialect(), 5192)),
    (400, "temperature: unsupported", None), (500, NAMED, None), (404, NAMED, None), (401, OPTIONS, None),
    (400, "max_tokens_of_mine: unsupported", None), (400, "my_max_tokens: unsupported", None), (400, "", None),
])  # fmt: skip
def test_each_refusal_of_a_parameter_of_ours_has_its_next_manner(
    status: int, text: str, manner: Manner | None
) -> None:
    assert adapted(WHOLE, spoken(BODY, WHOLE), status, text) == manner


def test_an_answer_is_asked_for_in_whole_tokens() -> None:
    odd = Manner(Dialect(), 2051)
    assert adapted(odd, spoken(BODY, odd), 413, "too much") == Manner(Dialect(), 512)


def test_who_takes_neither_name_gets_none() -> None:
    second = Manner(Dialect(limit="max_completion_tokens"), 50)
    third = adapted(second, spoken(BODY, second), 400, "max_completion_tokens: unknown parameter")
    assert third == Manner(Dialect(limit=NO_LIMIT), 50)
    assert adapted(third, spoken(BODY, third), 400, NAMED + OPTIONS) == Manner(
        Dialect(limit=NO_LIMIT, stream_options=False), 50
    )


TEXTS = st.lists(st.sampled_from([
    "max_tokens", "max_completion_tokens", "stream_options", "unsupported", "at most 4096", "Limit 6000",
    "Requested 9000", "Requested 6100", "use", "maximum context length is 4000 tokens", "8192", "> 300",
])).map(" ".join)  # fmt: skip


@given(
    st.lists(st.tuples(st.sampled_from([400, 413, 422, 429]), TEXTS), max_size=40),
    st.integers(1, 9000),
)
def test_asking_in_another_manner_comes_to_an_end(said: list[tuple[int, str]], most: int) -> None:
    manner = Manner(Dialect(), most)
    for status, text in said:
        found = adapted(manner, spoken(BODY, manner), status, text)
        if found is None:
            continue
        before = (manner.dialect.limit, manner.dialect.stream_options, manner.bound)
        after = (found.dialect.limit, found.dialect.stream_options, found.bound)
        order = {"": 0, "max_tokens": 1, "max_completion_tokens": 1, NO_LIMIT: 2}
        assert after != before
        assert order[after[0]] >= order[before[0]]
        assert before[1] or not after[1]
        assert 1 <= after[2] <= before[2] <= most
        manner = found


@pytest.mark.parametrize(("body", "text", "ours"), [
    ({}, "max_tokens", True), ({"max_tokens": 5}, "max_tokens", False), ({}, "temperature", False),
    ({"stream": True, "max_tokens": 5}, "stream_options", True), ({}, "stream_options", False),
    ({"max_completion_tokens": 5}, "max_completion_tokens", False), ({}, "max_tokens_x", False),
    ({"stream": True}, "include_usage is odd", True),
])  # fmt: skip
def test_what_no_caller_named_is_ours(body: dict[str, Any], text: str, ours: bool) -> None:
    assert blames_ours(body, spoken(body, WHOLE), text) is ours


# --- use ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("value", "counts"), [
    ({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}, TokenCounts(10, 5)),
    ({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 22}, TokenCounts(10, 12)),
    ({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 3}, TokenCounts(10, 5)),
    ({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": "x"}, TokenCounts(10, 5)),
    ({"prompt_tokens": 10, "total_tokens": 15}, TokenCounts(10, 5)),
    ({"prompt_tokens": 10, "completion_tokens": None, "total_tokens": 15}, TokenCounts(10, 5)),
    ({"prompt_tokens": 10, "completion_tokens": "5", "total_tokens": 15}, None),
    ({"completion_tokens": 5, "total_tokens": 15}, None),
    ({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15,
      "completion_tokens_details": {"reasoning_tokens": 4}}, TokenCounts(10, 5)),
    ({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15,
      "completion_tokens_details": {"reasoning_tokens": 6}}, TokenCounts(10, 11)),
    ({"prompt_tokens": 10, "completion_tokens": 5, "completion_tokens_details": {"reasoning_tokens": 4}},
     TokenCounts(10, 9, is_sure=False)),
    ({"input_tokens": 10, "output_tokens": 5, "output_tokens_details": {"reasoning_tokens": 4}},
     TokenCounts(10, 9, is_sure=False)),
    ({"prompt_tokens": 10, "completion_tokens": 5, "reasoning_tokens": 40, "total_tokens": 15},
     TokenCounts(10, 45)),
    ({"prompt_tokens": 10, "completion_tokens": 5, "completion_tokens_details": 5}, TokenCounts(10, 5)),
    ({"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 8}},
     TokenCounts(10, 5, 8)),
    ({"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 80}},
     TokenCounts(10, 5, 10)),
    ({"prompt_tokens": 10, "completion_tokens": 5, "prompt_cache_hit_tokens": 7}, TokenCounts(10, 5, 7)),
    ({"prompt_tokens": 10, "completion_tokens": 5, "cached_tokens": 6}, TokenCounts(10, 5, 6)),
    ({"input_tokens": 10, "output_tokens": 5, "cache_read_input_tokens": 7, "cache_creation_input_tokens": 2},
     TokenCounts(19, 5, 7, 2)),
    ({"input_tokens": 10, "output_tokens": 5, "cache_creation_input_tokens": 6,
      "cache_creation": {"ephemeral_1h_input_tokens": 4}}, TokenCounts(16, 5, 0, 6, 4)),
    ({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15, "cache_read_input_tokens": 7},
     TokenCounts(10, 5, 7)),
    ({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 22, "cache_read_input_tokens": 7},
     TokenCounts(17, 5, 7)),
    ({"prompt_tokens": 10, "completion_tokens": 5, "cache_read_input_tokens": 7}, TokenCounts(17, 5, 7)),
    ({"prompt_tokens": 10, "total_tokens": 10}, TokenCounts(10, 0)),
    ({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15, "reasoning_tokens": 5}, TokenCounts(10, 5)),
    ({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15, "cache_creation_input_tokens": 7,
      "prompt_tokens_details": {"cached_tokens": 8}}, TokenCounts(10, 5, 8, 2)),
    ({"input_tokens": 10, "output_tokens": 5, "input_tokens_details": {"cached_tokens": 8}}, TokenCounts(10, 5, 8)),
    ({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 18, "cache_read_input_tokens": 4,
      "cache_creation_input_tokens": 3}, TokenCounts(10, 8, 4, 3)),
    ({"input_tokens": 2**40 - 1, "output_tokens": 5, "cache_read_input_tokens": 7},
     TokenCounts(2**40 - 1, 5, 7)),
    ({"prompt_tokens": 2**40 - 1, "completion_tokens": 2**40 - 1, "reasoning_tokens": 2**40 - 1},
     TokenCounts(2**40 - 1, 2**40 - 1, is_sure=False)),
])  # fmt: skip
def test_use_is_read_so_that_nothing_that_is_billed_is_left_out(
    value: dict[str, Any], counts: TokenCounts | None
) -> None:
    assert usage_of(value) == counts


def test_two_counts_of_one_answer_say_the_larger() -> None:
    small, large = TokenCounts(5, 5, 4), TokenCounts(9, 9, 2)
    assert merged(None, small) == small
    assert merged(small, large) == large
    assert merged(large, TokenCounts(9, 1, 8)) == TokenCounts(9, 9, 8)
    assert merged(large, TokenCounts(1, 11)) == TokenCounts(9, 11)


TOLD = TokenCounts(100, 10)


@pytest.mark.parametrize(("seen", "counts", "is_told"), [
    (Seen(TOLD, True, True, 300, 30, 50), TOLD, True),
    (Seen(TokenCounts(100, 10, is_sure=False), True, True, 300, 30, 50), TokenCounts(100, 10, is_sure=False), False),
    (Seen(TOLD, True, True, 300, 240, 50), TOLD, True), (Seen(TOLD, True, True, 600, 243, 50), TokenCounts(200, 81), False),
    (Seen(TOLD, False, True, 300, 30, 50), TokenCounts(100, 50), False),
    (Seen(TOLD, True, False, 900, 30, 0), TokenCounts(300, 10), False),
    (Seen(None, False, True, 300, 30, 50), TokenCounts(100, 50), False),
    (Seen(None, False, True, 300, 300, 50), TokenCounts(100, 100), False),
    (Seen(None, False, False, 300, 0, 0), TokenCounts(100, 0), False),
    (Seen(None, False, True, 0, 0, 0), TokenCounts(0, 0), False),
    (Seen(TokenCounts(100, 99), False, True, 300, 30, 50), TokenCounts(100, 99), False),
])  # fmt: skip
def test_what_is_not_told_at_the_end_counts_as_the_most_it_can_be(
    seen: Seen, counts: TokenCounts, is_told: bool
) -> None:
    assert counted(seen) == (counts, is_told)


@pytest.mark.parametrize(("counts", "usd"), [
    (TokenCounts(1000, 10), 1000 + 20), (TokenCounts(1000, 10, 400), 600 + 40 + 20),
    (TokenCounts(1000, 10, 0, 400), 1100 + 20), (TokenCounts(1000, 10, 0, 400, 400), 1400 + 20),
    (TokenCounts(1000, 10, 200, 400, 100), 800 + 20 + 100 + 75 + 20),
])  # fmt: skip
def test_cached_input_and_what_is_stored_in_a_cache_have_their_prices(
    counts: TokenCounts, usd: float
) -> None:
    rung = Rung(model="m", provider="p", base_url="https://x.example/v1", input_usd=1.0, output_usd=2.0,
                cached_input_usd=0.1)  # fmt: skip
    assert cost_usd(rung, counts) == pytest.approx(usd / 1e6)


@pytest.mark.parametrize("text", [
    "a.", "sk-", "try ", "limit 5 ", "retry a b c ", "1h", "model m ", "www.", "context length of ", "9",
    "maximum a b ", "-",
])  # fmt: skip
def test_no_words_of_a_provider_take_long_to_read(text: str) -> None:
    long = (text * 16_000)[:16_000]
    began_s = time.process_time()
    retry_after_s(Trouble.QUOTA, {}, NOW_S, long)
    for status in (400, 413, 429):
        adapted(WHOLE, spoken(BODY, WHOLE), status, long)
        error_for_caller(classify(status, long, "m"), long)
    assert time.process_time() - began_s < 2


@pytest.mark.parametrize("name", ["Retry-After", "retry-after"])
def test_a_date_to_wait_until_is_measured_by_the_answers_own_clock(name: str) -> None:
    """Our clock may be an hour off: a provider's two dates are of one clock."""
    theirs = "Sat, 28 Nov 2026 12:00:00 GMT"
    headers = {name: "Sat, 28 Nov 2026 12:00:38 GMT", "Date": theirs}
    ours_s = 1_795_867_200.0
    for off_s in (-3_600.0, 0.0, 3_600.0):
        assert retry_after_s(Trouble.OVERLOAD, headers, ours_s + off_s) == 38.0
    del headers["Date"]
    assert retry_after_s(Trouble.OVERLOAD, headers, ours_s) == 38.0
    assert retry_after_s(Trouble.OVERLOAD, headers, ours_s - 3_600.0) == 300.0


@pytest.mark.parametrize("date", [
    "", "soon", "Thu, 01 Jan 1900 00:00:00 GMT", "Thu, 01 Jan 1970 00:00:00 GMT", "9" * 500,
])  # fmt: skip
def test_a_date_that_is_no_clock_leaves_ours_and_no_wait_is_endless(date: str) -> None:
    headers = {"Retry-After": "Sat, 28 Nov 2026 12:00:38 GMT", "Date": date}
    assert retry_after_s(Trouble.OVERLOAD, headers, 1_795_867_200.0) == 38.0
    headers["Date"] = "Thu, 01 Jan 1970 00:00:01 GMT"
    assert retry_after_s(Trouble.QUOTA, headers, 1_795_867_200.0) == 86_400.0
