"""What is wrong with a lane's settings that no single one of them shows."""

from __future__ import annotations

import re

from allegro.core.settings.lane import LaneSettings


def lane_faults(settings: LaneSettings) -> list[tuple[str, str]]:
    """Return ("section.key", what is wrong) of each fault."""
    faults = _forge_faults(settings) + _session_faults(settings)
    link = settings.link
    if link.tls == "none" and link.listen and not _is_local(link.listen):
        faults.append(("link.tls", "none is for unix: and 127.0.0.1 only; the link carries orders"))
    if link.tls == "files" and not (link.cert_file and link.key_file):
        faults.append(("link.tls", "files needs cert_file and key_file"))
    if settings.status.listen and not _is_local(settings.status.listen):
        faults.append(("status.listen", "must be on 127.0.0.1: details are for the link only"))
    if settings.webhook.listen and not settings.webhook.secret_file:
        faults.append(("webhook.secret_file", "a webhook without a secret is refused"))
    return faults


def _forge_faults(settings: LaneSettings) -> list[tuple[str, str]]:
    forge = settings.forge
    if not forge.url:
        if settings.serves_sessions:
            return []
        reason = "missing: name a forge, or set hermes.gateways; a lane with neither does nothing"
        return [("forge.url", reason)]
    faults = []
    if not forge.token_file:
        faults.append(("forge.token_file", "missing  (file with the daily token; mode 0600)"))
    watch = re.compile(r"(org:[A-Za-z0-9_.-]+|[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+)")
    if not forge.watch:
        faults.append(("forge.watch", 'nothing to watch; name "owner/name" or "org:name"'))
    faults += [
        ("forge.watch", f'{entry!r} is neither "owner/name" nor "org:name"')
        for entry in forge.watch
        if not watch.fullmatch(entry)
    ]
    if not forge.bots:
        faults.append(("forge.bots", "name the login of the user whose token the lane uses"))
    return faults


def _session_faults(settings: LaneSettings) -> list[tuple[str, str]]:
    hermes, models = settings.hermes, settings.models
    names = {rung.model for rung in models.rungs}
    faults = [
        (f"models.{key}", f"{name!r} is no model of models.rungs")
        for key, name in (("default", models.default), ("last", models.last))
        if name and name not in names
    ]
    if hermes.gateways and not hermes.url and not names:
        faults.append(("models.rungs", "missing: sessions need at least one [[models.rungs]]"))
    if hermes.url and not hermes.key_file:
        faults.append(("hermes.key_file", "missing: a Hermes by hermes.url needs its API key"))
    place = re.compile(r"[A-Za-z0-9.-]+:[0-9]{1,5}")
    faults += [
        ("hermes.destinations", f'{entry!r} is not "host:port"')
        for entry in hermes.destinations
        if not place.fullmatch(entry)
    ]
    if hermes.tools and hermes.sandbox == "none":
        faults.append(("hermes.tools", "tools stay off without a sandbox; empty this list"))
    return faults


def _is_local(listen: str) -> bool:
    return listen.startswith(("unix:", "127.", "localhost:", "[::1]:"))
