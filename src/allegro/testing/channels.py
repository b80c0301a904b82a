"""A chat in memory: what was sent, and what people do. It keeps what nobody has confirmed."""

from __future__ import annotations

from collections.abc import Mapping

from allegro.core.channels import ChannelError, Limits, Message, Proof
from allegro.core.chat.commands import read_command
from allegro.core.chat.received import Batch, Command, Content, Ignored, Sender, Tap, Update


class MemoryChat:
    """The Chat port. `errors` are raised by the next calls that send, in their order."""

    name = "memory"
    limits = Limits(text=4096, caption=1024, buttons=8, button_bytes=64)

    def __init__(self) -> None:
        self.sent: dict[str, Message] = {}
        self.answered: dict[str, str] = {}
        self.errors: list[ChannelError] = []
        self.commands: dict[str, str] = {}
        self._queue: list[Update] = []
        self._number = 100

    async def close(self) -> None:
        """Nothing is open."""

    async def send(self, message: Message) -> Proof:
        return await self.reply(Sender(0, 0), message)

    async def reply(self, to: Sender, message: Message) -> Proof:
        if self.errors:
            raise self.errors.pop(0)
        self._number += 1
        proof = Proof(self.name, f"{to.chat}:{self._number}", 1.0)
        self.sent[proof.message] = message
        return proof

    async def edit(self, proof: Proof, message: Message) -> None:
        if proof.message not in self.sent:
            raise ChannelError("no such message", transient=False, sent=False, kind="refused")
        self.sent[proof.message] = message

    async def answer(self, tap: Tap, words: str) -> None:
        self.answered[tap.id] = words

    async def prepare(self, commands: Mapping[str, str]) -> None:
        self.commands = dict(commands)

    async def confirm(self, upto: int) -> None:
        await self.receive(upto)

    async def receive(self, confirm: int | None = None) -> Batch:
        kept = [one for one in self._queue if one.number is not None]
        self._queue = [one for one in kept if confirm is None or (one.number or 0) > confirm]
        last = self._queue[-1].number if self._queue else None
        return Batch(tuple(self._queue), last)

    async def waiting(self) -> int:
        return len(self._queue)

    @property
    def queued(self) -> tuple[Update, ...]:
        """What nobody has confirmed."""
        return tuple(self._queue)

    def says(self, sender: Sender, text: str, at_s: int = 1) -> None:
        """Let somebody write."""
        self._number += 1
        words = read_command(text, "memory_bot")
        if words is None or isinstance(words, str):
            self.arrives(Ignored("no command" if words is None else "for another bot", sender))
        else:
            self.arrives(Command(sender, self._number, words.name, words.argument, at_s))

    def presses(self, sender: Sender, message: int, data: str) -> None:
        """Let somebody press a button."""
        self._number += 1
        self.arrives(Tap(str(self._number), sender, message, data))

    def arrives(self, content: Content) -> None:
        self._number += 1
        self._queue.append(Update(self._number, content))
