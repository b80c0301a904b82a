"""A stand-in for Telegram's Bot API, with control of the people who write to the bot.

Faithful to the open-source server of the Bot API in what a bot sees: https://github.com/tdlib/telegram-bot-api
"""
