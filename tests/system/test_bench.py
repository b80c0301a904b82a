"""The benchmarks run, and their record has what its readers look for."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.patience import patient

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(
    importlib.util.find_spec("nats") is None, reason="the other brokers come with `make bench`"
)
def test_a_quick_run_of_one_section_keeps_its_figures(tmp_path: Path) -> None:
    kept = tmp_path / "run.json"

    run = subprocess.run(
        [sys.executable, "-m", "bench", "--quick", "--only", "ingest", "--json", str(kept)],
        cwd=ROOT, capture_output=True, text=True, timeout=patient(100), check=False,
    )  # fmt: skip

    assert run.returncode == 0, run.stderr
    found = json.loads(kept.read_text())
    assert found["schema"] == "allegro.bench/1"
    assert found["ingest"]["ingest_per_s"]["allegro, batches of 500"] > 0
    assert found["ingest"]["catch_up_per_s"]["allegro"] > 0
    assert {target["name"] for target in found["targets"]} == {
        "journal in, batches of 500",
        "catch-up of a backlog",
    }
    assert "MISSED" in run.stdout or "met" in run.stdout
