"""The fixed list of what a tool of the agent might try, run for real in the sandbox (H11)."""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from allegro.adapters.sandbox.boundary import HOME, command
from allegro.core.settings import HermesSettings

ATTACK_S = 20.0
TOO_MANY = 2_000
_CONNECT = "import socket; socket.create_connection(({host!r}, {port}), 2)"


class Attack(msgspec.Struct, frozen=True):
    """A name and a shell script that ends with 0 only where the attack succeeded."""

    name: str
    script: str


class Held(msgspec.Struct, frozen=True):
    """What came of one attack. `holds` is true where the sandbox held."""

    name: str
    holds: bool
    detail: str


class Targets(msgspec.Struct, frozen=True):
    """What is worth attacking on this lane: files, folders, and places on the network."""

    files: tuple[str, ...]
    folders: tuple[str, ...]
    places: tuple[tuple[str, int], ...]


def attacks(targets: Targets, settings: HermesSettings) -> tuple[Attack, ...]:
    """Return the list for one lane."""
    found = [Attack(f"read {name}", f"cat {shlex.quote(name)}") for name in targets.files]
    found += [Attack(f"list {name}", f"ls {shlex.quote(name)}/*") for name in targets.folders]
    places = (*targets.places, ("169.254.169.254", 80), ("192.0.2.1", 443))
    found += [
        Attack(
            f"connect to {host}:{port}",
            f"python3 -c {shlex.quote(_CONNECT.format(host=host, port=port))}",
        )
        for host, port in places
    ]
    more_mb = settings.disk_mb + 64
    return (
        *found,
        Attack("read the host's users' secrets", "cat /etc/shadow"),
        Attack("read another process", "head -c 1 /proc/1/environ | grep -qz ."),
        Attack("leave by the first process", "ls /proc/1/root/"),
        Attack("write to the system", "touch /usr/bin/x || touch /etc/x || touch /doors/x"),
        Attack("mount something", "mkdir -p /tmp/m && mount -t tmpfs x /tmp/m"),
        Attack("become root", "setpriv --reuid 0 true"),
        Attack(
            "fill the disk",
            f"dd if=/dev/zero of={HOME}/big bs=1M count={more_mb} 2>/dev/null",
        ),
        Attack(
            "fill the machine with processes",
            f"n=0; while [ $n -lt {TOO_MANY} ]; do sleep 15 & n=$((n+1)); done 2>/dev/null"
            f"; test $(ls -d /proc/[0-9]* | wc -l) -ge {TOO_MANY}",
        ),
    )


def run_attacks(
    targets: Targets, settings: HermesSettings, shown: Sequence[tuple[str, str]] = ()
) -> Iterable[Held]:
    """Run each attack in a sandbox of its own, and tell one after the other what came of it."""
    for attack in attacks(targets, settings):
        argv = command(
            ["bwrap"],
            (),
            shown,
            "/usr/bin/prlimit",
            [
                f"--nproc={settings.processes}",
                f"--fsize={settings.disk_mb * 1_000_000}",
                "--core=0",
                "/bin/sh",
                "-c",
                attack.script,
            ],
            disk_bytes=settings.disk_mb * 1_000_000,
            user_id=settings.user_id,
        )
        yield _try(attack, argv)


def _try(attack: Attack, argv: list[str]) -> Held:
    try:
        done = subprocess.run(
            argv, capture_output=True, text=True, timeout=ATTACK_S, check=False, errors="replace"
        )
    except subprocess.TimeoutExpired:
        return Held(attack.name, True, f"did not come through in {ATTACK_S:g} s")
    except OSError as error:
        return Held(attack.name, False, f"could not be tried: {error}")
    detail = (done.stderr.strip().splitlines() or ["refused"])[-1][:160]
    if done.returncode == 0:
        return Held(attack.name, False, "SUCCEEDED")
    return Held(attack.name, True, detail)


def existing(paths: Iterable[str]) -> tuple[str, ...]:
    """Return those of the paths that are there: to fail at reading nothing proves nothing."""
    found = []
    for path in paths:
        with contextlib.suppress(OSError):
            if path and os.access(Path(path).expanduser(), os.R_OK):
                found.append(str(Path(path).expanduser().resolve()))
    return tuple(dict.fromkeys(found))
