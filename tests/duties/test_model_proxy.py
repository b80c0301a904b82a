"""The model proxy: goes down its ladder, records, meters, caps; holds keys back; fails closed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from allegro.adapters.providers.openai import HttpProviders
from allegro.core.base.errors import ConfigError, EdgeError
from allegro.core.models.ladder import Spend, Trouble, within_caps
from allegro.core.settings import ModelSettings
from allegro.lane.agent.build import DaySpend, read_day

from .house import until
from .providers import (
    AWAY,
    DONE,
    KEY,
    LADDER,
    LIVES_S,
    STALLED,
    TOKEN,
    Answer,
    Piece,
    Served,
    chunk,
    refusal,
    rung,
    said,
    served,
)

BROKE = EdgeError("the connection broke", transient=True, kind="unreachable")


@pytest.fixture
async def proxy(tmp_path: Path) -> AsyncIterator[Served]:
    async with served(tmp_path) as made:
        made.grant()
        yield made


def fail(proxy: Served, provider: str, *answers: Answer | EdgeError) -> None:
    proxy.providers.answers[provider].extend(answers)


def cooling(proxy: Served, provider: str) -> tuple[Trouble, float]:
    """Return why a provider's rung is passed over, and for how long from now."""
    found = proxy.proxy.ladder.cooling
    held = next(cooling for key, cooling in found.items() if key[0] == provider)
    return held.trouble, held.until_s - proxy.clock.boot_s()


def code_of(raw: bytes) -> str:
    return str(msgspec.json.decode(raw)["error"]["code"])


# --- the ladder --------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
async def test_the_first_rung_answers_and_its_answer_comes_through_as_it_is(
    proxy: Served, stream: bool
) -> None:
    status, raw = await proxy.ask(stream=stream)
    assert (status, proxy.providers.called) == (200, ["first"])
    whole = b"".join(p for p in said(stream=stream).pieces if isinstance(p, bytes))
    assert raw == whole if stream else msgspec.json.decode(raw) == msgspec.json.decode(whole)
    assert proxy.results() == [("first", "ok")]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("answer", "trouble", "told_s"),
    [
        (lambda: refusal(401), Trouble.DEAD_KEY, None),
        (lambda: refusal(402), Trouble.QUOTA, None),
        (lambda: refusal(403), Trouble.UNKNOWN_MODEL, None),
        (lambda: refusal(404), Trouble.UNKNOWN_MODEL, None),
        (lambda: refusal(429), Trouble.OVERLOAD, None),
        (lambda: refusal(429, Retry_After="40"), Trouble.OVERLOAD, 40),
        (lambda: refusal(429, "out of credits", Retry_After="7200"), Trouble.QUOTA, 7200),
        (lambda: refusal(500), Trouble.BROKEN, None),
        (lambda: refusal(503, Retry_After="9"), Trouble.OVERLOAD, 9),
        (lambda: AWAY, Trouble.UNREACHABLE, None),
        (lambda: STALLED, Trouble.STALLED, None),
        (lambda: Answer(pieces=[STALLED]), Trouble.STALLED, None),
        (lambda: Answer(pieces=[b"<html>it works</html>"]), Trouble.BROKEN, None),
        (lambda: Answer(pieces=[]), Trouble.BROKEN, None),
        (lambda: Answer(pieces=[BROKE]), Trouble.BROKEN, None),
    ],
)
async def test_each_refusal_passes_its_rung_over_for_its_own_time_and_the_next_answers(
    proxy: Served, answer: Any, trouble: Trouble, told_s: float | None, stream: bool
) -> None:
    given = answer()
    fail(proxy, "first", given)
    status, _ = await proxy.ask(stream=stream)
    assert (status, proxy.providers.called) == (200, ["first", "second"])
    held, for_s = cooling(proxy, "first")
    assert (held, for_s) == (trouble, told_s or for_s)
    assert proxy.results() == [("first", trouble.value), ("second", "ok")]
    assert isinstance(given, EdgeError) or given.closed

    proxy.clock.advance(for_s - 0.5)
    await proxy.ask(stream=stream)
    assert proxy.providers.called == ["first", "second", "second"]
    proxy.clock.advance(1)
    await proxy.ask(stream=stream)
    assert proxy.providers.called[-1] == "first"


async def test_a_403_whose_key_is_dead_for_everything_is_a_dead_key(proxy: Served) -> None:
    proxy.providers.probed["first"] = 403
    fail(proxy, "first", refusal(403))
    await proxy.ask()
    assert cooling(proxy, "first")[0] is Trouble.DEAD_KEY


