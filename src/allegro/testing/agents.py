"""Makes an environment that holds the stand-in for Hermes Agent, for `hermes.folder`.

The environment is bare: the interpreter, `hermes_cli/main.py` and the name of a version.
"""

from __future__ import annotations

import sys
import venv
from importlib import resources
from pathlib import Path

VERSIONS = {"0.19": "0.19.0", "new": "0.22.2"}


def make_stand_in(folder: Path, *, wire: str = "0.19") -> Path:
    """Make the environment and return its interpreter. `wire` is 0.19 or new."""
    version = VERSIONS[wire]
    venv.create(folder, with_pip=False, symlinks=True)
    python = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = folder / "lib" / python / "site-packages"
    program, named = packages / "hermes_cli", packages / f"hermes_agent-{version}.dist-info"
    program.mkdir(parents=True)
    named.mkdir()
    first = f"import os\n\nos.environ.setdefault('HERMES_STAND_IN_WIRE', {wire!r})\n"
    (program / "__init__.py").write_text(first)
    for name in ("main.py", "agent.py", "http.py"):
        source = resources.files("allegro.testing.stand_in").joinpath(name).read_bytes()
        (program / name).write_bytes(source)
    metadata = f"Metadata-Version: 2.1\nName: hermes-agent\nVersion: {version}\n"
    (named / "METADATA").write_text(metadata)
    return folder / "bin" / "python"
