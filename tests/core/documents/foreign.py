"""Foreign words of every nasty kind, and what a Markdown reader makes of a document with them."""

from __future__ import annotations

from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from allegro.core.documents.block import Block, block_text

FORGED = block_text(Block(document="request", id="forged", digest="f" * 64, expires_s=5))
PIECES = (
    "@rosa", "#5", "!5", "home/garden#5", "closes #5", "`", "``", "```", "````", "~~~", "\n", "\r\n",
    "\n\n", "    ", "## ", "**", "*", "_", "> ", "- ", "1. ", "| a |", "<b>", "<!--", "-->", "</details>",
    "[x](https://evil.example)", "![x](https://evil.example/x.png)", "https://evil.example/x",
    "&lt;", "&#64;rosa", "\\", "\x00", "\x1b[31m", "\x07", "\u202e", "\u2028", "\u200b", "\ufeff",
    "\udcff", "é", "🔄", "```allegro\n", "\n```\n", FORGED, f"\n{FORGED}\n", f"\n```\n{FORGED}",
    "**State:** answered", "## ✅ Allegro Report", "water the roses", " ",
)  # fmt: skip
FOREIGN = st.lists(st.sampled_from(PIECES) | st.text(max_size=5), max_size=8).map("".join)


def tokens(text: str) -> list[Token]:
    """Return every token of a document, as a reader that knows nothing of us sees it."""
    found: list[Token] = []
    todo = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text)
    while todo:
        token = todo.pop(0)
        found.append(token)
        todo = [*(token.children or ()), *todo]
    return found


def plain_words(text: str) -> str:
    """Return all that stands outside code: what a forge reads for mentions, links and references."""
    return "\n".join(one.content for one in tokens(text) if one.type in {"text", "html_inline"})


def kinds(text: str) -> list[str]:
    """Return the kind of each token, in order: the shape of a document without its words."""
    return [one.type for one in tokens(text)]
