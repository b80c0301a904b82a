"""The mechanical first look at an issue: no model, no judgement, one label (G7)."""

from __future__ import annotations

import msgspec

from allegro.core.forge.issues import Issue, is_status

SEEN_LABEL = "triage/seen"
FIRST_STATUS = "pending"


class TriageRule(msgspec.Struct, frozen=True):
    """When an issue is marked. `since_s`: issues created earlier are left as they are."""

    since_s: int
    bots: frozenset[int]
    label: str = SEEN_LABEL


class TriageLabels(msgspec.Struct, frozen=True):
    """What to add to the issue: the seen label, and the first status where it has none."""

    label: str
    status: str | None


def triage(issue: Issue, rule: TriageRule) -> TriageLabels | None:
    """Return what to add to a new issue, or None when there is nothing to do.

    Our own and sibling bots never trigger us (G11); closed, old, locked issues, pull requests
    and issues of archived repositories are left alone. Looking twice gives None the second time.
    """
    if issue.is_pull_request or issue.state != "open" or issue.is_locked:
        return None
    if issue.repository.archived:
        return None
    if issue.author_id in rule.bots or issue.created_s < rule.since_s:
        return None
    if rule.label in issue.labels:
        return None
    has_status = any(is_status(name) for name in issue.labels)
    return TriageLabels(rule.label, None if has_status else FIRST_STATUS)
