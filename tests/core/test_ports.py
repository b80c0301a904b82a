from __future__ import annotations

import inspect

import pytest

from allegro.core import ports, stores
from allegro.core.ports import Dress, ForgeReader, ForgeWriter

PORTS = [
    port
    for module in (ports, stores)
    for port in vars(module).values()
    if getattr(port, "_is_protocol", False) and port.__module__ == module.__name__
]


def test_a_token_beside_an_order_is_never_shown() -> None:
    dress = Dress("roses-0123456789ab", "ab" * 16, "a secret token")
    assert "secret" not in repr(dress)
    assert "secret" not in str(dress)
    assert "roses-0123456789ab" in repr(dress)


def test_a_writer_does_nothing_without_a_permit() -> None:
    offered = [name for name in vars(ForgeWriter) if not name.startswith("_")]
    assert offered == ["perform"]
    assert list(inspect.signature(ForgeWriter.perform).parameters)[1] == "permit"


def test_a_reader_offers_nothing_that_sounds_like_a_write() -> None:
    offered = [name for name in vars(ForgeReader) if not name.startswith("_")]
    assert offered
    assert not any(
        verb in name for name in offered for verb in ("create", "delete", "set", "close", "post", "edit")
    )  # fmt: skip


@pytest.mark.parametrize("port", PORTS)
def test_every_port_says_what_it_is(port: type) -> None:
    assert port.__doc__
