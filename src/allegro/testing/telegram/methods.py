"""The methods of the Bot API that a bot like ours calls, with the limits and errors of the real one."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from .markup import MarkupError, visible_text
from .world import Json, World

MAX_TEXT = 4_096
MAX_CAPTION = 1_024
TAP_LIVES_S = 900.0


class ApiError(Exception):
    """A refusal as the Bot API words it."""

    def __init__(self, code: int, description: str, **parameters: Any) -> None:
        super().__init__(description)
        self.code = code
        self.description = description
        self.parameters = parameters


def number(fields: Json, name: str, default: int = 0) -> int:
    try:
        return int(fields.get(name, default))
    except (TypeError, ValueError):
        return default


def flag(fields: Json, name: str) -> bool:
    return str(fields.get(name, "")).lower() in {"true", "1", "yes"}


def structure(fields: Json, name: str) -> Any:
    """Return a field that may come as JSON text (forms) or as itself (JSON bodies)."""
    value = fields.get(name)
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value) if value else None
    except ValueError as error:
        raise ApiError(400, f"Bad Request: can't parse {name} JSON object") from error


def _chat(world: World, fields: Json) -> int:
    if not fields.get("chat_id"):
        raise ApiError(400, "Bad Request: chat_id is empty")
    chat = number(fields, "chat_id")
    if chat in world.blocked:
        raise ApiError(403, "Forbidden: bot was blocked by the user")
    if not any(known == chat for known, _ in world.messages):
        raise ApiError(400, "Bad Request: chat not found")
    return chat


def _text(fields: Json, name: str, limit: int, too_long: str) -> str:
    raw = str(fields.get(name, ""))
    if len(raw.encode("utf-8", "replace")) > 1 << 15:
        raise ApiError(400, "Bad Request: text is too long")
    mode = str(fields.get("parse_mode", "")).lower()
    if mode and mode != "html":
        raise ApiError(400, "Bad Request: unsupported parse_mode")
    try:
        text = visible_text(raw) if mode else raw
    except MarkupError as error:
        raise ApiError(400, f"Bad Request: {error}") from error
    text = text.strip()
    if len(text.encode("utf-16-le")) // 2 > limit:
        raise ApiError(400, f"Bad Request: {too_long} is too long")
    return text


def _markup(fields: Json) -> Json | None:
    markup = structure(fields, "reply_markup")
    for row in (markup or {}).get("inline_keyboard", []):
        for button in row:
            if not button.get("text"):
                raise ApiError(400, "Bad Request: inline keyboard button text must be non-empty")
            if not 1 <= len(str(button.get("callback_data", "")).encode()) <= 64:
                raise ApiError(400, "Bad Request: BUTTON_DATA_INVALID")
    return markup or None


def _put(world: World, chat: int, content: Json, markup: Json | None) -> Json:
    world.next_message += 1
    made = {"message_id": world.next_message, "date": world.now(), "chat": world.chat(chat),
            "from": world.bot()} | content  # fmt: skip
    if markup:
        made["reply_markup"] = markup
    world.messages[chat, world.next_message] = made
    return made


def send_message(world: World, fields: Json) -> Json:
    text = _text(fields, "text", MAX_TEXT, "message")
    if not text:
        raise ApiError(400, "Bad Request: message text is empty")
    markup = _markup(fields)
    return _put(world, _chat(world, fields), {"text": text}, markup)


def send_document(world: World, fields: Json) -> Json:
    document = fields.get("document")
    if not isinstance(document, tuple):
        raise ApiError(400, "Bad Request: there is no document in the request")
    caption, markup = _text(fields, "caption", MAX_CAPTION, "message caption"), _markup(fields)
    name, content = document
    shown = {"file_id": f"f{world.next_message}", "file_unique_id": f"u{world.next_message}",
             "file_name": name, "file_size": len(content)}  # fmt: skip
    caption_field = {"caption": caption} if caption else {}
    made = _put(world, _chat(world, fields), {"document": shown} | caption_field, markup)
    world.documents[made["chat"]["id"], made["message_id"]] = content
    return made


def edit_message_text(world: World, fields: Json) -> Json:
    text, markup = _text(fields, "text", MAX_TEXT, "message"), _markup(fields)
    place = _chat(world, fields), number(fields, "message_id")
    before = world.messages.get(place)
    if before is None:
        raise ApiError(400, "Bad Request: message to edit not found")
    if before["from"]["id"] != world.bot()["id"]:
        raise ApiError(400, "Bad Request: message can't be edited")
    if not text:
        raise ApiError(400, "Bad Request: message text is empty")
    keys = (markup or {}).get("inline_keyboard") or []
    old_keys = before.get("reply_markup", {}).get("inline_keyboard") or []
    if before.get("text") == text and keys == old_keys:
        raise ApiError(
            400,
            "Bad Request: message is not modified: specified new message content and reply markup "
            "are exactly the same as a current content and reply markup of the message",
        )
    made = {key: value for key, value in before.items() if key != "reply_markup"}
    made |= {"text": text, "edit_date": world.now()} | ({"reply_markup": markup} if keys else {})
    world.messages[place] = made
    return made


def answer_callback_query(world: World, fields: Json) -> bool:
    tap = str(fields.get("callback_query_id", ""))
    if len(str(fields.get("text", ""))) > 200:
        raise ApiError(400, "Bad Request: MESSAGE_TOO_LONG")
    if not world.clock() - world.taps.get(tap, -1e12) < TAP_LIVES_S:
        raise ApiError(
            400,
            "Bad Request: query is too old and response timeout expired or query ID is invalid",
        )
    world.answered[tap] = str(fields.get("text", ""))
    return True


def webhook_info(world: World, _: Json) -> Json:
    return {"url": world.webhook, "has_custom_certificate": False,
            "pending_update_count": len(world.updates)}  # fmt: skip


def set_webhook(world: World, fields: Json) -> bool:
    world.webhook = str(fields.get("url", ""))
    return True


def delete_webhook(world: World, fields: Json) -> bool:
    world.webhook = ""
    if flag(fields, "drop_pending_updates"):
        world.updates.clear()
    return True


def set_commands(world: World, fields: Json) -> bool:
    world.commands = list(structure(fields, "commands") or [])
    return True


METHODS: dict[str, Callable[[World, Json], Any]] = {
    "getme": lambda world, _: world.bot(),
    "sendmessage": send_message,
    "senddocument": send_document,
    "editmessagetext": edit_message_text,
    "answercallbackquery": answer_callback_query,
    "getwebhookinfo": webhook_info,
    "setwebhook": set_webhook,
    "deletewebhook": delete_webhook,
    "setmycommands": set_commands,
    "getmycommands": lambda world, _: world.commands,
}
