"""`allegro doctor` on the lane's own machine: files, forge, sandbox, Hermes, the attack list."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from allegro.adapters.channels.build import build_channels
from allegro.adapters.clock import SystemClock
from allegro.adapters.gitea.http import GiteaHttp
from allegro.adapters.gitea.reader import GiteaReader
from allegro.adapters.hermes.install import python_of, version_of
from allegro.adapters.hermes.wire import HermesWire
from allegro.adapters.providers.openai import HttpProviders
from allegro.adapters.sandbox.attacks import Targets, existing, run_attacks
from allegro.adapters.sandbox.boundary import find_sandbox
from allegro.config import read_private, read_secret
from allegro.core.base.errors import ConfigError, EdgeError
from allegro.core.channels import ChannelError
from allegro.core.health import codes
from allegro.core.health.facts import Fact, State
from allegro.core.settings import AppriseSettings, LaneSettings, Rung
from allegro.lane.agent.facts import agent_words, existing_facts, swap_fact
from allegro.lane.folder.files import LaneFiles
from allegro.lane.health.own_files import own_facts
from allegro.lane.tokens.checkup import checkup


async def check(settings: LaneSettings) -> list[Fact]:
    """Return doctor's facts of this machine; needs no running lane."""
    files = LaneFiles(Path(settings.lane.state_dir).expanduser())  # noqa: ASYNC240
    facts = own_facts(files)
    if settings.forge.url:
        token = Path(settings.forge.token_file)
        http = GiteaHttp(
            settings.forge.url, lambda: read_secret(token), timeout_s=settings.forge.timeout_s
        )
        try:
            facts += await checkup(settings, GiteaReader(http), SystemClock())
        finally:
            await http.close()
    if settings.serves_sessions:
        facts += await _session_facts(settings, files)
    if settings.telegram.reads:
        facts.append(await _chat_fact(settings))
    return facts


async def _chat_fact(settings: LaneSettings) -> Fact:
    """Ask how much waits for us: that confirms nothing, and disturbs no lane that reads."""
    clock, name = SystemClock(), "telegram"
    chat = build_channels(settings.telegram, AppriseSettings(), _private, clock).chat
    assert chat is not None
    try:
        waiting = await chat.waiting()
    except ChannelError as error:
        return Fact(codes.CHAT_DEAF, "bad", f"{error.kind}: {error}", "getWebhookInfo", name)
    finally:
        await chat.close()
    who = f"{len(settings.telegram.allow)} may command"
    return Fact(codes.CHAT_DEAF, "ok", f"answers; {waiting} wait; {who}", "getWebhookInfo", name)


def _private(name: str) -> str:
    return read_private(Path(name).expanduser())


async def _session_facts(settings: LaneSettings, files: LaneFiles) -> list[Fact]:
    facts = [_swap()]
    if settings.hermes.url:
        facts += await _existing(settings)
    else:
        facts += [_sandbox(settings), _hermes(settings, files)]
    for rung in settings.models.rungs:
        facts.append(await _provider(settings, rung))
    return facts


def _swap() -> Fact:
    try:
        return swap_fact(Path("/proc/swaps").read_text("utf-8"))
    except OSError:
        return Fact(codes.SWAP, "unknown", "this system does not tell", "/proc/swaps")


def _sandbox(settings: LaneSettings) -> Fact:
    found = find_sandbox(settings.hermes.sandbox)
    if not found.holds:
        state: State = "bad" if settings.hermes.tools else "warn"
        return Fact(codes.SANDBOX, state, found.reason, "tried now")
    if found.own_user:
        words = f"bubblewrap, own user id {settings.hermes.user_id}"
        return Fact(codes.SANDBOX, "ok", words, "tried now")
    return Fact(codes.SANDBOX, "ok", "bubblewrap, own user namespace", "tried now")


