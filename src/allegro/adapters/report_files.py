"""Reports as files of the owner in one folder, each written whole."""

from __future__ import annotations

import re
from pathlib import Path

from allegro.adapters.files import write_whole
from allegro.core.base.errors import EdgeError

_NAME = re.compile(r"[0-9W-]{4,24}\.[a-z]{2,5}")


class ReportFiles:
    """The ReportStore port. A name is a date or week with an ending, such as `2026-11-28.md`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, name: str, text: str) -> None:
        """Replace a report. Raises EdgeError when the disk refuses."""
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            why = f"cannot make {self._folder.name}: {error}"
            raise EdgeError(why, transient=True, kind="disk") from error
        write_whole(self._folder / _named(name), text.encode("utf-8", "replace"))

    def read(self, name: str) -> str | None:
        """Return a report, None where there is none. Raises EdgeError when the disk refuses."""
        try:
            return (self._folder / _named(name)).read_text("utf-8")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeError) as error:
            raise EdgeError(f"cannot read {name}: {error}", transient=True, kind="disk") from error

    def names(self) -> list[str]:
        """Return the names of all reports, oldest first. Raises EdgeError when the disk refuses."""
        try:
            found = [path.name for path in self._folder.iterdir() if _NAME.fullmatch(path.name)]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise EdgeError(f"cannot list reports: {error}", transient=True, kind="disk") from error
        return sorted(found)


def _named(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise EdgeError(f"{name[:40]!r} names no report", transient=False, kind="not_found")
    return name
