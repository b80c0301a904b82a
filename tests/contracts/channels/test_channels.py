"""What every chat does: proof of what was sent, everything read again until it is confirmed."""

from __future__ import annotations

import pytest

from allegro.core.channels import Button, ChannelError, Message
from allegro.core.chat.received import Command, Tap
from allegro.core.chat.taps import button_data
from allegro.core.chat.texts import Foreign

from .conftest import OWNER, Place

HELLO = Message("Alert", ("The forge is silent: ", Foreign("org/x <b>&")))
BUTTON = button_data("ack", "a1", "ab" * 32)


async def test_a_message_arrives_with_its_words_and_leaves_a_proof(place: Place) -> None:
    proof = await place.chat.send(HELLO)
    assert proof.channel == place.chat.name
    assert proof.message
    assert len(place.texts()) == 1
    assert "org/x <b>&" in place.texts()[0]


async def test_two_messages_have_two_proofs(place: Place) -> None:
    assert (await place.chat.send(HELLO)).message != (await place.chat.send(HELLO)).message


@pytest.mark.parametrize("permanent", [True, False])
async def test_an_error_says_whether_trying_again_can_help(place: Place, permanent: bool) -> None:
    place.refuses(permanent=permanent)
    with pytest.raises(ChannelError) as caught:
        await place.chat.send(HELLO)
    assert caught.value.permanent is permanent
    assert place.texts() == []
    await place.chat.send(HELLO)


async def test_what_is_not_confirmed_is_read_again_and_what_is_confirmed_is_not(
    place: Place,
) -> None:
    place.says("/stop now")
    place.says("/status")
    first = await place.chat.receive()
    again = await place.chat.receive()
    assert again == first
    assert [one.content.name for one in first.updates if isinstance(one.content, Command)] == [
        "stop", "status",
    ]  # fmt: skip
    assert await place.chat.waiting() == 2
    place.says("/help")
    last = await place.chat.receive(first.confirm)
    assert [one.content.name for one in last.updates if isinstance(one.content, Command)] == [
        "help"
    ]


async def test_a_press_carries_what_its_button_carried_and_is_answered(place: Place) -> None:
    proof = await place.chat.send(Message("Alert", ("x",), (Button("Seen", BUTTON),)))
    place.presses(proof.message, BUTTON)
    batch = await place.chat.receive()
    tap = batch.updates[0].content
    assert isinstance(tap, Tap)
    assert (tap.data, tap.sender) == (BUTTON, OWNER)
    await place.chat.answer(tap, "Acknowledged.")
    assert place.answers() == ["Acknowledged."]


async def test_an_edit_changes_the_message_and_the_same_words_again_are_no_error(
    place: Place,
) -> None:
    proof = await place.chat.send(HELLO)
    for _ in range(2):
        await place.chat.edit(proof, Message("Alert", ("over",)))
    assert [text.splitlines()[-1] for text in place.texts()] == ["over"]


async def test_words_outside_of_commands_ask_for_nothing(place: Place) -> None:
    place.says("please /stop")
    assert not any(
        isinstance(one.content, Command | Tap) for one in (await place.chat.receive()).updates
    )