def _hermes(settings: LaneSettings, files: LaneFiles) -> Fact:
    version = version_of(python_of(settings.hermes, files.folder))
    if version:
        return Fact(codes.HERMES, "ok", agent_words(version), "its environment")
    return Fact(codes.HERMES, "bad", "not installed", "its environment")


def _secret(name: str) -> str:
    return read_secret(Path(name).expanduser())


async def _existing(settings: LaneSettings) -> list[Fact]:
    try:
        key = _secret(settings.hermes.key_file)
    except ConfigError as error:
        return [Fact(codes.HERMES, "bad", str(error), "hermes.key_file")]
    wire = HermesWire(settings.hermes.url, key)
    try:
        if not await wire.is_up():
            return [
                Fact(codes.HERMES, "bad", f"nothing answers at {settings.hermes.url}", "/health")
            ]
        answers = Fact(codes.HERMES, "ok", agent_words(wire.capabilities.version), "/health")
        return [answers, *existing_facts(await wire.toolsets(), settings)]
    except EdgeError as error:
        return [Fact(codes.HERMES, "bad", str(error), "its API")]
    finally:
        await wire.close()


async def _provider(settings: LaneSettings, rung: Rung) -> Fact:
    what = f"{rung.model} at {rung.provider}"
    providers = HttpProviders(settings.models, _secret)
    try:
        status, models = await providers.probe(rung)
    except ConfigError as error:
        return Fact(codes.PROVIDER, "bad", str(error), "models.rungs", what)
    except EdgeError as error:
        return Fact(codes.PROVIDER, "warn", f"not reachable: {error}", "GET /models", what)
    finally:
        await providers.close()
    if status in {401, 403}:
        return Fact(codes.PROVIDER, "bad", f"refuses the key ({status})", "GET /models", what)
    if status == 200 and (rung.upstream or rung.model) not in models:
        return Fact(codes.PROVIDER, "warn", "does not list this model", "GET /models", what)
    return Fact(codes.PROVIDER, "ok", "answers", "GET /models", what)


def attack(settings: LaneSettings) -> Iterator[Fact]:
    """Run the attack list in this lane's sandbox; yield each result as it comes."""
    found = find_sandbox(settings.hermes.sandbox)
    if not found.holds:
        yield Fact(codes.SANDBOX, "bad", found.reason, "tried now")
        return
    for held in run_attacks(_targets(settings), settings.hermes):
        state: State = "ok" if held.holds else "bad"
        yield Fact(codes.SANDBOX_ATTACK, state, held.detail, "tried now", held.name)


def _targets(settings: LaneSettings) -> Targets:
    """Return what this lane has that nobody may have."""
    state = LaneFiles(Path(settings.lane.state_dir).expanduser())
    secrets = [settings.forge.token_file, settings.webhook.secret_file, settings.link.key_file]
    secrets += [rung.key_file for rung in settings.models.rungs]
    own = [state.key, state.trust, state.paired, state.journal, state.sessions]
    urls = [settings.forge.url, *(rung.base_url for rung in settings.models.rungs)]
    listens = [settings.link.listen, settings.status.listen, settings.webhook.listen]
    listens.append(settings.council.listen)
    places = [_place(listen) for listen in listens if listen and not listen.startswith("unix:")]
    for url in filter(None, urls):
        parts = urlsplit(url)
        places.append(
            (parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))
        )
    return Targets(
        existing([*map(str, own), *secrets]),
        existing([settings.lane.state_dir, os.environ.get("HOME", "")]),
        tuple(place for place in dict.fromkeys(places) if _answers(place)),
    )


def _place(listen: str) -> tuple[str, int]:
    host, _, port = listen.rpartition(":")
    host = host.strip("[]")
    return ("127.0.0.1" if host in {"0.0.0.0", "::", ""} else host), int(port)  # noqa: S104


def _answers(place: tuple[str, int]) -> bool:
    """Whether something listens there, seen from outside: else a refusal proves nothing."""
    try:
        with socket.create_connection(place, 0.5):
            return True
    except OSError:
        return False
