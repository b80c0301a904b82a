"""Where Gitea and Forgejo, old and new, differ: one table, and nothing else decides by version.

Each row names the answer or call that differs and what we do so that both work.
"""

from __future__ import annotations

import re

import msgspec


class Difference(msgspec.Struct, frozen=True):
    """One difference and how it is met."""

    what: str
    gitea: str
    forgejo: str
    met_by: str


DIFFERENCES: tuple[Difference, ...] = (
    Difference(
        "the version's number",
        '1.21 to 1.27, then 28.0 without the "1."',
        "7 to 16, with the Gitea it is compatible with behind `+gitea-`",
        "numbers are compared as they stand: 28.0 is newer than 1.27",
    ),
    Difference(
        "redirect of a renamed repository",
        "301 from 1.23, 307 before",
        "301 from 12, 307 before",
        "a write never follows one; it asks for the repository by id first",
    ),
    Difference(
        "comments of a missing issue",
        "500",
        "404 from 11",
        "the issue is read first; the comments of a missing one are never asked for",
    ),
    Difference(
        "wrong blob id in a change",
        "422",
        "409; 422 up to 12",
        "both mean: look again, and fail with the forge's own words if nothing is there",
    ),
    Difference(
        "pull request by base and head",
        "from 1.22",
        "from 7",
        "an older one's whole list of pull requests is read instead",
    ),
    Difference(
        "pull request whose branch was deleted",
        "`head.ref` is refs/pull/N/head, `head.label` keeps the name",
        "the same",
        "the name is read from `head.label`",
    ),
    Difference(
        "file under `filter=lfs`",
        "stored as a pointer",
        "stored as a pointer",
        "refused when asked, unless the forge says that it has no LFS",
    ),
    Difference(
        "comparing two commits",
        "from 1.22",
        "from 7",
        "without it a moved base cannot be told apart, which counts as moved",
    ),
    Difference(
        "the token tells its own scopes",
        "from 1.27",
        "never",
        "scopes are shown as unknown where the forge does not tell",
    ),
    Difference(
        "labels named on an issue",
        "by name from 1.23",
        "by id",
        "ids are sent everywhere",
    ),
    Difference(
        "labels list",
        "pages only when page is sent, before 1.27.4",
        "pages",
        "page is always sent",
    ),
    Difference(
        "repositories of an organisation",
        "paged first, filtered then: a short page is not the last",
        "the same",
        "read until the Link header names no next page, or a page is empty",
    ),
    Difference(
        "a token that is refused",
        "401 says nothing of it",
        "401 repeats it, from 16 on or before",
        "what we sent is taken out of every error",
    ),
    Difference(
        "webhook headers",
        "`X-Gitea-Signature`, `X-Gitea-Delivery`",
        "the same and `X-Forgejo-…`",
        "either is taken",
    ),
    Difference(
        "paths of new files in one commit",
        "sha left out",
        "sha left out; compulsory else from 13",
        "the blob id is sent for every update and delete",
    ),
)

_FORGEJO = re.compile(r"\+gitea-")
_NUMBER = re.compile(r"(\d{1,6})\.(\d{1,6})(?!\d)", re.ASCII)


def flavour_of(version: str) -> str:
    """Return gitea or forgejo from what /version says."""
    return "forgejo" if _FORGEJO.search(version) or "forgejo" in version.lower() else "gitea"


def tells_own_token(version: str) -> bool:
    """Say whether GET /token is there. Gitea's numbers go from 1.28 on to 28, without the "1."."""
    return flavour_of(version) == "gitea" and _number_of(version) >= (1, 27)


def finds_pull_by_branches(version: str) -> bool:
    """Say whether a pull request can be asked for by its base and head."""
    return _number_of(version) >= ((7, 0) if flavour_of(version) == "forgejo" else (1, 22))


def _number_of(version: str) -> tuple[int, int]:
    """Return the first two numbers of a version, (0, 0) where it has none."""
    found = _NUMBER.match(version)
    return (0, 0) if found is None else (int(found[1]), int(found[2]))


def render_table() -> str:
    """Return the table as Markdown for the documentation."""
    lines = ["| what | Gitea | Forgejo | met by |", "|---|---|---|---|"]
    lines += [f"| {d.what} | {d.gitea} | {d.forgejo} | {d.met_by} |" for d in DIFFERENCES]
    return "\n".join(lines) + "\n"
