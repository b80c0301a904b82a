"""Codes of what tells a person: channels, outbox, duties on a schedule, a silent house."""

from __future__ import annotations

from allegro.core.health.codes import runbook
from allegro.core.health.codes.code import P0, P1, P2, Code, Escalation, Way

HOUSE_SILENT = Code(
    "house.silent",
    "silent house",
    P1,
    fix="Wake the house's machine, then check its network; see house.expected in house.toml.",
    runbook=runbook.SILENT_HOUSE,
)
CHANNEL = Code(
    "channel.failing",
    "channel that does not deliver",
    P1,
    fix="Check the token, the recipient and the network of {subject}; messages wait meanwhile.",
    runbook=runbook.CHANNELS,
    depends_on="channel.all_failing",
)
CHANNELS = Code(
    "channel.all_failing",
    "channels, none of which delivers",
    P0,
    fix="Check the network of this machine, then each channel; messages wait meanwhile.",
    runbook=runbook.CHANNELS,
)
NO_CHANNEL = Code(
    "channel.none",
    "channels, none of which is configured",
    P2,
    fix="Configure a channel: until then nobody is called when something breaks.",
    runbook=runbook.CHANNELS,
)
OUTBOX = Code(
    "outbox.dropped",
    "messages given up for room",
    P1,
    fix="Repair the channels; read `allegro status` for what is wrong now.",
    runbook=runbook.CHANNELS,
)
CHAT_DEAF = Code(
    "chat.deaf",
    "chat that is not heard",
    P1,
    fix="Stop what else reads with the token of {subject}; check its token, allow-list and network.",
    runbook=runbook.CHAT,
    alert="lane {lane} does not hear the chat {subject}: {reason}",
    own_grace_s=5.0,
    own_escalation=Escalation(60.0, 4 * 3600.0, Way.FIRST),
)
CHAT_UNSAVED = Code(
    "chat.unsaved",
    "chat whose commands cannot be stored",
    P1,
    fix="Free space on the lane: until then a command may be answered twice after a restart.",
    runbook=runbook.FULL,
    depends_on="lane.disk",
)
ALERTS_UNSAVED = Code(
    "alerts.unsaved",
    "alerts that cannot be written down",
    P1,
    fix="Free space and leave the program running: what is in its memory is told all the same.",
    runbook=runbook.FULL,
)
ALERTS_DAMAGED = Code(
    "alerts.damaged",
    "memory of alerts",
    P2,
    fix="Acknowledge and snooze anew what still holds; nothing else is to be done.",
    runbook=runbook.CHANNELS,
)
DUTY_MISSED = Code(
    "duty.missed",
    "duty that did not run",
    P2,
    fix="See that the program which owns {subject} runs; it runs the duty once when it is back.",
    runbook=runbook.DUTIES,
)
DUTY_FAILED = Code(
    "duty.failed",
    "duty that failed",
    P2,
    fix="Read the result of {subject} in the log of the program that owns it.",
    runbook=runbook.DUTIES,
)
