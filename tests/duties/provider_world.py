"""A world of providers, each with a behaviour of its own and a bill that is kept apart from the product.

    python -m tests.duties.provider_world --seeds 50    plays every behaviour with so many seeds

The bill is what the provider generated and stored, at its prices. How much of that it tells, and in
which of its fields, is the behaviour. Nothing here uses the product's arithmetic.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import msgspec

from allegro.core.base.errors import EdgeError
from allegro.core.settings import Rung

from .providers import Answer, Piece, Served, rung, served

INPUT_USD, CACHED_USD, OUTPUT_USD = 1.0, 0.1, 5.0
MOST = 400
BROKE = EdgeError("the connection broke", transient=True, kind="unreachable")
DONE = b"data: [DONE]\n\n"


class Work(NamedTuple):
    """What one call really took, in the provider's own tokens; a word is a token here."""

    prompt: int
    cached: int
    written: int
    words: tuple[str, ...]
    reasoning: int
    asked: dict[str, Any]

    @property
    def text(self) -> str:
        return " ".join(self.words) + " "

    @property
    def completion(self) -> int:
        return len(self.words) + self.reasoning

    def bill_usd(self, *, output: int | None = None, write_price: float = 1.25) -> float:
        plain = self.prompt - self.cached - self.written
        inward = plain * INPUT_USD + self.cached * CACHED_USD
        inward += self.written * INPUT_USD * write_price
        return (inward + (self.completion if output is None else output) * OUTPUT_USD) / 1e6


class Reply(NamedTuple):
    """What a provider sends for a call, and what it bills for it in dollars."""

    answer: Answer
    usd: float


Behave = Callable[[Work, random.Random], Reply]


class Behaviour(NamedTuple):
    """`tells`: all that is billed stands in its answer, in words that have one meaning."""

    name: str
    behave: Behave
    tells: bool


# --- how an answer is put on the wire ---------------------------------------------------------------


def openai(work: Work, **more: Any) -> dict[str, Any]:
    return {"prompt_tokens": work.prompt, "completion_tokens": work.completion,
            "total_tokens": work.prompt + work.completion, **more}  # fmt: skip


def event(value: Any) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def delta(text: str = "", finish: str | None = None, **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}], **more}


def pieces(work: Work, usage: Any = None, finish: str = "stop") -> list[Piece]:
    """Return an answer in the form that was asked for, with its use at the end."""
    if not work.asked.get("stream"):
        message = {"role": "assistant", "content": work.text}
        whole = {"choices": [{"index": 0, "message": message, "finish_reason": finish}]}
        return [json.dumps(whole | ({"usage": usage} if usage else {})).encode()]
    half = len(work.words) // 2
    halves = (" ".join(work.words[:half]) + " ", " ".join(work.words[half:]) + " ")
    sent: list[Piece] = [event(delta(one)) for one in halves]
    sent.append(event(delta(finish=finish)))
    if usage:
        sent.append(event({"choices": [], "usage": usage}))
    return [*sent, DONE]


def reply(work: Work, usage: Any = None, finish: str = "stop") -> Reply:
    return Reply(Answer(pieces=pieces(work, usage, finish)), work.bill_usd())


def no(status: int, message: str, **more: Any) -> Reply:
    raw = json.dumps({"error": {"message": message, **more}}).encode()
    return Reply(Answer(status, [raw]), 0.0)


def only_stream(work: Work, sent: list[Piece]) -> Answer:
    """Return a stream as it is; what was not streamed comes with its use."""
    if not work.asked.get("stream"):
        return Answer(pieces=pieces(work, openai(work)))
    return Answer(pieces=sent)


# --- the behaviours ---------------------------------------------------------------------------------


def plain(work: Work, _: random.Random) -> Reply:
    return reply(work._replace(reasoning=0), openai(work._replace(reasoning=0)))


def reasoning_inside(work: Work, _: random.Random) -> Reply:
    details = {"completion_tokens_details": {"reasoning_tokens": work.reasoning}}
    return reply(work, openai(work, **details))


def reasoning_beside(work: Work, _: random.Random) -> Reply:
    payload = openai(work, completion_tokens=len(work.words))
    return reply(
        work, payload | {"completion_tokens_details": {"reasoning_tokens": work.reasoning}}
    )


