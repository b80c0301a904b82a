"""`python -m bench.compare REV`: this checkout against another commit, pair after pair.

Both run in turn on the same machine in the same minutes, each with its own code and its own
`bench` package, so what disturbs one disturbs the other. Printed are the medians of the ratios,
above 1 where this checkout is better, and the lowest and highest of all pairs.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parent.parent
LIMIT = 16 * 1024 * 1024
# Runs inside the other checkout, which may not have this module: only `bench.pair` is needed.
DRIVER = """
import asyncio, json, pathlib, sys
from bench.pair import pair

async def measure(ours, count, seconds):
    per_s = await ours.ingest(count, 500)
    took_s = await ours.catch_up(await ours.head())
    singles = await ours.singles(count // 5)
    await ours.catch_up(await ours.head())
    await ours.link()
    await ours.lag(1000, 0.3)
    lag = await ours.lag(1000, seconds)
    await ours.unlink()
    return {"ingest": per_s, "singles": singles, "catch-up": count / took_s,
            "lag p50": lag["p50"], "lag p99": lag["p99"]}

async def main():
    async with pair(pathlib.Path(sys.argv[1])) as ours:
        while line := await asyncio.to_thread(sys.stdin.readline):
            print(json.dumps(await measure(ours, *json.loads(line))), flush=True)

asyncio.run(main())
"""


@contextlib.contextmanager
def checkout(revision: str, folder: Path) -> Any:
    """Check a revision out beside this one; return its folder."""
    at = folder / "other"
    git = ["git", "-C", str(ROOT), "worktree"]
    subprocess.run([*git, "add", "-q", "--detach", "--force", str(at), revision], check=True)
    try:
        yield at
    finally:
        subprocess.run([*git, "remove", "--force", str(at)], check=True)


@contextlib.asynccontextmanager
async def driver(tree: Path, folder: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """Start the driver with the code of one checkout."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", DRIVER, str(folder), limit=LIMIT, cwd=tree,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": f"{tree / 'src'}{os.pathsep}{tree}"},
    )  # fmt: skip
    assert process.stdin is not None
    try:
        yield process
    finally:
        process.stdin.close()
        await process.wait()


async def once(process: asyncio.subprocess.Process, count: int, seconds: float) -> dict[str, float]:
    """Measure one revision once."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps([count, seconds]).encode() + b"\n")
    line = await process.stdout.readline()
    if not line:
        raise SystemExit("one side died; see above")
    return dict(json.loads(line))


async def compare(other: Path, folder: Path, pairs: int, count: int, seconds: float) -> Any:
    """Return the ratios of all pairs, by what was measured; above 1 where this one is better."""
    ratios: dict[str, list[float]] = {}
    figures: dict[str, list[tuple[float, float]]] = {}
    async with driver(ROOT, folder / "a") as ours, driver(other, folder / "b") as theirs:
        await once(ours, count // 5, 0.3)
        await once(theirs, count // 5, 0.3)
        for n in range(pairs):
            order = (ours, theirs) if n % 2 == 0 else (theirs, ours)
            found = {process: await once(process, count, seconds) for process in order}
            for name, value in found[ours].items():
                base = found[theirs][name]
                ratios.setdefault(name, []).append(
                    base / value if name.startswith("lag") else value / base
                )
                figures.setdefault(name, []).append((value, base))
            so_far = ", ".join(f"{name} {all_[-1]:.2f}" for name, all_ in ratios.items())
            sys.stderr.write(f"pair {n + 1} of {pairs}: {so_far}\n")
    return ratios, figures


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.compare", description=__doc__)
    parser.add_argument("revision")
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--events", type=int, default=50_000)
    parser.add_argument("--seconds", type=float, default=3.0, help="of lag at 1000 events a second")
    said = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="allegro-compare-") as name,
        checkout(said.revision, Path(name)) as other,
    ):
        ratios, figures = asyncio.run(
            compare(other, Path(name), said.pairs, said.events, said.seconds)
        )
    table = Table(title=f"this checkout to {said.revision}, {said.pairs} pairs")
    for column in ("", "here", said.revision, "ratio", "lowest", "highest"):
        table.add_column(column, justify="right")
    for name, all_ in ratios.items():
        here, there = (statistics.median(side) for side in zip(*figures[name], strict=True))
        table.add_row(
            name, f"{here:,.2f}", f"{there:,.2f}", f"{statistics.median(all_):.2f}",
            f"{min(all_):.2f}", f"{max(all_):.2f}",
        )  # fmt: skip
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
