"""Telegram's own ways: limits, conflicts, what is no command, and the secret in every address."""

from __future__ import annotations

import asyncio
import time
import traceback

import pytest

from allegro.core.channels import AnotherReader, ChannelError, Message, Proof
from allegro.core.chat.received import Command, Content, Ignored, Sender, Tap
from allegro.core.chat.texts import Foreign
from allegro.testing.telegram.world import TOKEN

from .conftest import OnTelegram


@pytest.mark.parametrize("over", [0, 1])
async def test_a_text_of_the_exact_limit_is_one_message_and_longer_goes_whole_as_a_document(
    telegram: OnTelegram, over: int
) -> None:
    room = 4096 - len("Report\n")
    await telegram.chat.send(
        Message("Report", ("\U0001f600" * (room // 2) + "&" * (room % 2 + over),))
    )
    (sent,) = telegram.world.sent()
    assert ("document" in sent) == bool(over)
    if over:
        whole = next(iter(telegram.world.documents.values())).decode()
        assert whole.count("\U0001f600") == room // 2


async def test_a_second_reader_is_named_and_nothing_is_lost(telegram: OnTelegram) -> None:
    telegram.server.dead_reader(0.5)
    with pytest.raises(AnotherReader) as caught:
        await telegram.chat.receive()
    assert not caught.value.permanent
    telegram.says("/stop")
    await asyncio.sleep(0.6)
    began = time.monotonic()
    (update,) = (await telegram.chat.receive()).updates
    assert isinstance(update.content, Command)
    assert time.monotonic() - began < 1


async def test_a_later_poll_ends_the_one_that_waits(telegram: OnTelegram) -> None:
    first = asyncio.create_task(telegram.chat.receive())
    await asyncio.sleep(0.3)
    assert (await telegram.chat.receive()).updates == ()
    with pytest.raises(AnotherReader):
        await first


async def test_a_webhook_is_named_and_removed_without_losing_what_waits(
    telegram: OnTelegram,
) -> None:
    telegram.says("/stop")
    telegram.world.webhook = "https://example.org/hook"
    for call in (telegram.chat.receive, telegram.chat.waiting):
        with pytest.raises(ChannelError) as caught:
            await call()
        assert caught.value.kind == "webhook"
    await telegram.chat.prepare({"stop": "freeze everything"})
    assert len((await telegram.chat.receive()).updates) == 1


async def test_a_wish_to_be_left_alone_is_obeyed_and_reading_goes_on(telegram: OnTelegram) -> None:
    telegram.server.fail("status", method="sendMessage", status=429, retry_after=30)
    for _ in range(2):
        with pytest.raises(ChannelError) as caught:
            await telegram.chat.send(Message("x", ()))
        assert 29 < (caught.value.retry_after_s or 0) <= 30
        assert not caught.value.sent
    assert telegram.server.calls.count("sendmessage") == 1
    telegram.says("/stop")
    assert len((await telegram.chat.receive()).updates) == 1


async def test_what_nobody_wrote_anew_under_his_own_name_is_no_command(
    telegram: OnTelegram,
) -> None:
    world = telegram.world
    world.allowed = ["message", "callback_query", "edited_message", "channel_post"]
    sent = world.says(77, "hello")
    assert sent is not None
    world.edits(sent, "/stop")
    world.forwards(77, "/stop")
    world.says_anonymously(-100, "/stop")
    world.posts(-200, "/stop")
    world.says(77, "/stop", via_bot=world.bot())
    world.says(77, "/stop@other_bot")
    found = [one.content for one in (await telegram.chat.receive()).updates]
    assert all(isinstance(one, Ignored) for one in found)
    assert [one.why for one in found if isinstance(one, Ignored)] == [
        "no command", "edited", "forwarded", "anonymous", "channel post", "by a bot",
        "for another bot",
    ]  # fmt: skip


async def test_a_press_too_old_to_answer_is_no_error(telegram: OnTelegram) -> None:
    await telegram.chat.answer(Tap("nobody's", Sender(77, 77), 1, ""), "late")
    assert telegram.answers() == []


@pytest.mark.parametrize(
    ("fault", "kind", "permanent"),
    [
        ({"kind": "status", "status": 400}, "refused", True),
        ({"kind": "status", "status": 401}, "token", True),
        ({"kind": "status", "status": 403}, "forbidden", True),
        ({"kind": "status", "status": 500}, "server", False),
        ({"kind": "garbage"}, "unreadable", False),
        ({"kind": "hang_up"}, "unreachable", False),
    ],
)
async def test_each_trouble_has_its_kind_and_none_shows_the_token(
    telegram: OnTelegram, fault: dict[str, object], kind: str, permanent: bool
) -> None:
    telegram.server.fail(**fault)  # type: ignore[arg-type]  # the rows above
    with pytest.raises(ChannelError) as caught:
        await telegram.chat.send(Message("x", ()))
    assert (caught.value.kind, caught.value.permanent) == (kind, permanent)
    assert TOKEN not in "".join(traceback.format_exception(caught.value))


async def test_a_connection_that_fails_puts_no_address_into_a_traceback(
    telegram: OnTelegram,
) -> None:
    telegram.server.fail("hang_up")
    with pytest.raises(ChannelError) as caught:
        await telegram.chat.receive()
    assert caught.value.__suppress_context__
    assert TOKEN not in "".join(traceback.format_exception(caught.value))


async def test_a_flood_of_strangers_does_not_keep_a_stop_from_being_read(
    telegram: OnTelegram,
) -> None:
    quoted = {"text": "\u0001" * 8_000}
    for _ in range(120):
        telegram.world.says(666, "\u0001" * 4_000, reply_to_message=quoted)
    telegram.says("/stop")
    found: list[Content] = []
    kinds: set[str] = set()
    confirm = None
    for _ in range(200):
        try:
            batch = await telegram.chat.receive(confirm)
        except ChannelError as error:
            kinds.add(error.kind)
            continue
        found += [one.content for one in batch.updates]
        confirm = batch.confirm
        if isinstance(found[-1], Command):
            break
    assert kinds == {"unreadable"}
    assert len(found) == 121
    assert isinstance(found[-1], Command)


@pytest.mark.parametrize("message", ["", "77", "77:", "77:x", "77:-1", "77:" + "9" * 5_000])
async def test_a_proof_that_names_no_message_is_refused(telegram: OnTelegram, message: str) -> None:
    with pytest.raises(ChannelError) as caught:
        await telegram.chat.edit(Proof("telegram", message, 0.0), Message("x", ()))
    assert caught.value.permanent


async def test_foreign_words_are_escaped_and_stand_in_a_code_span(telegram: OnTelegram) -> None:
    await telegram.chat.send(Message("x", (Foreign("</code><b>@timmy /stop\n\x1b[2J\u202e"),)))
    (text,) = telegram.texts()
    assert text == "x\n</code><b>@timmy /stop⟨U+000A⟩⟨U+001B⟩[2J⟨U+202E⟩"
