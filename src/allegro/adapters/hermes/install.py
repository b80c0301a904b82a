"""Finds or makes the virtual environment that Hermes lives in, apart from ours."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

from allegro.core.errors import ToldError
from allegro.core.settings import HermesSettings

PACKAGE = "hermes-agent[homeassistant]==0.19.0"  # the extra brings aiohttp, which its API needs
PIP_S = 900.0


def folder_of(settings: HermesSettings, state_dir: Path) -> Path:
    """Return where Hermes' environment is, or will be."""
    return Path(settings.folder).expanduser() if settings.folder else state_dir / "hermes"


def python_of(settings: HermesSettings, state_dir: Path) -> Path:
    """Return the interpreter of Hermes' environment; it may not be there yet."""
    return folder_of(settings, state_dir) / "bin" / "python"


def version_of(python: Path) -> str:
    """Return the version of Hermes in an environment, empty when there is none."""
    code = "import importlib.metadata as m; print(m.version('hermes-agent'))"
    try:
        done = subprocess.run(
            [str(python), "-I", "-c", code], capture_output=True, text=True, timeout=30, check=False
        )
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def install(folder: Path) -> str:
    """Make the environment and put Hermes into it; return its version.

    Raises ToldError with pip's last words when it cannot be had.
    """
    if not sys.version_info < (3, 14):
        raise ToldError("hermes-agent 0.19.0 needs Python 3.11 to 3.13")
    venv.create(folder, with_pip=True, clear=False, symlinks=True)
    python = folder / "bin" / "python"
    try:
        done = subprocess.run(
            [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", PACKAGE],
            capture_output=True, text=True, timeout=PIP_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise ToldError(f"pip did not end within {PIP_S:g} s") from error
    if done.returncode:
        raise ToldError(f"pip could not install {PACKAGE}: {done.stderr.strip()[-800:]}")
    return version_of(python)