async def test_a_bad_request_is_told_to_who_made_it_and_no_other_rung_is_tried(
    proxy: Served,
) -> None:
    fail(proxy, "first", refusal(400, "messages: too long"))
    status, raw = await proxy.ask()
    assert (status, proxy.providers.called) == (400, ["first"])
    assert b"messages: too long" in raw
    assert proxy.results() == [("first", "bad_request")]
    await proxy.ask()
    assert proxy.providers.called == ["first", "first"]


async def test_after_every_own_rung_the_last_one_at_home_answers_and_the_record_says_so(
    proxy: Served,
) -> None:
    fail(proxy, "first", refusal(401))
    fail(proxy, "second", AWAY)
    assert (await proxy.ask())[0] == 200
    assert proxy.providers.called == ["first", "second", "home"]
    told = proxy.result()
    assert (told["asked"], told["used"], told["rung"]) == ("m1", "local", 3)
    assert (told["cost_usd"], told["result"]) == (0.0, "ok")


async def test_where_nobody_answers_the_reasons_are_told(proxy: Served) -> None:
    fail(proxy, "first", refusal(401))
    fail(proxy, "second", refusal(500))
    fail(proxy, "home", AWAY)
    status, raw = await proxy.ask()
    assert (status, code_of(raw)) == (503, "no_provider")
    for reason in (b"first: dead_key", b"second: broken", b"home: unreachable"):
        assert reason in raw


@pytest.mark.parametrize("probed", [200, 401, 403, AWAY])
async def test_a_rung_that_was_benched_for_a_dead_key_is_probed_before_it_is_used_again(
    proxy: Served, probed: int | EdgeError
) -> None:
    fail(proxy, "first", refusal(401))
    await proxy.ask()
    assert proxy.providers.probes == []
    proxy.clock.advance(cooling(proxy, "first")[1] + 1)
    proxy.providers.probed["first"] = probed
    await proxy.ask()
    assert proxy.providers.probes == ["first"]
    assert proxy.providers.called[2:] == (["first"] if probed == 200 else ["second"])
    await proxy.ask()
    assert proxy.providers.probes == ["first"]


async def test_what_cures_itself_is_used_again_without_a_probe(proxy: Served) -> None:
    fail(proxy, "first", refusal(500))
    await proxy.ask()
    proxy.clock.advance(cooling(proxy, "first")[1] + 1)
    await proxy.ask()
    assert proxy.providers.called == ["first", "second", "first"]
    assert proxy.providers.probes == []


async def test_a_model_nobody_has_is_not_found_and_no_provider_is_asked(proxy: Served) -> None:
    status, raw = await proxy.ask(model="gpt-next")
    assert (status, code_of(raw)) == (404, "model_not_found")
    assert proxy.providers.calls == []
    assert proxy.records == []


async def test_whatever_known_model_is_named_the_model_of_the_token_answers(proxy: Served) -> None:
    await proxy.ask(model="local")
    assert [(p, b["model"]) for p, b in proxy.providers.calls] == [("first", "m1")]


@pytest.mark.parametrize("asked", [{"max_tokens": 10**6}, {"max_completion_tokens": 10**6}, {}])
async def test_no_answer_may_be_longer_than_configured(
    proxy: Served, asked: dict[str, Any]
) -> None:
    await proxy.ask(stream=True, **asked)
    body = proxy.providers.calls[0][1]
    name = next(iter(asked), "max_tokens")  # a model may know one of the two names alone
    assert {key: body[key] for key in body if key.startswith("max_")} == {name: 100}
    assert body["stream_options"] == {"include_usage": True}


async def test_a_refusal_that_breaks_off_in_its_own_words_is_a_refusal(proxy: Served) -> None:
    fail(proxy, "first", Answer(500, [b"{", BROKE]))
    status, _ = await proxy.ask()
    assert (status, proxy.providers.called) == (200, ["first", "second"])
    assert len(proxy.results()) == 2


async def test_no_garbage_of_a_provider_stops_the_ladder(proxy: Served) -> None:
    fail(proxy, "first", Answer(pieces=[b'{"a": "\xff"}']))
    assert (await proxy.ask())[0] == 200
    assert proxy.results() == [("first", "broken"), ("second", "ok")]


