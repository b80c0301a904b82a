"""Drives the stand-in with python-telegram-bot: `python use_python_telegram_bot.py URL TOKEN CHAT`."""

import asyncio
import sys

import telegram
from telegram.error import BadRequest, InvalidToken, RetryAfter


async def main(url: str, token: str, chat: int) -> None:
    async with telegram.Bot(token, base_url=f"{url}/bot", base_file_url=f"{url}/file/bot") as bot:
        keys = telegram.InlineKeyboardMarkup(
            [[telegram.InlineKeyboardButton("Yes", callback_data="y")]]
        )
        sent = await bot.send_message(
            chat, "<b>one</b> &amp; two", parse_mode="HTML", reply_markup=keys
        )
        assert sent.text == "one & two"
        assert sent.reply_markup == keys
        await bot.edit_message_text("three", chat_id=chat, message_id=sent.message_id)
        for text, words in (
            ("three", "not modified"),
            ("<x>", "parse entities"),
            ("x" * 4097, "too long"),
        ):
            try:
                await bot.edit_message_text(
                    text, chat_id=chat, message_id=sent.message_id, parse_mode="HTML"
                )
            except BadRequest as error:
                if words not in str(error).lower():
                    raise
            else:
                raise AssertionError(words)
        document = await bot.send_document(chat, b"whole", filename="a.txt", caption="short")
        assert document.document is not None
        assert (document.document.file_name, document.caption) == ("a.txt", "short")
        updates = await bot.get_updates(timeout=1, allowed_updates=["message", "callback_query"])
        texts = [one.message.text for one in updates if one.message]
        assert texts == ["/stop", "hello"], texts
        assert updates[0].message is not None
        assert updates[0].message.entities[0].type == "bot_command"
        taps = [one.callback_query for one in updates if one.callback_query]
        await taps[0].answer("seen")
        try:
            await bot.answer_callback_query("nobody's")
        except BadRequest as error:
            if "too old" not in str(error):
                raise
        assert (await bot.get_webhook_info()).pending_update_count == 3
        assert await bot.get_updates(offset=updates[-1].update_id + 1) == ()
        await bot.set_my_commands([("stop", "freeze")])
        assert await bot.delete_webhook()
        try:
            await bot.send_message(-999_429, "limited")
        except (RetryAfter, BadRequest) as error:
            if "chat not found" not in str(error).lower():
                raise
    try:
        async with telegram.Bot(token + "x", base_url=f"{url}/bot"):
            raise AssertionError("a wrong token was taken")
    except InvalidToken:
        print("good")


asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
