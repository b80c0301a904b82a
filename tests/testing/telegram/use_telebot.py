"""Drives the stand-in with pyTelegramBotAPI: `python use_telebot.py URL TOKEN CHAT`."""

import sys
from collections.abc import Callable

import telebot
from telebot import apihelper
from telebot.types import InlineKeyboardButton, InlineKeyboardMarkup

url, token, chat = sys.argv[1], sys.argv[2], int(sys.argv[3])
apihelper.API_URL = url + "/bot{0}/{1}"
bot = telebot.TeleBot(token, threaded=False)
assert bot.get_me().username == "stand_in_bot"
keys = InlineKeyboardMarkup([[InlineKeyboardButton("Yes", callback_data="y")]])
sent = bot.send_message(chat, "<i>one</i> &lt;two&gt;", parse_mode="HTML", reply_markup=keys)
assert sent.text == "one <two>"
assert bot.edit_message_text("three", chat, sent.message_id).text == "three"
CALLS: tuple[tuple[Callable[[], object], int, str], ...] = (
    (lambda: bot.edit_message_text("three", chat, sent.message_id), 400, "not modified"),
    (lambda: bot.send_message(chat, "<b>x", parse_mode="HTML"), 400, "can't parse entities"),
    (lambda: bot.send_message(5, "x"), 400, "chat not found"),
    (lambda: bot.answer_callback_query("nobody's"), 400, "too old"),
)
for call, code, words in CALLS:
    try:
        call()
    except apihelper.ApiTelegramException as error:
        if error.error_code != code or words not in error.description:
            raise
    else:
        raise AssertionError(words)
document = bot.send_document(chat, b"whole", caption="short", visible_file_name="a.txt")
assert (document.document.file_name, document.caption) == ("a.txt", "short")
updates = bot.get_updates(timeout=1, allowed_updates=["message", "callback_query"])
assert [one.message.text for one in updates if one.message] == ["/stop", "hello"]
taps = [one.callback_query for one in updates if one.callback_query]
assert taps[0].data == "y"
assert bot.answer_callback_query(taps[0].id, "seen")
assert bot.get_updates(offset=updates[-1].update_id + 1) == []
assert bot.get_webhook_info().pending_update_count == 0
assert bot.remove_webhook()
print("good")
