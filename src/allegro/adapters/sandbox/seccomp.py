"""System calls that no tool needs and a sandbox must not offer: a classic BPF filter (seccomp(2)).

Memory that no process maps (memfd, System V) would escape the memory limit; the rest reaches
other processes, the kernel's keys, or new namespaces.
"""

from __future__ import annotations

import platform
import struct

_LOAD, _JUMP_EQUAL, _JUMP_ABOVE, _RETURN = 0x20, 0x15, 0x35, 0x06
_NUMBER_AT, _ARCHITECTURE_AT = 0, 4
_ALLOW, _REFUSE, _KILL = 0x7FFF_0000, 0x0005_0000 | 1, 0x8000_0000
_X32 = 0x4000_0000
REFUSED = (
    "memfd_create", "memfd_secret", "shmget", "msgget", "ptrace", "process_vm_readv",
    "process_vm_writev", "io_uring_setup", "userfaultfd", "keyctl", "add_key", "request_key",
    "bpf", "perf_event_open", "mount", "umount2", "pivot_root", "unshare", "setns",
    "open_by_handle_at", "kexec_load", "init_module", "finit_module",
)  # fmt: skip
_NUMBERS = {
    "x86_64": (0xC000_003E, (319, 447, 29, 68, 101, 310, 311, 425, 323, 250, 248, 249, 321, 298,
                             165, 166, 155, 272, 308, 304, 246, 175, 313)),
    "aarch64": (0xC000_00B7, (279, 447, 194, 186, 117, 270, 271, 425, 282, 219, 217, 218, 280,
                              241, 40, 39, 41, 97, 268, 265, 104, 105, 273)),
}  # fmt: skip


def program(machine: str = "") -> bytes:
    """Return the filter for this kind of machine, empty where its numbers are not known.

    Refused calls fail with EPERM; calls of another architecture end the process.
    """
    known = _NUMBERS.get(machine or platform.machine())
    if known is None:
        return b""
    architecture, numbers = known
    lines = [
        (_LOAD, 0, 0, _ARCHITECTURE_AT), (_JUMP_EQUAL, 1, 0, architecture), (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER_AT), (_JUMP_ABOVE, len(numbers) + 1, 0, _X32),
    ]  # fmt: skip
    lines += [(_JUMP_EQUAL, len(numbers) - at, 0, number) for at, number in enumerate(numbers)]
    lines += [(_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _REFUSE)]
    return b"".join(struct.pack("<HBBI", *line) for line in lines)
