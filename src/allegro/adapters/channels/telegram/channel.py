"""Telegram as a channel: sends with proof, reads commands and taps, never drops what waits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from allegro.adapters.channels.telegram.api import Attachment, BotApi
from allegro.adapters.channels.telegram.updates import KINDS, read_update
from allegro.core.base.untrusted import number_of, text_of, whole_number
from allegro.core.channels import ChannelError, Limits, Message, Proof
from allegro.core.chat.received import Batch, Sender, Tap
from allegro.core.chat.texts import Foreign, Part, cut_units, html, plain_text, shown, units
from allegro.core.settings.channels import TelegramSettings

LIMITS = Limits(text=4096, caption=1024, buttons=8, button_bytes=64)
MAX_TAP_WORDS = 200
MAX_LABEL = 64
BATCH = 100
_GONE = "query is too old"
_SAME = "message is not modified"


class TelegramChannel:
    """One bot in one chat, for a lane and for a house alike. Only the holder of a role reads."""

    name = "telegram"
    limits = LIMITS

    def __init__(
        self,
        settings: TelegramSettings,
        read_secret: Callable[[str], str],
        boot_s: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._api = BotApi(settings, read_secret, boot_s)
        self._bot = ""
        self._batch = BATCH

    async def close(self) -> None:
        await self._api.close()

    async def send(self, message: Message) -> Proof:
        """Send to the configured chat."""
        return await self._send(self._settings.chat, message)

    async def reply(self, to: Sender, message: Message) -> Proof:
        """Send to the chat that a command came from."""
        return await self._send(str(to.chat), message)

    async def _send(self, chat: str, message: Message) -> Proof:
        fields: dict[str, object] = {"chat_id": chat, "disable_notification": message.quiet}
        if message.buttons:
            fields["reply_markup"] = _keyboard(message)
        if _length(message) > LIMITS.text:
            result = await self._send_document(fields, message)
        else:
            result = await self._api.call("sendMessage", fields | _words(message))
        return _proof(result)

    async def _send_document(self, fields: dict[str, object], message: Message) -> object:
        """Send a text that is too long whole, as one document: one call, so one proof."""
        whole = f"{shown(message.title)}\n\n{plain_text(message.body)}"
        caption = html(cut_units(whole, LIMITS.caption - 40)) + "\n… (the whole is attached)"
        attachment = Attachment("document", "message.txt", whole.encode("utf-8", "replace"))
        words = {"caption": f"<pre>{caption}</pre>", "parse_mode": "HTML"}
        return await self._api.call("sendDocument", fields | words, attachment=attachment)

    async def edit(self, proof: Proof, message: Message) -> None:
        """Change a message of ours; its buttons become the new message's."""
        chat, _, number = proof.message.partition(":")
        message_id = whole_number(number)
        if not message_id:
            raise ChannelError(
                "this proof names no message", transient=False, sent=False, kind="refused"
            )
        fields: dict[str, object] = {"chat_id": chat, "message_id": message_id}
        fields["reply_markup"] = _keyboard(message)
        try:
            await self._api.call("editMessageText", fields | _words(_fitting(message)))
        except ChannelError as error:
            if _SAME not in str(error):
                raise

    async def answer(self, tap: Tap, words: str) -> None:
        """End the spinning of a pressed button; one that is too old spins no more."""
        fields: dict[str, object] = {
            "callback_query_id": tap.id, "text": cut_units(shown(words), MAX_TAP_WORDS),
        }  # fmt: skip
        try:
            await self._api.call("answerCallbackQuery", fields)
        except ChannelError as error:
            if _GONE not in str(error):
                raise

    async def receive(self, confirm: int | None = None) -> Batch:
        """Wait at most `poll_s` for updates.

        An offset goes out only to confirm. Otherwise the service is asked for whatever is not
        confirmed: after a week without updates it begins at a number that may be lower.

        After an answer that cannot be read fewer updates are asked for, one in the end: strangers
        could else write so much that their answer is never read whole, and no command with it.
        """
        if not self._bot:
            me = await self._api.call("getMe", {})
            self._bot = text_of(me.get("username"), 64) if isinstance(me, dict) else ""
        fields: dict[str, object] = {
            "timeout": self._settings.poll_s, "limit": self._batch, "allowed_updates": list(KINDS),
        }  # fmt: skip
        if confirm is not None:
            fields["offset"] = confirm + 1
        try:
            result = await self._api.call("getUpdates", fields, wait_s=self._settings.poll_s)
        except ChannelError as error:
            if error.kind == "unreadable":
                self._batch = max(1, self._batch // 4)
            raise
        self._batch = min(BATCH, self._batch * 2)
        if not isinstance(result, list):
            raise ChannelError("updates that are no list", transient=True, kind="unreadable")
        updates = tuple(read_update(one, self._bot) for one in result)
        numbers = [one.number for one in updates if one.number is not None]
        if updates and not numbers:
            raise ChannelError("updates without a number", transient=True, kind="unreadable")
        return Batch(updates, max(numbers) if numbers else None)

    async def waiting(self) -> int:
        """Return how many updates the service holds for us. Raises ChannelError."""
        facts = await self._api.call("getWebhookInfo", {})
        if not isinstance(facts, dict):
            raise ChannelError("webhook facts of another form", transient=True, kind="unreadable")
        if facts.get("url"):
            raise ChannelError(
                "a webhook takes this bot's updates away", transient=False, kind="webhook"
            )
        return number_of(facts.get("pending_update_count"))

    async def confirm(self, upto: int) -> None:
        """Confirm everything up to this number. Asks for one update at most and keeps none of it."""
        fields: dict[str, object] = {
            "offset": upto + 1, "timeout": 0, "limit": 1, "allowed_updates": list(KINDS),
        }  # fmt: skip
        await self._api.call("getUpdates", fields)

    async def prepare(self, commands: Mapping[str, str]) -> None:
        """Remove a webhook, keeping what waits, and show these commands in the chat's menu."""
        await self._api.call("deleteWebhook", {"drop_pending_updates": False})
        listed = [{"command": name, "description": words} for name, words in commands.items()]
        await self._api.call("setMyCommands", {"commands": listed})


def _length(message: Message) -> int:
    return units(f"{shown(message.title)}\n{''.join(map(shown, message.body))}")


def _fitting(message: Message) -> Message:
    if _length(message) <= LIMITS.text:
        return message
    room = LIMITS.text - units(shown(message.title)) - 10
    return Message(message.title, (cut_units(plain_text(message.body), room), "\n…"))


def _words(message: Message) -> dict[str, object]:
    body = "".join(map(_html, message.body))
    return {
        "text": f"<b>{html(shown(message.title))}</b>\n{body}",
        "parse_mode": "HTML",
        "link_preview_options": {"is_disabled": True},
    }


def _html(part: Part) -> str:
    """Foreign words stand in a code span: Telegram makes no link, mention or command in one."""
    text = html(shown(part))
    return f"<code>{text}</code>" if isinstance(part, Foreign) else text


def _keyboard(message: Message) -> dict[str, object]:
    rows = [
        [{"text": cut_units(shown(one.label), MAX_LABEL), "callback_data": one.data}]
        for one in message.buttons[: LIMITS.buttons]
    ]
    return {"inline_keyboard": rows}


def _proof(result: object) -> Proof:
    sent: dict[str, Any] = result if isinstance(result, dict) else {}
    chat = sent.get("chat")
    place = chat.get("id") if isinstance(chat, dict) else None
    number = number_of(sent.get("message_id"))
    if isinstance(place, bool) or not isinstance(place, int) or not number:
        raise ChannelError("sent, but the answer names no message", transient=True,
                           kind="unreadable")  # fmt: skip
    return Proof("telegram", f"{place}:{number}", float(number_of(sent.get("date"))))
