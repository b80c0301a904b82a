"""The one table of a run: what was measured, the target beside it, met or missed."""

from __future__ import annotations

from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

Found = dict[str, Any]


class Target(msgspec.Struct, frozen=True):
    """A figure with its limit. `at_least` says on which side of the limit is good."""

    name: str
    limit: float
    unit: str
    value: float
    at_least: bool = False

    @property
    def met(self) -> bool:
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    def row(self) -> dict[str, Any]:
        return {**msgspec.structs.asdict(self), "met": self.met}


def targets(found: Found) -> list[Target]:
    """Return the targets that this run measured."""
    out: list[Target] = []
    if "calls" in found:
        ours, bare = (found["calls"][name] for name in ("cause_to_request_ms", "bare_request_ms"))
        out.append(Target("P0 to its request at Telegram, p99", 2_000, "ms", ours["p99"]))
        added = ours["p50"] - bare["p50"]
        out.append(Target("of it by storing it before, median", 50, "ms", added))
    if "lag" in found:
        p99 = found["lag"]["ms"]["1000"]["allegro"]["p99"]
        out.append(Target("lag p99 at 1000/s, sealed", 10, "ms", p99))
    if "ingest" in found:
        per_s = found["ingest"]["ingest_per_s"]["allegro, batches of 500"]
        out.append(Target("journal in, batches of 500", 100_000, "/s", per_s, at_least=True))
        per_s = found["ingest"]["catch_up_per_s"]["allegro"]
        out.append(Target("catch-up of a backlog", 150_000, "/s", per_s, at_least=True))
    if "catchup" in found and found["catchup"]["large"]["events"] == 1_000_000:
        out.append(Target("backlog of 1 M home", 10, "s", found["catchup"]["large"]["took_s"]))
    if "programs" in found:
        out += _program_targets(found["programs"])
    if "sessions" in found:
        out += _session_targets(found["sessions"])
    return out


def _session_targets(figures: Found) -> list[Target]:
    out = [
        Target(f"agent {what} to archive, p99, alone", 25, "ms", figures["alone"][what]["p99"])
        for what in ("text", "tools")
    ]
    out.append(
        Target("agent text to archive, p99, another starts", 60, "ms",
               figures["starting"]["text"]["p99"])
    )  # fmt: skip
    out.append(Target("model proxy, median added", 2, "ms", figures["proxy_ms"]["overhead"]))
    if "hundred" in figures:
        done = figures["hundred"]["completed"]
        out.append(Target("sessions whole of 100", 100, "", done, at_least=True))
        grown = figures["hundred"]["rss_mb_after"] - figures["hundred"]["rss_mb_before"]
        out.append(Target("lane memory grown by 100 sessions", 10, "MB", grown))
    return out


def _program_targets(figures: Found) -> list[Target]:
    out: list[Target] = []
    idle = figures["idle"]
    for role in ("lane", "house"):
        woken = idle["loop_wake_ups_per_s"][role]
        out += [
            Target(f"{role} ready", 1, "s", figures["ready_s"][role]),
            Target(f"{role} idle memory", 80, "MB", idle["rss_mb"][role]),
            Target(f"{role} idle wake-ups of the event loop", 1, "/s", woken),
        ]
    without, read = figures["chat"]["without"], figures["chat"]["with"]
    out += [
        Target("lane memory added by a chat", 4, "MB", read["rss_mb"] - without["rss_mb"]),
        Target("lane idle CPU added by a chat", 2, "ms/s",
               read["cpu_ms_per_s"] - without["cpu_ms_per_s"]),
    ]  # fmt: skip
    for watch, requests in figures["requests_per_cycle"].items():
        out.append(Target(f"forge requests an idle cycle, {watch}", 2, "", requests))
    return out


