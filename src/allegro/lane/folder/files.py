"""Where a lane keeps what: the files of its state folder."""

from __future__ import annotations

from pathlib import Path

import msgspec


class LaneFiles(msgspec.Struct, frozen=True):
    """The names of everything in a lane's state folder."""

    folder: Path

    @property
    def key(self) -> Path:
        return self.folder / "lane.key"

    @property
    def trust(self) -> Path:
        return self.folder / "trust.json"

    @property
    def paired(self) -> Path:
        return self.folder / "paired.json"

    @property
    def freezes(self) -> Path:
        return self.folder / "freezes.json"

    @property
    def journal(self) -> Path:
        return self.folder / "journal.db"

    @property
    def sessions(self) -> Path:
        return self.folder / "sessions.json"

    @property
    def spend(self) -> Path:
        return self.folder / "spend.json"

    @property
    def epochs(self) -> Path:
        return self.folder / "epochs.json"

    @property
    def written(self) -> Path:
        return self.folder / "written.json"

    @property
    def chat(self) -> Path:
        return self.folder / "chat.json"

    @property
    def muted(self) -> Path:
        return self.folder / "muted.json"

    @property
    def alerts(self) -> Path:
        return self.folder / "alerts.json"

    @property
    def statement(self) -> Path:
        return self.folder / "statement.json"

    @property
    def council(self) -> Path:
        return self.folder / "council"

    @property
    def crashes(self) -> Path:
        return self.folder / "crashes.json"

    @property
    def tallies(self) -> Path:
        return self.folder / "tallies.json"

    @property
    def duties(self) -> Path:
        return self.folder / "duties.json"

    @property
    def certificate(self) -> Path:
        return self.folder / "link.crt"

    @property
    def certificate_key(self) -> Path:
        return self.folder / "link.key"
