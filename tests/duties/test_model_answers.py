"""The model proxy and what providers say: ends, failures, dialects, waits, sizes, and their use."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from allegro.core.models.dialect import Dialect
from allegro.core.models.ladder import Trouble

from .house import until
from .providers import DONE, STALLED, USAGE, Answer, Served, chunk, refusal, rung, said, served

ROLE = b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}\n\n'
ALIVE = b": PROCESSING\n\n"


@pytest.fixture
async def proxy(tmp_path: Path) -> AsyncIterator[Served]:
    async with served(tmp_path) as made:
        made.grant()
        yield made


def says(proxy: Served, provider: str, *answers: Any) -> None:
    proxy.providers.answers[provider].extend(answers)


def error_of(raw: bytes) -> dict[str, Any]:
    return dict(msgspec.json.decode(raw)["error"])


def body_of(status: int, error: Any, **headers: str) -> Answer:
    raw = msgspec.json.encode(error)
    return Answer(status, [raw], {name.replace("_", "-"): v for name, v in headers.items()})


# --- ends and failures --------------------------------------------------------------------------


@pytest.mark.parametrize("before", [[], [ALIVE], [ROLE], [ALIVE, ROLE, ALIVE]])
@pytest.mark.parametrize("failed", [
    b'data: {"error":{"code":502,"message":"gone"},"choices":[]}\n\n',
    b'error: {"code":500,"message":"gone"}\n\n', b'event: error\ndata: {"message":"gone"}\n\n',
    b'data: {"choices":[{"delta":{},"finish_reason":"network_error"}]}\n\n',
    b'data: {"choices":[{"error":{"code":502},"delta":{}}]}\n\n', b'data: {"detail":"gone"}\n\n',
    b'data: {"object":"error","message":"gone"}\n\n', b"",
])  # fmt: skip
async def test_until_the_first_word_a_failure_is_answered_by_the_next_rung(
    proxy: Served, before: list[bytes], failed: bytes
) -> None:
    says(proxy, "first", Answer(pieces=[*before, failed, DONE] if failed else [*before, DONE]))
    status, raw = await proxy.ask(stream=True)
    assert (status, proxy.providers.called) == (200, ["first", "second"])
    assert raw == b"".join(piece for piece in said(stream=True).pieces if isinstance(piece, bytes))
    assert proxy.results() == [("first", "broken"), ("second", "ok")]


@pytest.mark.parametrize("payload", [
    {"choices": [{"message": {"content": ""}, "finish_reason": "network_error"}]},
    {"choices": [{"message": {"content": "half"}, "finish_reason": "error"}]}, {"detail": "gone"},
    {"object": "error", "message": "gone"}, {"choices": []}, {"choices": [{"error": {"code": 500}}]},
])  # fmt: skip
async def test_a_whole_answer_that_failed_is_answered_by_the_next_rung(
    proxy: Served, payload: dict[str, Any]
) -> None:
    says(proxy, "first", body_of(200, payload))
    assert (await proxy.ask())[0] == 200
    assert proxy.results() == [("first", "broken"), ("second", "ok")]


@pytest.mark.parametrize("failed", [
    b'error: {"code":500,"message":"gone"}\n\n', b'event: error\ndata: {"message":"gone"}\n\n',
    b'data: {"choices":[{"delta":{},"finish_reason":"network_error"}]}\n\n',
    b'data: {"choices":[{"error":{"code":502},"delta":{}}]}\n\n',
])  # fmt: skip
async def test_a_failure_after_a_word_breaks_the_answer_off_however_it_is_spelled(
    proxy: Served, failed: bytes
) -> None:
    gate = asyncio.Event()
    says(proxy, "first", Answer(pieces=[chunk("half an ans"), gate, failed, DONE]))
    async with proxy.open(stream=True) as response:
        await response.content.readuntil(b"ans")
        gate.set()
        with pytest.raises(aiohttp.ClientError):
            await response.read()
    assert proxy.results() == [("first", "broken")]


async def test_use_and_a_clean_end_do_not_make_half_an_answer_whole(proxy: Served) -> None:
    says(proxy, "first", Answer(pieces=[chunk("half an ans"), chunk(usage=USAGE)]))
    with pytest.raises(aiohttp.ClientError):
        await proxy.ask(stream=True)
    assert proxy.results() == [("first", "half")]


@pytest.mark.parametrize("done", [DONE, b"data: [DONE]", b"data:[DONE]\r\n", b"data: [DONE]\n"])
async def test_done_ends_the_answer_though_the_connection_stays_open(
    proxy: Served, done: bytes
) -> None:
    never = asyncio.Event()
    given = Answer(pieces=[chunk("ok"), chunk(finish="stop"), chunk(usage=USAGE), done, never])
    says(proxy, "first", given)
    status, raw = await asyncio.wait_for(proxy.ask(stream=True), 20)
    assert status == 200
    assert raw.endswith((b"\n\n", b"\r\n\n\n"))
    assert proxy.results() == [("first", "ok")]
    assert proxy.result()["tokens"] == "told"
    assert given.closed


async def test_signs_of_life_are_no_word_and_do_not_keep_a_caller_waiting(tmp_path: Path) -> None:
    async with served(tmp_path, first_word_s=0.3) as proxy:
        proxy.grant()
        says(proxy, "first", Endless(), Endless())
        for stream in (True, False):
            began_s = time.monotonic()
            assert (await proxy.ask(stream=stream))[0] == 200
            assert time.monotonic() - began_s < 20
            proxy.clock.advance(60)
        assert proxy.results() == [("first", "stalled"), ("second", "ok")] * 2


async def test_signs_of_life_after_a_word_do_not_keep_a_caller_waiting(tmp_path: Path) -> None:
    async with served(tmp_path, first_word_s=0.3) as proxy:
        proxy.grant()
        says(proxy, "first", Endless(pieces=[chunk("a word")]))
        with pytest.raises(aiohttp.ClientError):
            await asyncio.wait_for(proxy.ask(stream=True), 20)
        assert proxy.results() == [("first", "stalled")]


class Endless(Answer):
    """An answer that repeats one piece for ever, after its own."""

    piece: bytes = ALIVE

    async def read(self) -> bytes:
        if self.pieces:
            return await super().read()
        await asyncio.sleep(0.01)
        return self.piece


async def test_no_byte_reaches_the_caller_before_the_first_word(proxy: Served) -> None:
    gate, more = asyncio.Event(), asyncio.Event()
    says(proxy, "first", Answer(pieces=[ALIVE, ROLE, gate, chunk("hello"), more, DONE]))
    asking = asyncio.ensure_future(proxy.ask(stream=True))
    await until(lambda: len(proxy.providers.calls) == 1)
    gate.set()
    more.set()
    status, raw = await asking
    assert status == 200
    assert raw == ALIVE + ROLE + chunk("hello") + DONE


async def test_a_sloppy_whole_answer_is_mended_and_asked_for_once(proxy: Served) -> None:
    raw = b'\xef\xbb\xbf{"x":NaN,"choices":[{"message":{"content":"a\\ud800"},"finish_reason":"stop"}]}'
    says(proxy, "first", Answer(pieces=[raw]))
    status, answered = await proxy.ask()
    assert (status, proxy.providers.called) == (200, ["first"])
    assert msgspec.json.decode(answered)["choices"][0]["message"]["content"] == "a?"


@pytest.mark.parametrize("cut", [1, 40, 10**6])
async def test_a_whole_answer_to_a_call_for_a_stream_is_passed_on_as_one(
    proxy: Served, cut: int
) -> None:
    whole = said("hello").pieces[0]
    assert isinstance(whole, bytes)
    says(proxy, "first", Answer(pieces=[whole[:cut], whole[cut:]]))
    status, raw = await proxy.ask(stream=True)
    assert (status, proxy.providers.called) == (200, ["first"])
    assert b'"content":"hello"' in raw
    assert raw.endswith(DONE)
    assert (proxy.result()["tokens_out"], proxy.result()["tokens"]) == (10, "told")


async def test_an_error_in_whole_json_to_a_call_for_a_stream_is_a_refusal(proxy: Served) -> None:
    pretty = b'{\n  "error": {\n    "code": "context_length_exceeded"\n  }\n}\n'
    says(proxy, "first", Answer(pieces=[pretty]))
    status, raw = await proxy.ask(stream=True)
    assert (status, error_of(raw)["code"]) == (400, "context_length_exceeded")


async def test_a_whole_answer_is_taken_though_its_connection_stays_open(proxy: Served) -> None:
    whole = said("hello").pieces[0]
    assert isinstance(whole, bytes)
    for rest in (asyncio.Event(), STALLED):
        says(proxy, "first", Answer(pieces=[whole[:20], whole[20:], rest]))
        status, _ = await asyncio.wait_for(proxy.ask(), 30)
        assert status == 200
    assert proxy.results() == [("first", "ok"), ("first", "ok")]


# --- dialects -----------------------------------------------------------------------------------

NO_MAX_TOKENS = {"error": {
    "message": "Unsupported parameter: 'max_tokens' is not supported with this model. "
               "Use 'max_completion_tokens' instead.",
    "type": "invalid_request_error", "param": "max_tokens", "code": "unsupported_parameter",
}}  # fmt: skip
NO_OPTIONS = {"detail": [{"type": "extra_forbidden", "loc": ["body", "stream_options"],
                          "msg": "Extra inputs are not permitted", "input": {"include_usage": True}}]}  # fmt: skip


def sent(proxy: Served, call: int) -> dict[str, Any]:
    """Return the parameters we may have added to a call."""
    asked = proxy.providers.calls[call][1]
    return {k: v for k, v in asked.items() if k.startswith("max_") or k == "stream_options"}


@pytest.mark.parametrize("asked", [{}, {"max_tokens": 50}])
async def test_the_name_of_the_longest_answer_is_learnt_from_a_refusal(
    proxy: Served, asked: dict[str, Any]
) -> None:
    says(proxy, "first", body_of(400, NO_MAX_TOKENS))
    most = asked.get("max_tokens", 100)
    assert (await proxy.ask(**asked))[0] == 200
    assert (await proxy.ask(**asked))[0] == 200
    assert proxy.providers.called == ["first"] * 3
    assert [sent(proxy, n) for n in range(3)] == [
        {"max_tokens": most}, {"max_completion_tokens": most}, {"max_completion_tokens": most},
    ]  # fmt: skip
    assert proxy.results() == [("first", "parameter"), ("first", "ok"), ("first", "ok")]
    assert list(proxy.proxy.ladder.dialects.values()) == [Dialect(limit="max_completion_tokens")]
    assert proxy.day.tokens == 220


async def test_the_name_is_learnt_the_other_way_round_too(proxy: Served) -> None:
    says(proxy, "first", body_of(422, {"message": "max_completion_tokens: unknown field"}))
    assert (await proxy.ask(max_completion_tokens=50))[0] == 200
    assert [sent(proxy, n) for n in range(2)] == [
        {"max_completion_tokens": 50}, {"max_tokens": 50},
    ]  # fmt: skip


@pytest.mark.parametrize("status", [400, 422])
@pytest.mark.parametrize("words", [
    NO_OPTIONS, {"error": {"message": "Unrecognized request argument supplied: stream_options"}},
    {"error": "include_usage is not known here"},
])  # fmt: skip
async def test_a_provider_that_takes_no_stream_options_is_asked_without_them(
    proxy: Served, status: int, words: Any
) -> None:
    says(proxy, "first", body_of(status, words), said(stream=True, usage=None))
    assert (await proxy.ask(stream=True))[0] == 200
    assert [sent(proxy, n) for n in range(2)] == [
        {"max_tokens": 100, "stream_options": {"include_usage": True}}, {"max_tokens": 100},
    ]  # fmt: skip
    assert proxy.result()["tokens"] == "estimated"
    await proxy.ask(stream=True)
    assert sent(proxy, 2) == {"max_tokens": 100}


async def test_one_refusal_after_the_other_is_learnt(proxy: Served) -> None:
    says(proxy, "first", body_of(422, NO_OPTIONS), body_of(400, NO_MAX_TOKENS))
    assert (await proxy.ask(stream=True))[0] == 200
    assert proxy.providers.called == ["first"] * 3
    assert sent(proxy, 2) == {"max_completion_tokens": 100}


async def test_a_refusal_of_our_parameter_inside_an_answer_is_learnt_too(proxy: Served) -> None:
    line = b"data: " + msgspec.json.encode(NO_MAX_TOKENS) + b"\n\n"
    says(proxy, "first", Answer(pieces=[line, DONE]))
    assert (await proxy.ask(stream=True))[0] == 200
    assert sent(proxy, 1) == {
        "max_completion_tokens": 100, "stream_options": {"include_usage": True},
    }  # fmt: skip


async def test_who_takes_neither_name_is_asked_without_a_limit(proxy: Served) -> None:
    other = {"error": {"message": "Unknown parameter: 'max_completion_tokens'", "code": 400}}
    says(proxy, "first", body_of(400, NO_MAX_TOKENS), body_of(400, other))
    assert (await proxy.ask())[0] == 200
    assert sent(proxy, 2) == {}


async def test_a_parameter_of_ours_that_is_always_refused_falls_to_the_next_rung(
    proxy: Served,
) -> None:
    always = {"error": {"message": "bad value for max_tokens", "param": "max_tokens"}}
    says(proxy, "first", *(body_of(400, always) for _ in range(9)))
    assert (await proxy.ask())[0] == 200
    assert proxy.results()[-1] == ("second", "ok")
    assert 1 <= proxy.providers.called.count("first") <= 5


async def test_a_limit_the_caller_named_wrongly_is_the_callers_to_hear(proxy: Served) -> None:
    always = {"error": {"message": "bad value for max_tokens", "param": "max_tokens", "code": "x"}}
    says(proxy, "first", *(body_of(400, always) for _ in range(9)))
    status, raw = await proxy.ask(max_tokens=50)
    assert (status, error_of(raw)["param"]) == (400, "max_tokens")


async def test_what_the_caller_asked_wrongly_is_not_asked_again(proxy: Served) -> None:
    wrong = {"error": {"message": "temperature: unsupported", "code": "unsupported_value"}}
    says(proxy, "first", body_of(400, wrong))
    status, raw = await proxy.ask(temperature=9)
    assert (status, error_of(raw)["code"]) == (400, "unsupported_value")
    assert proxy.providers.called == ["first"]


@pytest.mark.parametrize(("status", "message", "most"), [
    (413, "Request too large for model on tokens per minute (TPM): Limit 6000, Requested 8900", 5292),
    (429, "Request too large on tokens per min (TPM): Limit 6000, Requested 9000.", 5192),
    (400, ("This model's maximum context length is 9000 tokens. However, you requested 9500 tokens "
          "(1308 in the messages, 8192 in the completion)."), 7692),
    (400, "max_tokens is too large: 8192. This model supports at most 4096 completion tokens", 4096),
    (400, "max_tokens: 8192 > 4096, which is the maximum allowed number of output tokens", 4096),
    (422, "max_tokens must be less than or equal to 2048", 2048),
    (400, "Invalid max_tokens value, the valid range of max_tokens is [1, 4096]", 4096),
    (413, "too large", 2048),
])  # fmt: skip
async def test_an_answer_that_may_not_be_so_long_is_asked_for_shorter(
    tmp_path: Path, status: int, message: str, most: int
) -> None:
    async with served(tmp_path, max_tokens=8192) as proxy:
        proxy.grant()
        says(proxy, "first", body_of(status, {"error": {"message": message}}))
        assert (await proxy.ask())[0] == 200
        assert proxy.providers.called == ["first", "first"]
        assert sent(proxy, 1) == {"max_tokens": most}


@pytest.mark.parametrize("words", [{"error": {"message": "entity too large"}}, "<html>413</html>"])
async def test_a_request_that_is_too_large_for_one_rung_is_tried_on_the_next(
    tmp_path: Path, words: Any
) -> None:
    async with served(tmp_path, max_tokens=8192, rungs=(rung("a"), rung("b")), last="") as proxy:
        proxy.grant()
        says(proxy, "a", *(body_of(413, words) for _ in range(9)))
        assert (await proxy.ask())[0] == 200
        assert proxy.results()[-1] == ("b", "ok")
        says(proxy, "a", *(body_of(413, words) for _ in range(9)))
        says(proxy, "b", *(body_of(413, words) for _ in range(9)))
        status, _ = await proxy.ask()
        assert status == 413


# --- waits, quotas, sizes -----------------------------------------------------------------------

MINUTE = {"error": {
    "code": 429, "status": "RESOURCE_EXHAUSTED",
    "message": "You exceeded your current quota, please check your plan and billing details.",
    "details": [
        {"@type": "QuotaFailure", "violations": [{"quotaId": "GenerateRequestsPerMinutePerProject"}]},
        {"@type": "Help", "links": [{"url": "https://example.org/billing"}]},
        {"@type": "RetryInfo", "retryDelay": "38s"},
    ],
}}  # fmt: skip


@pytest.mark.parametrize(("answer", "trouble", "for_s"), [
    (body_of(429, MINUTE), Trouble.OVERLOAD, 38),
    (body_of(429, [MINUTE]), Trouble.OVERLOAD, 38),
    (refusal(429, "Rate limit reached on tokens per minute (TPM). Please try again in 38s. "
                  "Upgrade at https://console.example.org/settings/billing"), Trouble.OVERLOAD, 38),
    (refusal(429, "requests: slow down; see example.org/billing/limits"), Trouble.OVERLOAD, 5),
    (refusal(429, "quota of tokens per minute; retry in 1m30s"), Trouble.OVERLOAD, 90),
    (refusal(429, "You exceeded your current quota", Retry_After="20"), Trouble.OVERLOAD, 20),
    (body_of(429, {"error": {"code": "insufficient_quota", "message": "no"}}), Trouble.QUOTA, 300),
    (refusal(429, "quota of requests per day used up, try again in 7h12m"), Trouble.QUOTA, 25_920),
    (body_of(429, {"error": {"message": "no more", "retry_after_ms": 2500}}), Trouble.OVERLOAD, 2.5),
    (body_of(503, {"error": {"message": "busy", "retry_after": 12}}), Trouble.OVERLOAD, 12),
    (body_of(200, {"error": {"message": "busy, try again in 9 seconds", "code": 429}}), Trouble.OVERLOAD, 9),
])  # fmt: skip
async def test_a_wait_is_read_from_header_or_body_and_a_minutes_limit_is_no_quota(
    proxy: Served, answer: Answer, trouble: Trouble, for_s: float
) -> None:
    says(proxy, "first", Answer(answer.status, list(answer.pieces), answer.headers))
    assert (await proxy.ask())[0] == 200
    held = next(iter(proxy.proxy.ladder.cooling.values()))
    assert held.trouble is trouble
    assert held.until_s - proxy.clock.boot_s() == pytest.approx(for_s)


async def test_the_wait_is_handed_on_where_no_rung_answers(tmp_path: Path) -> None:
    async with served(tmp_path, rungs=(rung("first"),), last="") as proxy:
        proxy.grant()
        says(proxy, "first", body_of(429, MINUTE))
        async with proxy.open() as response:
            assert (response.status, response.headers["Retry-After"]) == (503, "38")
        says(proxy, "first", refusal(500))
        proxy.clock.advance(100)
        async with proxy.open() as response:
            assert response.status == 503
            assert "Retry-After" not in response.headers


@pytest.mark.parametrize("error", [
    {"message": "no", "code": "context_length_exceeded"},
    {"message": "no", "type": "exceed_context_size_error"},
    {"message": "x " * 400 + "this model's maximum context length is 8192 tokens"},
    {"message": "prompt is too long: 9000 tokens > 8192"},
    {"message": "Please reduce the length of the messages", "code": "string_above_max_length"},
])  # fmt: skip
@pytest.mark.parametrize(
    ("status", "inside"), [(400, False), (413, False), (422, False), (200, True)]
)
async def test_a_prompt_that_is_too_long_says_so_in_code_and_words(
    proxy: Served, error: dict[str, Any], status: int, inside: bool
) -> None:
    payload = {"error": {**error, "code": error.get("code", 400 if inside else None)}}
    says(proxy, "first", body_of(status, payload))
    answered, raw = await proxy.ask()
    assert (answered, proxy.providers.called) == (400 if inside else status, ["first"])
    found = error_of(raw)
    assert found["code"] in {"context_length_exceeded", "string_above_max_length"}
    assert "context length" in found["message"]
    assert len(found["message"]) < 700
    assert proxy.results() == [("first", "overflow")]


async def test_known_words_of_a_refusal_reach_the_caller_and_keys_do_not(proxy: Served) -> None:
    key = "sk-abcdefghijklmnop"
    message = f"temperature: see unsupported_parameter, invalid_request_error. {key} {'k' * 40}"
    payload = {"message": message, "type": "invalid_request_error", "code": "unsupported_value",
            "param": "reasoning_effort"}  # fmt: skip
    says(proxy, "first", body_of(400, {"error": payload}))
    _, raw = await proxy.ask(temperature=9)
    found = error_of(raw)
    assert (found["type"], found["code"], found["param"]) == (
        "invalid_request_error", "unsupported_value", "reasoning_effort",
    )  # fmt: skip
    assert "see unsupported_parameter, invalid_request_error." in found["message"]
    assert key not in found["message"]
    assert "kkkk" not in found["message"]


@pytest.mark.parametrize("name", ["code", "type", "param"])
async def test_a_key_that_stands_in_a_code_reaches_nobody(proxy: Served, name: str) -> None:
    for key in ("sk-abcdefghijkl", "A" * 40, "gsk-0123456789"):
        says(proxy, "first", body_of(400, {"error": {"message": "no", name: key}}))
        _, raw = await proxy.ask()
        assert key.encode() not in raw


# --- use and price ------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [True, False])
async def test_reasoning_beside_the_completion_is_paid(proxy: Served, stream: bool) -> None:
    payload = {"prompt_tokens": 10_000, "completion_tokens": 1_500, "total_tokens": 14_300,
            "completion_tokens_details": {"reasoning_tokens": 2_800}}  # fmt: skip
    says(proxy, "first", said(stream=stream, usage=payload))
    await proxy.ask(stream=stream)
    found = proxy.result()
    assert (found["tokens_in"], found["tokens_out"], found["tokens"]) == (10_000, 4_300, "told")
    assert found["cost_usd"] == pytest.approx((10_000 + 2 * 4_300) / 1e6)


async def test_cached_input_has_its_own_price(tmp_path: Path) -> None:
    payload = {"prompt_tokens": 1000, "completion_tokens": 10, "total_tokens": 1010,
            "prompt_tokens_details": {"cached_tokens": 800}}  # fmt: skip
    for price, cost in ((0.25, 200 + 800 * 0.25 + 20), (None, 1020), (0.0, 220)):
        async with served(tmp_path, rungs=(rung("first", cached_input_usd=price),)) as proxy:
            proxy.grant()
            says(proxy, "first", said(usage=payload))
            await proxy.ask()
            assert proxy.result()["cost_usd"] == pytest.approx(cost / 1e6)
            assert proxy.result()["tokens_cached"] == 800


async def test_a_short_answer_that_tells_its_use_is_not_estimated(proxy: Served) -> None:
    payload = {"prompt_tokens": 20, "completion_tokens": 4, "total_tokens": 24}
    says(proxy, "first", said("four", usage=payload))
    await proxy.ask()
    assert (proxy.result()["tokens_out"], proxy.result()["tokens"]) == (4, "told")


@pytest.mark.parametrize("stream", [True, False])
async def test_a_refusal_inside_an_answer_costs_what_one_by_status_costs(
    proxy: Served, stream: bool
) -> None:
    raw = b'{"error":{"message":"no such tool","code":400}}'
    says(proxy, "first", Answer(pieces=[b"data: " + raw + b"\n\n" if stream else raw]))
    assert (await proxy.ask(stream=stream))[0] == 400
    assert (proxy.result()["result"], proxy.day.tokens) == ("bad_request", 0)


async def test_a_refusal_that_tells_a_use_is_paid(proxy: Served) -> None:
    says(proxy, "first", body_of(200, {"error": {"message": "no", "code": 400}, "usage": USAGE}))
    assert (await proxy.ask())[0] == 400
    assert proxy.day.tokens >= 110


@pytest.mark.parametrize("pieces", [[ROLE], [ROLE, DONE], [chunk("half")]])
async def test_an_answer_that_broke_off_may_have_cost_as_much_as_it_was_allowed(
    tmp_path: Path, pieces: list[bytes]
) -> None:
    async with served(tmp_path, rungs=(rung("first"),), last="") as proxy:
        proxy.grant()
        says(proxy, "first", Answer(pieces=list(pieces)))
        with contextlib.suppress(aiohttp.ClientError):
            await proxy.ask(stream=True)
        assert (proxy.result()["tokens_out"], proxy.result()["tokens"]) == (100, "estimated")


async def test_what_failed_attempts_may_have_cost_counts_before_the_next_one(
    tmp_path: Path,
) -> None:
    async with served(tmp_path, tokens_per_session=190) as proxy:
        grant = proxy.grant()
        says(proxy, "first", Answer(pieces=[ROLE, DONE]))
        status, raw = await proxy.ask(stream=True)
        assert (status, error_of(raw)["code"]) == (402, "spend_cap")
        assert proxy.providers.called == ["first"]
        assert grant.spend.tokens <= 190


@pytest.mark.parametrize("body", [
    {"seed": 2**70}, {"stream": "no"}, {"stream": 1}, {"messages": 5}, {"max_tokens": True},
    {"max_tokens": "many"}, {"model": None}, {"tools": {"x": [[[]]]}}, {"max_completion_tokens": -1},
])  # fmt: skip
async def test_no_body_of_an_agent_makes_the_proxy_fail(
    proxy: Served, body: dict[str, Any]
) -> None:
    status, _ = await proxy.ask(**body)
    assert status in {200, 400}
    assert (await proxy.ask())[0] == 200
