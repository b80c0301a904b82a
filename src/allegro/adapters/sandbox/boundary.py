"""The sandbox around the agent and its tools: which one this host offers, and its command line.

Invariant: a process inside has its own process, network, IPC and host-name namespaces (and a cgroup
namespace where the kernel has them), no capability, no way to gain privileges, an empty environment
but for four variables, and no route to any network: its only interface is its own loopback. It sees
the host's programs (`_SYSTEM`), the folders, sockets and files that are named in the call, all
read-only, and nothing else of the host; no file of the lane. It can write only to memory file
systems of limited size. The way out are the sockets in `DOORS`, which the lane owns.

Order: bubblewrap carries out mount options in the order they stand, so the order of this list is
part of the boundary: host folders, then the memory file systems, then what is shown and handed in,
and last the root and the agent's plugins are made read-only. bubblewrap drops all capabilities
before the program starts. Where the lane is root two of them stay, until `setpriv` has changed to
the agent's own user id; they go with that change.

Must never happen: a writable place that is a plain folder (a tool could rename the folder that
holds the agent's settings and put its own there; a mount cannot be renamed); something of the host
inside that neither `_SYSTEM` nor the call names, such as the lane's state; an environment variable
of the lane inside; a start that falls back to no sandbox: `find_sandbox` tries the real thing once,
and where it fails the agent gets no tools at all.

Not promised: protection from a fault of the kernel. Limits on memory, processes and file sizes are
set by `inside.py` and the lane, and system calls are refused by the filter of `seccomp.py`, where
this machine's numbers are known (x86-64, arm64); this module only hands it on.

Sources: docs/adr/0017-the-sandbox-is-bubblewrap.md, docs/adr/0016-a-gateway-serves-one-session.md;
the manual pages bwrap(1), namespaces(7), user_namespaces(7), capabilities(7), seccomp(2) and
prctl(2) (PR_SET_NO_NEW_PRIVS). `allegro doctor --attack` tries to break out on the machine at hand.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

HOME = "/home/agent"
HERMES_HOME = HOME + "/.hermes"
PLUGINS = HERMES_HOME + "/plugins"
DOORS = "/doors"
INSIDE = "/inside.py"
PROBE_S = 10.0
PLUGINS_BYTES = 1 << 20
_SYSTEM = ("/usr", "/etc/ssl", "/etc/ca-certificates", "/etc/localtime", "/etc/alternatives")
_LINKS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_USERS = "agent:x:{id}:{id}::/home/agent:/bin/sh\nnobody:x:65534:65534::/:/usr/sbin/nologin\n"
_UNSHARE = (
    "--unshare-ipc",
    "--unshare-pid",
    "--unshare-net",
    "--unshare-uts",
    "--unshare-cgroup-try",
)


class Handed(msgspec.Struct, frozen=True):
    """A file given to the sandbox through a descriptor: content at a path, read-only."""

    path: str
    content: bytes


class Sandbox(msgspec.Struct, frozen=True):
    """What this host can do. `kind` is bubblewrap or none; `reason` says why none."""

    kind: str
    reason: str = ""
    own_user: bool = False

    @property
    def holds(self) -> bool:
        return self.kind != "none"


def find_sandbox(wanted: str) -> Sandbox:
    """Try what is wanted for real, once, and say what this host offers.

    `wanted` is the setting `hermes.sandbox`: `none`, or anything else for bubblewrap. Blocks for up
    to `PROBE_S` seconds and never raises: what is missing is the `reason`.
    """
    if wanted == "none":
        return Sandbox("none", "hermes.sandbox is none")
    if sys.platform != "linux":
        return Sandbox("none", "bubblewrap is for Linux")
    program = shutil.which("bwrap")
    if program is None:
        return Sandbox("none", "bubblewrap is not installed: apt install bubblewrap")
    as_root = os.geteuid() == 0
    argv = command([program], (), (), "/usr/bin/true", (), disk_bytes=1 << 20, user_id=64_200)
    try:
        done = subprocess.run(argv, capture_output=True, timeout=PROBE_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Sandbox("none", f"bubblewrap cannot be run: {error}")
    if done.returncode:
        detail = done.stderr.decode("utf-8", "replace").strip()[-300:]
        return Sandbox("none", f"bubblewrap makes no sandbox here: {detail}")
    return Sandbox("bubblewrap", own_user=as_root)


def command(
    program: Sequence[str],
    handed: Sequence[tuple[int, str]],
    shown: Sequence[tuple[str, str]],
    run: str,
    arguments: Sequence[str],
    *,
    disk_bytes: int,
    user_id: int,
    filter_fd: int | None = None,
) -> list[str]:
    """Return the bubblewrap command line.

    `program` is bubblewrap's own argv, `handed` are (descriptor, path) of files given read-only,
    `shown` are (source, path) of folders and sockets shown read-only, `run` is the program inside
    with its `arguments`. `disk_bytes` limits each of the three memory file systems (not their
    sum). `filter_fd` is a descriptor that holds a seccomp program, None for no filter. Where the
    lane is root, the agent gets the host's user id `user_id`, which no other process may have;
    else it is the lane's user in a user namespace, shown there as `user_id`.
    """
    argv = [*program, *_UNSHARE, "--die-with-parent", "--new-session", "--clearenv"]
    as_root = os.geteuid() == 0
    if not as_root:
        argv += ["--unshare-user", "--uid", str(user_id), "--gid", str(user_id)]
    argv += [*_system(), *_own_places(disk_bytes)]
    for folder in sorted({str(p) for _, path in shown for p in Path(path).parents} - {"/"}):
        if not folder.startswith(("/usr", "/home", DOORS)):
            argv += ["--perms", "0755", "--dir", folder]
    for source, path in shown:
        argv += ["--ro-bind", source, path]
    for descriptor, path in handed:
        argv += ["--perms", "0444", "--ro-bind-data", str(descriptor), path]
    argv += ["--remount-ro", PLUGINS, "--remount-ro", "/"]
    if filter_fd is not None:
        argv += ["--seccomp", str(filter_fd)]
    for name, value in (
        ("HOME", HOME),
        ("PATH", "/usr/local/bin:/usr/bin:/bin"),
        ("LANG", "C.UTF-8"),
        ("HERMES_HOME", HERMES_HOME),
    ):
        argv += ["--setenv", name, value]
    argv += ["--chdir", HOME, "--cap-drop", "ALL"]
    if as_root:
        argv += [
            "--cap-add",
            "CAP_SETUID",
            "--cap-add",
            "CAP_SETGID",
            "setpriv",
            "--reuid",
            str(user_id),
            "--regid",
            str(user_id),
            "--clear-groups",
            "--inh-caps=-all",
            "--no-new-privs",
        ]
    return [*argv, run, *arguments]


def _system() -> list[str]:
    """Return what shows the host's programs, and nothing else of it, read-only."""
    argv = ["--perms", "0755", "--dir", "/etc"]
    for folder in _SYSTEM:
        argv += ["--ro-bind-try", folder, folder]
    for name in _LINKS:
        link = Path("/") / name
        if link.is_symlink():
            argv += ["--symlink", str(link.readlink()), f"/{name}"]
        elif link.is_dir():
            argv += ["--ro-bind", f"/{name}", f"/{name}"]
    return [*argv, "--proc", "/proc", "--dev", "/dev", "--remount-ro", "/dev"]


def _own_places(disk_bytes: int) -> list[str]:
    """Return what the agent may write: memory file systems of limited size, each a mount.

    A mount cannot be renamed. Were these plain folders, a tool could move the one that holds the
    agent's settings away and put its own in its place.
    """
    argv = []
    for folder in ("/tmp", HOME, HERMES_HOME):  # noqa: S108
        argv += ["--perms", "1777", "--size", str(disk_bytes), "--tmpfs", folder]
    argv += ["--perms", "0755", "--size", str(PLUGINS_BYTES), "--tmpfs", PLUGINS]
    return [*argv, "--perms", "0755", "--dir", DOORS]


def passwd(user_id: int) -> bytes:
    """Return the user list of a sandbox."""
    return _USERS.format(id=user_id).encode()


def python_roots(python: Path) -> tuple[str, ...]:
    """Return the folders that an interpreter needs: its environment and its installation.

    The installation is found by following the interpreter's link.
    """
    environment = python.parent.parent
    real = python.resolve().parent.parent
    roots = {str(environment)}
    if not str(real).startswith("/usr"):
        roots.add(str(real))
    return tuple(sorted(roots))