async def test_a_key_file_that_is_gone_passes_its_rung_over(tmp_path: Path) -> None:
    def read_key(name: str) -> str:
        raise ConfigError((f"{name}: cannot read the secret",))

    providers = HttpProviders(ModelSettings(), read_key)
    try:
        with pytest.raises(EdgeError):
            await providers.call(LADDER[0], b"{}")
    finally:
        await providers.close()


# --- half answers ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rest", "result"), [([], "half"), ([STALLED], "stalled"), ([BROKE], "broken")]
)
async def test_half_a_stream_is_broken_off_so_that_it_never_looks_whole(
    proxy: Served, rest: list[Any], result: str
) -> None:
    fail(proxy, "first", Answer(pieces=[chunk("half an ans"), *rest]))
    async with proxy.open(stream=True) as response:
        assert response.status == 200
        with pytest.raises(aiohttp.ClientError):
            await response.read()
    assert proxy.results() == [("first", result)]
    assert proxy.providers.called == ["first"]
    assert proxy.result()["tokens"] == "estimated"
    assert proxy.result()["tokens_out"] > 0


async def test_pieces_come_through_while_the_answer_is_being_written(proxy: Served) -> None:
    more = asyncio.Event()
    rest = [chunk("two", finish="stop"), DONE]
    fail(proxy, "first", Answer(pieces=[chunk("one"), more, *rest]))
    async with proxy.open(stream=True) as response:
        assert await response.content.readany() == chunk("one")
        more.set()
        assert (await response.read()).endswith(DONE)


# --- records -----------------------------------------------------------------------------------


async def test_each_call_is_recorded_before_it_is_made_and_after_it_ended(proxy: Served) -> None:
    held = asyncio.Event()
    fail(proxy, "first", refusal(500))
    fail(proxy, "second", Answer(pieces=[held, *said().pieces]))
    asking = asyncio.ensure_future(proxy.ask())
    await until(lambda: len(proxy.providers.calls) == 2)
    told = [(type_, data["provider"]) for _, type_, data in proxy.records]
    before = [("model.call", "first"), ("model.result", "first"), ("model.call", "second")]
    assert told == before
    held.set()
    await asking
    assert proxy.records[-1][1] == "model.result"
    assert {holder for holder, _, _ in proxy.records} == {"s1"}
    assert [data["call"] for _, _, data in proxy.records] == [1, 1, 2, 2]


async def test_without_room_for_the_record_there_is_no_call(proxy: Served) -> None:
    proxy.record_faults.add("model.call")
    status, raw = await proxy.ask()
    assert (status, code_of(raw)) == (503, "no_record")
    assert proxy.providers.calls == []
    proxy.record_faults.clear()
    assert (await proxy.ask())[0] == 200


async def test_an_answer_whose_record_finds_no_room_is_still_counted(proxy: Served) -> None:
    proxy.record_faults.add("model.result")
    assert (await proxy.ask())[0] == 200
    assert proxy.day.tokens == 110


# --- use and price -----------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
async def test_use_that_is_told_is_counted_at_its_price(proxy: Served, stream: bool) -> None:
    await proxy.ask(stream=stream)
    told = proxy.result()
    assert (told["tokens_in"], told["tokens_out"], told["tokens"]) == (100, 10, "told")
    assert told["cost_usd"] == pytest.approx((100 * 1 + 10 * 2) / 1e6)
    assert proxy.day.usd == pytest.approx(0.00012)
    assert proxy.day.tokens == 110


@pytest.mark.parametrize("stream", [False, True])
async def test_use_nobody_tells_is_estimated(proxy: Served, stream: bool) -> None:
    fail(proxy, "first", said("w" * 300, stream=stream, usage=None))
    await proxy.ask(stream=stream)
    told = proxy.result()
    assert told["tokens"] == "estimated"
    assert told["tokens_out"] >= 100
    assert told["tokens_in"] > 10
    assert proxy.day.tokens == told["tokens_in"] + told["tokens_out"]


async def test_use_that_is_estimated_counts_against_the_dollars_of_a_known_price(
    proxy: Served,
) -> None:
    fail(proxy, "first", said("w" * 300, usage=None))
    await proxy.ask()
    assert proxy.day.usd > 0


async def test_without_a_price_tokens_count_and_the_cost_is_unknown(tmp_path: Path) -> None:
    async with served(tmp_path, rungs=(rung("first", input_usd=None),), last="") as proxy:
        grant = proxy.grant()
        await proxy.ask()
        assert proxy.result()["cost_usd"] == "unknown"
        assert proxy.day == Spend(0.0, 110, 110)
        assert grant.spend == proxy.day


