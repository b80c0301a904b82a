"""A new family of actions costs one module and one line; what it may do, a row of the policy."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import allegro

ROOT = Path(__file__).parents[2]
SOURCES = Path(allegro.__file__).parent
PLANTED = Path(__file__).parent / "planted"
ACTIONS = "core/authority/actions"


def changed(path: Path, before: str, after: str) -> None:
    """Change exactly one place of a file."""
    text = path.read_text(encoding="utf-8")
    assert text.count(before) == 1, f"{path.name} holds {before!r} {text.count(before)} times"
    path.write_text(text.replace(before, after), encoding="utf-8")


def planted(folder: Path, needs: str | None) -> Path:
    """Copy the sources and add the family: its module, its line, and a row for its act if any."""
    copy = folder / "src" / "allegro"
    shutil.copytree(SOURCES, copy, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(PLANTED / "bell.py", copy / ACTIONS / "bell.py")
    registry = copy / ACTIONS / "families.py"
    changed(registry, "    AGENT,\n)", "    AGENT,\n    BELL,\n)")
    changed(
        registry,
        "from allegro.core.authority.actions.agent import AGENT\n",
        "from allegro.core.authority.actions.agent import AGENT\n"
        "from allegro.core.authority.actions.bell import BELL\n",
    )
    if needs is not None:
        row = f'    Row("bell", Needs.{needs}, kind="ring_bell"),\n    Row("thaw",'
        changed(copy / "core/authority/policy.py", '    Row("thaw",', row)
    return copy.parent


def rung(folder: Path, needs: str | None, *, carried: bool = True) -> dict[str, Any]:
    """Let a bell be rung by the changed copy, in a process of its own."""
    sources = planted(folder, needs)
    (folder / "run").mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "tests.duties.planted.ring", str(folder / "run"),
         "carried" if carried else "not"],
        env={**os.environ, "PYTHONPATH": f"{sources}{os.pathsep}{ROOT}"},
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])  # before it, logs
    return found


def test_a_new_family_is_asked_for_shown_approved_ordered_and_carried_out(tmp_path: Path) -> None:
    found = rung(tmp_path, "APPROVAL")
    assert (found["asked"], found["state"]) == ("proposed", "ordered")
    assert found["rung"] == ["north"]
    assert found["target"] == "bell:north"
    assert found["rejecting"] == ["the bell stays silent"]
    assert '"tower":"north"' in found["shown"]  # nothing is signed unseen


@pytest.mark.parametrize(
    ("needs", "carried", "why"),
    [
        (None, True, "not_orderable"),  # the policy table alone says what may be done
        ("NEVER", True, "not_orderable"),
        ("ORDER", False, "no_carrier"),
    ],
)
def test_an_act_without_a_row_of_the_policy_or_without_a_carrier_is_refused(
    tmp_path: Path, needs: str | None, carried: bool, why: str
) -> None:
    found = rung(tmp_path, needs, carried=carried)
    assert found["rung"] == []
    assert [why in detail for detail in found["refused"]] == [True]