def show(found: Found, console: Console) -> None:
    """Print the run as one table."""
    table = Table(title=f"allegro bench · {found['machine']['class']}", title_justify="left")
    for column in ("what", "measured", "beside it", "target", ""):
        table.add_column(column, justify="right" if column == "measured" else "left")
    _lag(found, table)
    _flow(found, table)
    _programs(found, table)
    _sessions(found, table)
    table.add_section()
    for target in found["targets"]:
        sign = "≥" if target["at_least"] else "≤"
        table.add_row(
            target["name"], _figure(target["value"], target["unit"]), "",
            f"{sign} {_figure(target['limit'], target['unit'])}",
            "met" if target["met"] else "MISSED",
        )  # fmt: skip
    console.print(table)


def _lag(found: Found, table: Table) -> None:
    if "lag" not in found:
        return
    fsync = found["lag"]["fsync"]
    table.add_row(
        "500 bytes and fsync, one after the other", f"{fsync['per_s']:,.0f} /s", _spread(fsync)
    )
    for rate, systems in found["lag"]["ms"].items():
        table.add_section()
        own = systems["allegro"]["p50"]
        for name, one in systems.items():
            beside = f"{_spread(one)}  × {one['p50'] / own:.2f}"
            table.add_row(f"lag at {rate}/s: {name}", f"{one['p50']:.2f} ms", beside)


def _flow(found: Found, table: Table) -> None:
    if "ingest" in found:
        for key, word in (
            ("ingest_per_s", "in"),
            ("catch_up_per_s", f"catch-up of {found['ingest']['backlog']:,}"),
        ):
            table.add_section()
            figures = found["ingest"][key]
            own = [per_s for name, per_s in figures.items() if name.startswith("allegro")][-1]
            for name, per_s in figures.items():
                table.add_row(f"{word}: {name}", f"{per_s:,.0f} /s", f"× {per_s / own:.2f}")
    if "catchup" in found:
        large = found["catchup"]["large"]
        table.add_row(
            f"backlog of {large['events']:,}", f"{large['took_s']:.1f} s",
            f"{large['per_s']:,.0f} /s; in at {large['ingest_per_s']:,.0f} /s",
        )  # fmt: skip


def _programs(found: Found, table: Table) -> None:
    if "programs" not in found:
        return
    table.add_section()
    figures = found["programs"]
    idle, after = figures["idle"], figures["after"]
    for role in ("lane", "house"):
        table.add_row(
            f"{role}: memory after {after['events']:,}", f"{after['rss_mb'][role]:.0f} MB",
            f"idle {idle['rss_mb'][role]:.0f} MB",
        )  # fmt: skip
        table.add_row(
            f"{role}: switches of all threads",
            f"{idle['wake_ups_per_s'][role]:.1f} /s",
            f"event loop {idle['loop_wake_ups_per_s'][role]:.1f} /s",
        )
    table.add_row(
        f"both programs: {after['events']:,} home from a cold start", f"{after['took_s']:.1f} s"
    )


def _spread(one: dict[str, float]) -> str:
    return "p50 {p50:.2f}  p95 {p95:.2f}  p99 {p99:.2f}  max {max:.1f}".format(**one)


def _figure(value: float, unit: str) -> str:
    number = f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
    return f"{number} {unit}".strip()


def _sessions(found: Found, table: Table) -> None:
    figures = found.get("sessions")
    if figures is None:
        return
    table.add_section()
    bare = figures["bare"]["text"]
    for name, what in (("alone", "text"), ("alone", "tools"), ("two", "text"), ("two", "tools"),
                       ("starting", "text")):  # fmt: skip
        lag = figures[name][what]
        beside = ""
        if what == "text" and bare["p50"]:
            beside = f"bare SSE client p50 {bare['p50']:.2f}, x{lag['p50'] / bare['p50']:.1f}"
        shown = f"{lag['p50']:.1f} / {lag['p95']:.1f} / {lag['p99']:.1f} ms"
        table.add_row(
            f"session {name}, {what}: p50/p95/p99 ({figures['agent']})", shown, beside, "", ""
        )
    proxy = figures["proxy_ms"]
    beside = f"straight {proxy['straight']:.2f} ms"
    table.add_row("model call through the proxy", f"{proxy['proxy']:.2f} ms", beside, "", "")
    if "hundred" in figures:
        table.add_row(
            "100 sessions, two at a time", f"{figures['hundred']['took_s']} s", "", "", ""
        )
