"""Telegram, by its Bot API over HTTPS."""