def reasoning_beside_untold(work: Work, _: random.Random) -> Reply:
    return reply(work, openai(work, completion_tokens=len(work.words)))


def reasoning_beside_without_a_total(work: Work, _: random.Random) -> Reply:
    payload = openai(work, completion_tokens=len(work.words), total_tokens=None)
    return reply(
        work, payload | {"completion_tokens_details": {"reasoning_tokens": work.reasoning}}
    )


def reasoning_inside_without_a_total(work: Work, _: random.Random) -> Reply:
    payload = openai(work, completion_tokens_details={"reasoning_tokens": work.reasoning})
    del payload["total_tokens"]
    return reply(work, payload)


def reasoning_at_the_top(work: Work, _: random.Random) -> Reply:
    more = work._replace(reasoning=min(len(work.words) + 5, MOST - len(work.words)))
    if more.reasoning <= len(more.words):
        more = more._replace(reasoning=0)
    payload = openai(more, completion_tokens=len(more.words), reasoning_tokens=more.reasoning)
    return reply(more, payload | {"total_tokens": more.prompt + len(more.words)})


def cached(work: Work, _: random.Random) -> Reply:
    part = work._replace(cached=work.prompt // 2)
    return reply(part, openai(part, prompt_tokens_details={"cached_tokens": part.cached}))


def cached_as_hits(work: Work, _: random.Random) -> Reply:
    part = work._replace(cached=work.prompt // 3)
    hits = {"prompt_cache_hit_tokens": part.cached,
            "prompt_cache_miss_tokens": part.prompt - part.cached}  # fmt: skip
    return reply(part, openai(part, **hits))


def _apart(work: Work, **more: int) -> dict[str, Any]:
    fresh = work.prompt - work.cached - work.written
    return {"input_tokens": fresh, "output_tokens": work.completion,
            "cache_read_input_tokens": work.cached,
            "cache_creation_input_tokens": work.written, **more}  # fmt: skip


def cache_beside_the_input(work: Work, _: random.Random) -> Reply:
    part = work._replace(cached=work.prompt // 2)
    return reply(part, _apart(part))


def cache_written(work: Work, _: random.Random) -> Reply:
    part = work._replace(written=work.prompt // 2)
    return reply(part, _apart(part))


def cache_written_for_an_hour(work: Work, _: random.Random) -> Reply:
    part = work._replace(written=work.prompt // 2)
    payload: dict[str, Any] = _apart(part)
    payload["cache_creation"] = {"ephemeral_1h_input_tokens": part.written}
    return Reply(Answer(pieces=pieces(part, payload)), part.bill_usd(write_price=2.0))


def cache_named_twice(work: Work, _: random.Random) -> Reply:
    part = work._replace(cached=work.prompt // 2)
    payload = openai(part, cache_read_input_tokens=part.cached)
    return reply(part, payload | {"prompt_tokens_details": {"cached_tokens": part.cached}})


def total_alone(work: Work, _: random.Random) -> Reply:
    return reply(work, openai(work, completion_tokens=None))


def growing_use(work: Work, _: random.Random) -> Reply:
    half = work._replace(words=work.words[: len(work.words) // 2], reasoning=0)
    sent: list[Piece] = [event(delta(half.text, usage=openai(half)))]
    sent += [event(delta(work.text[len(half.text) :], usage=openai(work)))]
    return Reply(only_stream(work, [*sent, event(delta(finish="stop")), DONE]), work.bill_usd())


def use_that_shrinks(work: Work, _: random.Random) -> Reply:
    nothing = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    body = pieces(work, openai(work))
    sent = [*body[:-1], event({"choices": [], "usage": nothing}), DONE]
    return Reply(only_stream(work, sent), work.bill_usd())


def zeros_before_the_use(work: Work, _: random.Random) -> Reply:
    nothing = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    sent = [event({"choices": [], "usage": nothing}), *pieces(work, openai(work))]
    return Reply(only_stream(work, sent), work.bill_usd())


def use_twice(work: Work, _: random.Random) -> Reply:
    body = pieces(work, openai(work))
    return Reply(only_stream(work, [*body[:-1], *body[-2:]]), work.bill_usd())


def use_at_the_end_of_words(work: Work, _: random.Random) -> Reply:
    sent: list[Piece] = [event(delta(work.text)), event(delta(finish="stop", usage=openai(work)))]
    return Reply(only_stream(work, [*sent, DONE]), work.bill_usd())


def use_of_groq(work: Work, _: random.Random) -> Reply:
    last = event(delta(finish="stop", x_groq={"usage": openai(work)}))
    return Reply(only_stream(work, [event(delta(work.text)), last, DONE]), work.bill_usd())


def use_in_the_choice(work: Work, _: random.Random) -> Reply:
    last = delta(finish="stop")
    last["choices"][0]["usage"] = openai(work)
    return Reply(only_stream(work, [event(delta(work.text)), event(last), DONE]), work.bill_usd())


def use_without_done(work: Work, _: random.Random) -> Reply:
    return Reply(only_stream(work, pieces(work, openai(work))[:-1]), work.bill_usd())


def left_open(work: Work, _: random.Random) -> Reply:
    return Reply(only_stream(work, [*pieces(work, openai(work)), asyncio.Event()]), work.bill_usd())


def in_windows_lines(work: Work, _: random.Random) -> Reply:
    raw = b"".join(p for p in pieces(work, openai(work)) if isinstance(p, bytes))
    raw = raw.replace(b"\n", b"\r\n")
    return Reply(
        only_stream(work, [raw[at : at + 7] for at in range(0, len(raw), 7)]), work.bill_usd()
    )


def alive_first(work: Work, _: random.Random) -> Reply:
    sent: list[Piece] = [b": alive\n\n", event(delta()), *pieces(work, openai(work))]
    return Reply(only_stream(work, sent), work.bill_usd())


def tool_call(work: Work, _: random.Random) -> Reply:
    call = {"index": 0, "id": "c", "function": {"name": "run", "arguments": work.text}}
    piece = {"choices": [{"index": 0, "delta": {"tool_calls": [call]}, "finish_reason": None}]}
    last = event({"choices": [], "usage": openai(work)})
    sent: list[Piece] = [event(piece), event(delta(finish="tool_calls")), last, DONE]
    return Reply(only_stream(work, sent), work.bill_usd())


def renamed_limit(work: Work, dice: random.Random) -> Reply:
    if "max_tokens" in work.asked:
        return no(400, "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens'.",
                  code="unsupported_parameter", param="max_tokens")  # fmt: skip
    return reasoning_inside(work, dice)


def no_stream_options(work: Work, _: random.Random) -> Reply:
    if "stream_options" in work.asked:
        return no(422, "stream_options: extra inputs are not permitted")
    return reply(work, None if work.asked.get("stream") else openai(work))


def minutes_budget(work: Work, dice: random.Random) -> Reply:
    most = work.asked.get("max_tokens", 0)
    if most > 350:
        return no(413, f"Request too large (TPM): Limit 6000, Requested {6000 + most - 350}")
    return plain(work, dice)


def silent_about_use(work: Work, _: random.Random) -> Reply:
    return reply(work)


def silent_and_cut_off(work: Work, _: random.Random) -> Reply:
    bound = work.asked.get("max_tokens") or MOST
    hidden = work._replace(reasoning=max(0, bound - len(work.words)))
    return reply(hidden, finish="length")


def use_before_the_words(work: Work, _: random.Random) -> Reply:
    early = event({"choices": [], "usage": openai(work._replace(words=(), reasoning=1))})
    sent: list[Piece] = [early, *pieces(work)]
    return Reply(only_stream(work, sent), work.bill_usd())


def use_of_zero(work: Work, _: random.Random) -> Reply:
    visible = work._replace(reasoning=0)
    return reply(visible, {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0})


def use_in_words(work: Work, _: random.Random) -> Reply:
    return reply(work, {name: str(count) for name, count in openai(work).items()})


def use_in_fractions(work: Work, _: random.Random) -> Reply:
    return reply(work, {name: float(count) for name, count in openai(work).items()})


def use_after_done(work: Work, _: random.Random) -> Reply:
    sent = [*pieces(work), event({"choices": [], "usage": openai(work)})]
    return Reply(only_stream(work, sent), work.bill_usd())


def breaks_off(work: Work, _: random.Random) -> Reply:
    if not work.asked.get("stream"):
        whole = pieces(work, openai(work))[0]
        assert isinstance(whole, bytes)
        return Reply(Answer(pieces=[whole[: len(whole) // 2], BROKE]), work.bill_usd())
    return Reply(Answer(pieces=[event(delta(work.text)), BROKE]), work.bill_usd())


def ends_without_a_word_of_it(work: Work, _: random.Random) -> Reply:
    sent: list[Piece] = [event(delta(work.text)), event({"choices": [], "usage": openai(work)})]
    return Reply(only_stream(work, sent), work.bill_usd())


def thinks_and_falls_silent(work: Work, _: random.Random) -> Reply:
    hidden = work._replace(words=())
    return Reply(Answer(pieces=[asyncio.Event()]), hidden.bill_usd())


def fails_amid(work: Work, _: random.Random) -> Reply:
    error = event({"error": {"code": 500, "message": "gone"}})
    return Reply(only_stream(work, [event(delta(work.text)), error, DONE]), work.bill_usd())


def ends_with_a_network_error(work: Work, _: random.Random) -> Reply:
    hidden = work._replace(words=())
    if work.asked.get("stream"):
        return Reply(Answer(pieces=[event(delta(finish="network_error")), DONE]), hidden.bill_usd())
    return Reply(Answer(pieces=pieces(hidden, finish="network_error")), hidden.bill_usd())


def says_done_alone(work: Work, _: random.Random) -> Reply:
    return Reply(only_stream(work, [DONE]), work._replace(words=()).bill_usd()
                 if work.asked.get("stream") else work.bill_usd())  # fmt: skip


def no_choice(work: Work, _: random.Random) -> Reply:
    raw = json.dumps({"choices": []}).encode()
    sent: list[Piece] = [event({"choices": []}), DONE] if work.asked.get("stream") else [raw]
    return Reply(Answer(pieces=sent), work._replace(words=()).bill_usd())


def refuses_inside(work: Work, _: random.Random) -> Reply:
    error = {"error": {"code": 400, "message": "no such tool"}}
    raw = event(error) if work.asked.get("stream") else json.dumps(error).encode()
    return Reply(Answer(pieces=[raw]), 0.0)


def fails_by_status(_: Work, dice: random.Random) -> Reply:
    return no(dice.choice([401, 403, 404, 429, 500, 503]), "not now")


def sloppy_json(work: Work, _: random.Random) -> Reply:
    if work.asked.get("stream"):
        return reply(work, openai(work))
    whole = pieces(work, openai(work))[0]
    assert isinstance(whole, bytes)
    return Reply(Answer(pieces=[b"\xef\xbb\xbf" + whole[:-1] + b', "x": NaN}']), work.bill_usd())


BEHAVIOURS: tuple[Behaviour, ...] = (
    *(
        Behaviour(one.__name__, one, tells=True)
        for one in (
            plain, reasoning_inside, reasoning_beside, reasoning_beside_untold, reasoning_at_the_top,
            cached, cached_as_hits, cache_beside_the_input, cache_written,
            cache_written_for_an_hour, cache_named_twice, total_alone, growing_use,
            use_that_shrinks, zeros_before_the_use, use_twice, use_at_the_end_of_words, use_of_groq,
            use_in_the_choice, use_without_done, left_open, in_windows_lines, alive_first,
            tool_call, renamed_limit, minutes_budget, refuses_inside, fails_by_status,
            sloppy_json, reasoning_beside_without_a_total,
        )
    ),
    *(
        Behaviour(one.__name__, one, tells=False)
        for one in (
            reasoning_inside_without_a_total, no_stream_options, silent_about_use,
            silent_and_cut_off, use_before_the_words, use_of_zero, use_in_words, use_in_fractions,
            use_after_done, breaks_off, ends_without_a_word_of_it, thinks_and_falls_silent,
            fails_amid, ends_with_a_network_error, says_done_alone, no_choice,
        )
    ),
)  # fmt: skip


class World:
    """The Providers port: every call is done by one behaviour and billed by it."""

    def __init__(self, dice: random.Random, behave: Behave) -> None:
        self._dice = dice
        self.behave = behave
        self.billed_usd = 0.0

    async def call(self, rung: Rung, body: bytes) -> Answer:
        answer, usd = self.behave(self._work(msgspec.json.decode(body)), self._dice)
        self.billed_usd += usd
        return answer

    async def probe(self, rung: Rung) -> tuple[int, str]:
        return 200, ""

    def _work(self, asked: dict[str, Any]) -> Work:
        dice = self._dice
        bound = asked.get("max_tokens", asked.get("max_completion_tokens", MOST))
        count = dice.randint(1, max(1, min(bound, MOST) // 2))
        words = tuple("w" * dice.randint(3, 9) for _ in range(count))
        prompt = sum(len(str(one.get("content")).split()) for one in asked["messages"]) + 6
        reasoning = dice.randint(0, max(0, min(bound, MOST) - count))
        return Work(prompt, 0, 0, words, reasoning, asked)


def prompt(dice: random.Random) -> list[dict[str, str]]:
    words = " ".join("p" * dice.randint(3, 9) for _ in range(dice.randint(1, 300)))
    return [{"role": "user", "content": words}]


async def one_call(proxy: Served, dice: random.Random, *, stream: bool) -> int:
    """Make a call and read it to its end; return its status, 0 where it broke off."""
    with contextlib.suppress(aiohttp.ClientError):
        return (await proxy.ask(stream=stream, messages=prompt(dice)))[0]
    return 0


LADDER = (rung("paid", input_usd=INPUT_USD, output_usd=OUTPUT_USD, cached_input_usd=CACHED_USD),)
SETTINGS: dict[str, Any] = {"rungs": LADDER, "last": "", "max_tokens": MOST, "first_word_s": 0.2}


async def miscounted(folder: Path, behaviour: Behaviour, seed: int, *, stream: bool) -> str:
    """Play one call of a behaviour; return what is wrong with its count, empty where nothing is."""
    dice = random.Random(f"{behaviour.name}{seed}")
    async with served(folder, **SETTINGS) as proxy:
        proxy.grant()
        world = World(dice, behaviour.behave)
        proxy.proxy.providers = world
        await one_call(proxy, dice, stream=stream)
        await asyncio.sleep(0)
        counted, billed = proxy.day.usd, world.billed_usd
    where = f"{behaviour.name}, seed {seed}, stream {stream}: counted {counted}, billed {billed}"
    if counted < billed - 1e-12:
        return f"too little: {where}"
    return f"too much: {where}" if behaviour.tells and counted > billed * 1.05 + 1e-12 else ""


async def over_the_cap(folder: Path, seed: int, cap_usd: float = 0.02) -> str:
    """Play calls of all behaviours in any order until the cap is reached; say if it was passed."""
    dice = random.Random(seed)
    async with served(folder, **SETTINGS, usd_per_session=cap_usd) as proxy:
        proxy.grant()
        world = World(dice, plain)
        proxy.proxy.providers = world
        for _ in range(200):
            world.behave = dice.choice(BEHAVIOURS).behave
            proxy.proxy.ladder.cooling.clear()
            if await one_call(proxy, dice, stream=dice.random() < 0.5) == 402:
                break
        else:
            return f"seed {seed}: the cap was never reached: {world.billed_usd}"
    worst_usd = (700 * INPUT_USD + MOST * OUTPUT_USD) / 1e6
    if world.billed_usd > cap_usd + worst_usd:
        return f"seed {seed}: billed {world.billed_usd} of {cap_usd}"
    return "" if proxy.day.usd <= cap_usd + worst_usd else f"seed {seed}: counted {proxy.day.usd}"


async def _all(seeds: int) -> int:
    wrong, played = [], 0
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(seeds):
            for behaviour in BEHAVIOURS:
                for stream in (True, False):
                    wrong.append(await miscounted(Path(folder), behaviour, seed, stream=stream))
                    played += 1
            wrong.append(await over_the_cap(Path(folder), seed))
    found = [line for line in wrong if line]
    print("\n".join(found[:50]))
    print(f"{played} calls of {len(BEHAVIOURS)} behaviours, {seeds} caps, {len(found)} wrong")
    return len(found)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.duties.provider_world")
    parser.add_argument("--seeds", type=int, default=20)
    sys.exit(1 if asyncio.run(_all(parser.parse_args().seeds)) else 0)