async def test_a_refused_call_uses_nothing(proxy: Served) -> None:
    fail(proxy, "first", refusal(401))
    fail(proxy, "second", AWAY)
    await proxy.ask()
    assert proxy.day.tokens == 110
    assert [d["tokens_in"] for _, t, d in proxy.records if t == "model.result"] == [0, 0, 100]


async def test_a_reader_that_hangs_up_before_the_first_word_pays_what_it_may_have_cost(
    proxy: Served,
) -> None:
    held = asyncio.Event()
    fail(proxy, "first", Answer(pieces=[held]))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(proxy.ask(messages=[{"role": "user", "content": "x" * 3000}]), 0.2)
    await until(lambda: any(t == "model.result" for _, t, _ in proxy.records))
    told = proxy.result()
    assert (told["result"], told["tokens"]) == ("reader_gone", "estimated")
    assert told["tokens_in"] >= 1000
    assert told["tokens_out"] == 100


@pytest.mark.parametrize(
    "answer", [STALLED, BROKE, Answer(pieces=[STALLED]), Answer(pieces=[b'{"choices":[{"mess'])]
)
async def test_a_call_that_left_without_a_clear_refusal_is_not_free(
    proxy: Served, answer: Answer | EdgeError
) -> None:
    fail(proxy, "first", answer)
    assert (await proxy.ask())[0] == 200
    first = next(d for _, t, d in proxy.records if t == "model.result")
    assert first["tokens_in"] > 0
    assert first["tokens"] == "estimated"


@pytest.mark.parametrize("choices", [b"5", b"true", b'"no"', b"{}"])
async def test_a_line_that_is_not_as_it_should_be_ends_as_any_other_call(
    proxy: Served, choices: bytes
) -> None:
    odd = b'data: {"choices": ' + choices + b"}\n\n"
    fail(proxy, "first", Answer(pieces=[chunk("hello"), odd, chunk(finish="stop"), DONE]))
    assert (await proxy.ask(stream=True))[0] == 200
    assert proxy.result()["result"] == "ok"


@pytest.mark.parametrize("stream", [True, False])
async def test_an_error_inside_an_answer_that_says_ok_is_a_refusal(
    proxy: Served, stream: bool
) -> None:
    error = b'{"error": {"message": "quota exceeded", "code": 429}}'
    line = b"data: " + error + b"\n\n"
    fail(proxy, "first", Answer(pieces=[line, DONE] if stream else [error]))
    status, raw = await proxy.ask(stream=stream)
    assert (status, proxy.providers.called) == (200, ["first", "second"])
    assert b"quota" not in raw
    assert [d["result"] for _, t, d in proxy.records if t == "model.result"] == ["quota", "ok"]


async def test_an_error_amid_a_stream_breaks_it_off(proxy: Served) -> None:
    error = b'data: {"error": {"message": "gone", "code": 500}}\n\n'
    fail(proxy, "first", Answer(pieces=[chunk("half an an"), error, DONE]))
    with pytest.raises(aiohttp.ClientError):
        await proxy.ask(stream=True)
    assert proxy.result()["result"] == "broken"
    assert proxy.day.tokens > 0


@pytest.mark.parametrize("told", [{"prompt_tokens": 0, "completion_tokens": 0},
                                  {"prompt_tokens": 10, "completion_tokens": 1}])  # fmt: skip
@pytest.mark.parametrize("finished", [True, False])
async def test_a_use_that_is_told_too_early_is_not_the_whole(
    proxy: Served, told: dict[str, int], finished: bool
) -> None:
    early = chunk(usage=told)
    text: list[Piece] = [chunk("word " * 2000) for _ in range(3)]
    last: list[Piece] = [chunk(finish="stop"), DONE] if finished else [BROKE]
    fail(proxy, "first", Answer(pieces=[early, *text, *last]))
    with contextlib.suppress(aiohttp.ClientError):
        await proxy.ask(stream=True)
    assert proxy.result()["tokens_out"] >= 10_000
    assert proxy.result()["tokens"] == "estimated"


async def test_a_reader_that_hangs_up_after_the_last_word_had_its_answer(proxy: Served) -> None:
    held = asyncio.Event()
    fail(proxy, "first", Answer(pieces=[chunk("ok"), chunk(finish="stop"), held]))
    async with proxy.open(stream=True) as response:
        await response.content.readuntil(b'"stop"')
    await until(lambda: any(t == "model.result" for _, t, _ in proxy.records))
    assert proxy.result()["result"] == "ok"


