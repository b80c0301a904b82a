"""Finds or makes the virtual environment that Hermes lives in, apart from ours."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

from allegro.core.base.errors import UserError
from allegro.core.effects.render import one_line
from allegro.core.settings import HermesSettings

PACKAGE = "hermes-agent[homeassistant]==0.19.0"  # the extra brings aiohttp, which its API needs
PIP_S = 900.0
LOOK_S = 30.0
MAX_VERSION = 80
_LOOK = """
import importlib.metadata as metadata, importlib.util as util, pathlib, re

def packages():
    yield "hermes-agent"
    for one in metadata.distributions():
        if any(str(f) == "hermes_cli/__init__.py" for f in one.files or ()):
            yield one.metadata["Name"]
        elif "hermes_cli" in (one.read_text("top_level.txt") or "").split():
            yield one.metadata["Name"]

def found():
    for name in packages():
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
        return version if name == "hermes-agent" else f"{version} ({name})"
    spec = util.find_spec("hermes_cli")
    if spec is None or not spec.origin:
        return ""
    text = pathlib.Path(spec.origin).read_text("utf-8", "replace")
    for name in ("__version__", "_FALLBACK_VERSION", "__release_date__"):
        said = re.search(rf"^{name}\\s*(?::[^=\\n]*)?=\\s*['\\"]([^'\\"\\n]+)", text, re.M)
        if said:
            return f"{said[1]} (checkout)"
    return "unknown version (checkout)"

print(found())
"""


def folder_of(settings: HermesSettings, state_dir: Path) -> Path:
    """Return where Hermes' environment is, or will be."""
    return Path(settings.folder).expanduser() if settings.folder else state_dir / "hermes"


def python_of(settings: HermesSettings, state_dir: Path) -> Path:
    """Return the interpreter of Hermes' environment; it may not be there yet."""
    return folder_of(settings, state_dir) / "bin" / "python"


def version_of(python: Path) -> str:
    """Return the version of Hermes in an environment, empty when there is none.

    A fork has another package name and a checkout has none: what provides the module `hermes_cli`
    is looked for, then what the module says of itself. No code of Hermes is executed.
    """
    try:
        done = subprocess.run(
            [str(python), "-I", "-c", _LOOK],
            capture_output=True,
            text=True,
            timeout=LOOK_S,
            check=False,
            errors="replace",
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    output = done.stdout.strip() if done.returncode == 0 else ""
    return one_line(output)[:MAX_VERSION]


def install(folder: Path) -> str:
    """Make the environment and put Hermes into it; return its version.

    Raises UserError with pip's last words when it cannot be had.
    """
    if not sys.version_info < (3, 14):
        raise UserError(f"{PACKAGE} needs Python 3.11 to 3.13; name another one in hermes.folder")
    venv.create(folder, with_pip=True, clear=False, symlinks=True)
    python = folder / "bin" / "python"
    try:
        done = subprocess.run(
            [
                str(python),
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                PACKAGE,
            ],
            capture_output=True,
            text=True,
            timeout=PIP_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise UserError(f"pip did not end within {PIP_S:g} s") from error
    if done.returncode:
        raise UserError(f"pip could not install {PACKAGE}: {done.stderr.strip()[-800:]}")
    return version_of(python)
