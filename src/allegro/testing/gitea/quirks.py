"""What differs between Gitea, Forgejo and their releases, in one table."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Flavour = Literal["gitea", "forgejo"]

DEFAULT_VERSIONS: dict[Flavour, str] = {"gitea": "1.27.0", "forgejo": "14.0.0+gitea-1.22.0"}


@dataclass(frozen=True, slots=True)
class Quirks:
    """One server's habits. `release` is its own release number, not the compatibility number."""

    flavour: Flavour
    version: str
    release: tuple[int, int]

    @property
    def forgejo(self) -> bool:
        return self.flavour == "forgejo"

    def _forgejo_since(self, major: int) -> bool:
        return self.forgejo and self.release >= (major, 0)

    def _gitea_since(self, major: int, minor: int) -> bool:
        return not self.forgejo and self.release >= (major, minor)

    @property
    def moved_status(self) -> int:
        """The redirect of a renamed repository."""
        return 301 if self._gitea_since(1, 23) or self._forgejo_since(12) else 307

    @property
    def missing_issue_status(self) -> int:
        """What the comment and timeline routes say of an issue that does not exist."""
        return 404 if self.forgejo and self.release >= (11, 0) else 500

    @property
    def wrong_sha_status(self) -> int:
        """A wrong blob id; Forgejo 12 was seen to say 422 still."""
        return 409 if self._forgejo_since(13) else 422

    @property
    def sha_compulsory(self) -> bool:
        """Whether update and delete in a multi-file commit must name the old blob.

        Forgejo 12 was seen to overwrite without.
        """
        return self._forgejo_since(13)

    @property
    def accepts_label_names(self) -> bool:
        return self.forgejo or self._gitea_since(1, 23)

    @property
    def deletes_label_by_name(self) -> bool:
        return self.forgejo and self.release >= (13, 0)

    @property
    def has_content_version(self) -> bool:
        return self._gitea_since(1, 26)

    @property
    def has_projects(self) -> bool:
        return self._gitea_since(1, 27)

    @property
    def has_token_endpoint(self) -> bool:
        return self._gitea_since(1, 27)

    @property
    def has_assignee_endpoints(self) -> bool:
        return self._gitea_since(1, 27)

    @property
    def has_lock(self) -> bool:
        return self._gitea_since(1, 24)

    @property
    def has_branch_move(self) -> bool:
        return self._gitea_since(1, 26)

    @property
    def has_force_push(self) -> bool:
        return self._gitea_since(1, 26)

    @property
    def put_creates(self) -> bool:
        """PUT contents without a sha creates the file."""
        return self._gitea_since(1, 26)

    @property
    def has_draft(self) -> bool:
        return self.forgejo or self._gitea_since(1, 22)

    @property
    def has_pull_by_branches(self) -> bool:
        return self.forgejo or self._gitea_since(1, 22)

    @property
    def reaction_delete_status(self) -> int:
        return 204 if self._gitea_since(1, 26) else 200

    @property
    def reads_lower_case_do(self) -> bool:
        return self._gitea_since(1, 26)

    @property
    def errors_on_404(self) -> bool:
        """Whether a 404 body carries an empty `errors` list."""
        return self.forgejo or self.release <= (1, 26)

    @property
    def heads_every_get(self) -> bool:
        return self._gitea_since(1, 27)

    @property
    def sends_issue_deleted(self) -> bool:
        return self._gitea_since(1, 25)

    @property
    def names_hook_target(self) -> bool:
        """Whether webhooks say if they belong to a repository or an organisation."""
        return self._gitea_since(1, 25)

    @property
    def token_from_token(self) -> bool:
        """Whether a token may make a token of equal or narrower scopes."""
        return self._gitea_since(1, 27)

    @property
    def sorts_issues(self) -> bool:
        """Whether the issue list has a `sort` parameter."""
        return self.forgejo and self.release >= (11, 0)

    @property
    def backdates_issues(self) -> bool:
        """Whether repository admins may set `updated_at` themselves."""
        return self.forgejo

    @property
    def skipped_status(self) -> bool:
        return self._gitea_since(1, 25)


def quirks_of(flavour: Flavour, version: str | None = None) -> Quirks:
    """Read a version string such as `1.27.0`, `28.1.0` or `16.0.0+gitea-1.22.0`.

    Gitea went from 1.27 on to 28 without the "1.": as numbers they compare rightly.

    Raises `ValueError` on a flavour or version that is none.
    """
    if flavour not in DEFAULT_VERSIONS:
        raise ValueError(f"unknown flavour {flavour!r}")
    text = DEFAULT_VERSIONS[flavour] if version is None else version
    match = re.match(r"(\d+)\.(\d+)", text)
    if match is None:
        raise ValueError(f"unreadable version {text!r}")
    return Quirks(flavour, text, (int(match[1]), int(match[2])))