async def test_a_line_without_an_end_does_not_fill_the_memory(proxy: Served) -> None:
    endless: list[Piece] = [b"data: " + b"x" * 65_536, *[b"x" * 1_048_576] * 40]
    fail(proxy, "first", Answer(pieces=endless))
    fail(proxy, "second", Answer(pieces=[chunk("a word"), *endless]))
    with pytest.raises(aiohttp.ClientError):
        await proxy.ask(stream=True)
    assert proxy.results() == [("first", "broken"), ("second", "broken")]


@pytest.mark.parametrize("held", [b"", b"{", b"[]", b'{"day": 5}', b"\xff"])
def test_a_day_whose_sum_cannot_be_read_counts_as_used_up(tmp_path: Path, held: bytes) -> None:
    models, path = ModelSettings(), tmp_path / "spend.json"
    assert read_day(path, models, 0.0) == DaySpend()
    path.write_bytes(held)
    told = read_day(path, models, 0.0)
    assert told.day == "1970-01-01"
    more = Spend(0.0, 1)
    assert within_caps(told.spend, Spend(), more, models, 10**9) is not None


# --- caps --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "caps",
    [
        {"usd_per_day": 0.0001}, {"usd_per_session": 0.0001}, {"tokens_per_day": 100},
        {"tokens_per_session": 100},
    ],
)  # fmt: skip
async def test_a_call_that_could_pass_a_cap_is_refused_before_it_is_made(
    tmp_path: Path, caps: dict[str, float]
) -> None:
    async with served(tmp_path, **caps) as proxy:
        proxy.grant()
        status, raw = await proxy.ask()
        assert (status, code_of(raw)) == (402, "spend_cap")
        assert next(iter(caps)).encode() in raw
        assert proxy.providers.calls == []
        assert [type_ for _, type_, _ in proxy.records] == ["model.refused"]


async def test_the_tokens_of_a_loan_are_a_cap_of_its_own(proxy: Served) -> None:
    proxy.grant("loan", own_tokens=200, holder="loan-1")
    assert (await proxy.ask("loan"))[0] == 200
    status, raw = await proxy.ask("loan")
    assert (status, code_of(raw)) == (402, "spend_cap")
    assert (await proxy.ask())[0] == 200


async def test_what_the_day_used_before_counts(tmp_path: Path) -> None:
    async with served(tmp_path, tokens_per_day=1000) as proxy:
        proxy.grant()
        proxy.day = Spend(0.0, 900)
        assert (await proxy.ask())[0] == 402
        proxy.day = Spend()
        assert (await proxy.ask())[0] == 200


@pytest.mark.parametrize("cap", ["tokens_per_day", "tokens_per_session"])
async def test_a_call_under_way_holds_what_it_may_use_and_gives_back_the_rest(
    tmp_path: Path, cap: str
) -> None:
    async with served(tmp_path, **{cap: 200}) as proxy:
        grant = proxy.grant()
        held = asyncio.Event()
        little = {"prompt_tokens": 1, "completion_tokens": 1}
        fail(proxy, "first", Answer(pieces=[held, *said(usage=little).pieces]))
        asking = asyncio.ensure_future(proxy.ask())
        await until(lambda: len(proxy.providers.calls) == 1)
        assert (await proxy.ask())[0] == 402
        held.set()
        await asking
        assert grant.reserved == Spend()
        assert (await proxy.ask())[0] == 200


async def test_more_answers_than_one_are_not_let_through_under_the_price_of_one(
    proxy: Served,
) -> None:
    await proxy.ask(n=128)
    assert proxy.providers.calls[0][1].get("n", 1) == 1


# --- tokens ------------------------------------------------------------------------------------


@pytest.mark.parametrize("token", ["", "another", TOKEN[:-1], TOKEN + "x"])
async def test_without_its_token_nobody_comes_in(proxy: Served, token: str) -> None:
    status, raw = await proxy.ask(token)
    assert (status, code_of(raw)) == (401, "invalid_api_key")
    async with proxy.http.get("http://lane/v1/models") as response:
        assert response.status == 401
    assert proxy.providers.calls == []


async def test_a_token_of_any_bytes_is_no_token(tmp_path: Path, proxy: Served) -> None:
    reader, writer = await asyncio.open_unix_connection(str(tmp_path / "models"))
    writer.write(b"GET /v1/models HTTP/1.1\r\nHost: lane\r\nAuthorization: Bearer \xff\r\n\r\n")
    first = await reader.readline()
    writer.close()
    assert b"401" in first


