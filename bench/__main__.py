"""`python -m bench`: measures, prints one table, keeps the run in bench/results/."""

from __future__ import annotations

import argparse
import asyncio
import datetime
import json
import os
import platform
import shutil
import sqlite3
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console

from bench.nats_server import binary
from bench.report import show, targets
from bench.sections import SECTIONS, Size

RESULTS = Path(__file__).parent / "results"
SCHEMA = "allegro.bench/1"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="less than a minute, one round")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the whole run here too")
    parser.add_argument("--only", choices=list(SECTIONS), action="append", help="may be repeated")
    return parser.parse_args()


def _machine(folder: Path) -> dict[str, Any]:
    cpus = os.cpu_count() or 1
    return {
        "class": f"{cpus} cores, load {os.getloadavg()[0]:.1f} at the start",
        "cpus": cpus,
        "load": os.getloadavg()[0],
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "free_gb": shutil.disk_usage(folder).free / 1e9,
    }


async def _run(size: Size, only: list[str], folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = {
        "schema": SCHEMA,
        "at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "quick": size.quick,
        "machine": _machine(folder),
    }
    began_s = time.monotonic()
    for name in only:
        sys.stderr.write(f"{time.monotonic() - began_s:5.0f} s  {name} ...\n")
        at = folder / name
        at.mkdir()
        found[name] = await SECTIONS[name](at, size)
        shutil.rmtree(at)
    found["took_s"] = time.monotonic() - began_s
    found["targets"] = [target.row() for target in targets(found)]
    return found


def main() -> None:
    arguments = _arguments()
    if binary() is None:
        sys.stderr.write("no nats-server (`make bench` installs it): measured without it\n")
    with tempfile.TemporaryDirectory(prefix="allegro-bench-") as folder:
        found = asyncio.run(
            _run(Size(quick=arguments.quick), arguments.only or list(SECTIONS), Path(folder))
        )
    text = json.dumps(found, indent=1) + "\n"
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"bench-{found['at'].replace(':', '')}.json").write_text(text)
    if arguments.json is not None:
        arguments.json.write_text(text)
    console = Console(width=None if sys.stdout.isatty() else 140)
    show(found, console)
    console.print(f"took {found['took_s']:.0f} s")


if __name__ == "__main__":
    main()
