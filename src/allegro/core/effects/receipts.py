"""What an effect is called at home: the name of its words, its address, its receipt.

House and lanes compute the same name for the same words, so that a poll's sight of an effect can
be compared with what was ordered and no lane is asked what its own words were.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from allegro.core.authority.actions.family import Action
from allegro.core.authority.actions.forge import (
    CloseIssue,
    CommentOnIssue,
    CreatePullRequest,
    MirrorRequest,
    ProposeChange,
    UpdateStatus,
    of_forge,
)
from allegro.core.base.canonical import keyed_hex
from allegro.core.effects.findings import Leaf, expected_before, expected_changes
from allegro.core.effects.matching import Receipt
from allegro.core.effects.render import effect_words
from allegro.core.forge.issues import STATUS_SCOPE
from allegro.core.protocol.answers.forge import sound_url
from allegro.core.requests.work import Work

_RECEIPT_KIND = {
    "comment": "comment",
    "mirror_request": "comment",
    "propose_change": "pull_request",
    "create_pr": "pull_request",
    "close_issue": "close",
}


def words_name(secret: bytes, text: str) -> str:
    """Name words without telling them: the same words give the same name in this fleet."""
    return keyed_hex(secret, "content", text.replace("\r\n", "\n").strip())[:40]


def content_of(action: Action, marker: str, secret: bytes) -> str:
    """Name the words of an action as a poll shows them; empty for an action without words."""
    words = effect_words(action, marker)
    return words_name(secret, words) if words else ""


def address_of(action: Action, artifact: int, said: str) -> str:
    """Return the address of an effect's page, from its ids where the forge's address is known.

    `said` is the lane's word: only its scheme is taken where it names the forge of the action;
    an address elsewhere (a forge may show itself under another name) is kept as the lane's word.
    """
    said = sound_url(said)
    scheme = said.partition(":")[0]
    forge = of_forge(action)
    root = f"{scheme}://{forge.forge}/"
    if not said.lower().startswith(root) or artifact < 1:
        return said
    page = f"{root}{forge.repository.name}"
    if isinstance(forge, ProposeChange | CreatePullRequest):
        return f"{page}/pulls/{artifact}"
    if isinstance(forge, CommentOnIssue | MirrorRequest):
        return f"{page}/issues/{forge.issue}#issuecomment-{artifact}"
    return f"{page}/issues/{forge.issue}"


def label_receipts(
    request: str, target: str, action: UpdateStatus, settled_s: float
) -> tuple[Receipt, ...]:
    """Return what covers the label of a status. Its artifact is when it was settled (Unix s):
    who sets the same label later was not ordered to."""
    return (Receipt("label", target, int(settled_s), STATUS_SCOPE + action.status, request),)


def branch_receipts(
    request: str, target: str, action: ProposeChange, branch: str, commit: str
) -> tuple[Receipt, ...]:
    """Return what covers the branch of a change: at its base, and with its one commit."""
    commits = sorted({action.base_commit, commit} - {""})
    return tuple(Receipt("branch", target, 0, branch_at(branch, one), request) for one in commits)


def receipts_of(
    work: Work, artifact: int, content: str, *, branch: str, commit: str, now_s: float
) -> tuple[Receipt, ...]:
    """Return what a poll's sight of this effect is matched to: also its label, also its branch."""
    request, action = work.request, work.action
    if isinstance(action, UpdateStatus):
        return label_receipts(request.id, request.target, action, now_s)
    kind = _RECEIPT_KIND.get(request.kind)
    if kind is None:
        return ()
    if isinstance(action, CloseIssue):  # one that is closed again later was not ordered to be
        artifact = int(now_s)
    held = Receipt(kind, request.target, artifact, content, request.id)
    if isinstance(action, ProposeChange):
        return (held, *branch_receipts(request.id, request.target, action, branch, commit))
    return (held,)


def branch_at(branch: str, commit: str) -> str:
    """Name a branch at one commit, as receipts and poll's sights are compared."""
    return f"{branch[:300]}@{commit[:64]}"


def commit_name(secret: bytes, parents: Sequence[str], changes: Mapping[str, Leaf]) -> str:
    """Name what a commit holds: its parents, and each path that differs with what stands there.

    The same content on the same parents gives the same name, whoever committed it when.
    """
    held = [list(parents), [[path, *(changes[path] or ())] for path in sorted(changes)]]
    return words_name(secret, msgspec.json.encode(held).decode())


def ordered_commit_name(secret: bytes, action: ProposeChange) -> str:
    """Name the one commit that an approved change is allowed to make."""
    before = expected_before(action)
    differs = {
        path: leaf for path, leaf in expected_changes(action).items() if leaf != before[path]
    }
    return commit_name(secret, (action.base_commit,), differs)