async def test_the_models_that_are_told_are_the_tokens_own(proxy: Served) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with proxy.http.get("http://lane/v1/models", headers=headers) as response:
        assert [one["id"] for one in (await response.json())["data"]] == ["m1"]


async def test_a_token_that_ran_out_opens_nothing_and_is_forgotten(proxy: Served) -> None:
    proxy.clock.advance(LIVES_S)
    assert (await proxy.ask())[0] == 401
    proxy.proxy.forget_old()
    assert proxy.proxy.revoke(TOKEN) is None


async def test_a_token_that_is_taken_back_cuts_its_running_calls_and_no_others(
    proxy: Served,
) -> None:
    proxy.grant("other", holder="s2")
    held = asyncio.Event()
    fail(proxy, "first", *(Answer(pieces=[chunk("a"), held, *said(stream=True).pieces])
                           for _ in range(2)))  # fmt: skip
    async with proxy.open(stream=True) as cut, proxy.open("other", stream=True) as other:
        assert proxy.proxy.revoke(TOKEN) is not None
        with pytest.raises(aiohttp.ClientError):
            await cut.read()
        held.set()
        assert (await other.read()).endswith(DONE)
    assert sorted(proxy.results()) == [("first", "ok"), ("first", "revoked")]
    assert (await proxy.ask())[0] == 401
    assert (await proxy.ask("other"))[0] == 200


async def test_holders_and_all_at_once_can_be_taken_back(proxy: Served) -> None:
    proxy.grant("other", holder="s2")
    assert proxy.proxy.revoke_holder("s2")
    assert not proxy.proxy.revoke_holder("s2")
    assert (await proxy.ask("other"))[0] == 401
    assert proxy.proxy.revoke_all() == 1
    assert (await proxy.ask())[0] == 401


async def test_who_hangs_up_before_the_end_has_used_what_came(proxy: Served) -> None:
    grant = proxy.grant()
    fail(proxy, "first", Answer(pieces=[chunk("w" * 9000), asyncio.Event()]))
    async with proxy.open(stream=True) as response:
        await response.content.readexactly(9000)
    await until(lambda: bool(proxy.results()))
    assert grant.spend.tokens >= 3000


async def test_a_call_that_was_cut_with_its_token_counts_for_the_day(proxy: Served) -> None:
    fail(proxy, "first", Answer(pieces=[chunk("w" * 9000), asyncio.Event()]))
    async with proxy.open(stream=True) as response:
        await response.content.readexactly(9000)
        proxy.proxy.revoke(TOKEN)
        with contextlib.suppress(aiohttp.ClientError):
            await response.read()
    await until(lambda: bool(proxy.results()))
    assert proxy.day.tokens >= 3000


# --- canary and keys ---------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
async def test_a_canary_costs_nothing_and_asks_no_provider(proxy: Served, stream: bool) -> None:
    proxy.grant("canary", holder="canary", own_tokens=0, is_canary=True)
    tools = [{"type": "function", "function": {"name": "terminal"}}]
    status, raw = await proxy.ask("canary", stream=stream, tools=tools)
    assert status == 200
    assert b"rm -rf /allegro-canary" in raw
    acted = [{"role": "tool", "content": "denied"}]
    _, raw = await proxy.ask("canary", stream=stream, tools=tools, messages=acted)
    assert b"allegro-canary" not in raw
    assert proxy.providers.calls == []
    assert proxy.records == []
    assert proxy.day == Spend()


async def test_no_key_appears_in_anything_that_is_returned_or_written(proxy: Served) -> None:
    fail(proxy, "first", refusal(401, f"Incorrect API key provided: {KEY}"))
    fail(proxy, "second", Answer(500, [KEY.encode()]))
    fail(proxy, "home", EdgeError(f"no route for {KEY}", transient=True))
    status, raw = await proxy.ask()
    assert status == 503
    assert KEY.encode() not in raw
    assert KEY not in repr(proxy.records)
    assert b".key" not in raw


@pytest.mark.parametrize("raw", [b"", b"[]", b"{", b'"hello"'])
async def test_a_body_that_is_no_object_is_refused(proxy: Served, raw: bytes) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    url = "http://lane/v1/chat/completions"
    async with proxy.http.post(url, data=raw, headers=headers) as response:
        assert response.status == 400
    assert proxy.records == []
