"""The command line. Every command has --json; exit codes are those of the runbook."""

from __future__ import annotations

from allegro.cli.main import main

__all__ = ["main"]
