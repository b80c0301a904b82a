"""The forge that the demo plays on, simulated or real, and what a run made there."""

from __future__ import annotations

from pathlib import Path

import msgspec

from allegro.core.base.errors import UserError
from allegro.scratch.forge_users import People

MADE_FILE = "made.json"


class RealForge(msgspec.Struct, frozen=True):
    """A forge that is there already, with three tokens."""

    url: str
    owner_token: str
    daily_token: str
    change_token: str


def remember(folder: Path, url: str, repository: str) -> None:
    """Note what this run made, so that --remove removes that and nothing else."""
    (folder / MADE_FILE).write_bytes(msgspec.json.encode({"url": url, "repository": repository}))


async def remove(folder: Path, owner_token: str) -> str:
    """Remove the scratch repository a kept run made. Raises UserError."""
    try:
        made = msgspec.json.decode((folder / MADE_FILE).read_bytes())
    except (OSError, msgspec.DecodeError) as error:
        raise UserError(f"{folder} holds no kept run: {error}") from error
    people = People(made["url"], owner_token)
    try:
        await people.remove_repository(made["repository"])
    finally:
        await people.aclose()
    return str(made["repository"])


def world() -> dict[str, object]:
    """Return the users and tokens of the simulated forge; the repository is made by its owner."""
    daily = ["write:issue", "read:repository", "read:user", "read:organization"]
    change = ["write:repository", "write:issue", "read:user", "read:organization"]
    return {
        "users": [{"login": login} for login in ("timmy", "allegro", "allegro-change")],
        "tokens": [
            {"user": "timmy", "name": "owner", "scopes": ["all"]},
            {"user": "allegro", "name": "daily", "scopes": daily},
            {"user": "allegro-change", "name": "change", "scopes": change},
        ],
    }
