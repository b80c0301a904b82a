"""What happens to issues and comments: rows, time line, `updated` seconds, webhook events."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from allegro.testing.gitea.model import (
    Comment,
    Event,
    Issue,
    Json,
    Label,
    Pull,
    Reaction,
    Repo,
    User,
)
from allegro.testing.gitea.state import State

_REFERENCE = re.compile(r"(?:^|[\s(\[])#(\d+)\b")


class NewIssue(NamedTuple):
    """An issue or pull request as somebody opens it; `due_s` 0 is no date."""

    title: str
    body: str = ""
    labels: Sequence[int] = ()
    assignees: Sequence[int] = ()
    due_s: int = 0


class IssueActs(State):
    """Effects only: rights and input are checked by the caller."""

    def create_issue(
        self,
        repo: Repo,
        doer: User,
        new: NewIssue,
        pull: Pull | None = None,
    ) -> Issue:
        """Open an issue, or the issue of a pull request; labels set here send no event."""
        now_s = self.now_s()
        issue = Issue(
            self.next_id("issue"),
            repo,
            repo.next_number,
            doer.id,
            new.title,
            new.body,
            now_s,
            now_s,
        )
        repo.next_number += 1
        issue.due_s, issue.pull = new.due_s, pull
        self.index_issue(issue)
        for label_id in new.labels:
            self._put_label(issue, doer, self.labels[label_id])
        for user_id in new.assignees:
            self._assign(issue, doer, user_id)
        self._cross_reference(issue, doer, new.body, 0)
        kind = "pull_request" if pull else "issues"
        self.emit(Event(kind, "opened", repo, doer, issue))
        return issue

    def _cross_reference(self, source: Issue, doer: User, text: str, comment_id: int) -> None:
        """Tell other issues that they were mentioned; this bumps them."""
        kind = "comment_ref" if comment_id else "pull_ref" if source.pull else "issue_ref"
        for number in dict.fromkeys(_REFERENCE.findall(text)):
            target = source.repo.issues.get(int(number))
            if target is not None and target is not source:
                row = self._row(target, doer, kind)
                row.ref_issue_id, row.ref_comment_id = source.id, comment_id

    def reference_commit(self, repo: Repo, doer: User, sha: str, message: str) -> None:
        """Tell the issues a commit message mentions; this bumps them."""
        for number in dict.fromkeys(_REFERENCE.findall(message)):
            target = repo.issues.get(int(number))
            if target is not None:
                self._row(target, doer, "commit_ref").ref_sha = sha

    def _row(self, issue: Issue, doer: User, kind: str, body: str = "") -> Comment:
        """Add a row to the time line. Every row bumps the issue."""
        now_s = self.now_s()
        row = Comment(self.next_id("comment"), issue, doer.id, kind, body, now_s, now_s)
        self.index_comment(row)
        issue.updated_s = now_s
        return row

    def _tell(self, issue: Issue, doer: User, part: str, action: str, changes: Json | None) -> None:
        """Send the event of a change; `part` is empty or `label`, `assign`."""
        if issue.pull:
            kind = f"pull_request_{part}" if part else "pull_request"
        else:
            kind = f"issue_{part}" if part else "issues"
        self.emit(Event(kind, action, issue.repo, doer, issue, changes=changes))

    def change_title(self, issue: Issue, doer: User, title: str) -> None:
        if title == issue.title:
            return
        row = self._row(issue, doer, "change_title")
        row.old_title, row.new_title = issue.title, title
        issue.title = title
        self._tell(issue, doer, "", "edited", {"title": {"from": row.old_title}})

    def change_body(self, issue: Issue, doer: User, body: str) -> None:
        old, issue.body = issue.body, body
        issue.content_version += 1
        issue.updated_s = self.now_s()
        self._tell(issue, doer, "", "edited", {"body": {"from": old}})

    def set_due(self, issue: Issue, doer: User, due_s: int) -> None:
        kind = "removed_deadline" if not due_s else "modified_deadline"
        self._row(issue, doer, kind if issue.due_s else "added_deadline")
        issue.due_s = due_s

    def set_closed(self, issue: Issue, doer: User, closed: bool) -> None:
        """Close or reopen; the state it already has changes nothing."""
        if issue.closed == closed:
            return
        row = self._row(issue, doer, "close" if closed else "reopen")
        issue.closed = closed
        self.count_open(issue, -1 if closed else 1)
        issue.closed_s = row.created_s if closed else 0
        self._tell(issue, doer, "", "closed" if closed else "reopened", None)

    def set_locked(self, issue: Issue, doer: User, locked: bool, reason: str = "") -> None:
        if issue.locked != locked:
            issue.locked = locked
            self._row(issue, doer, "lock" if locked else "unlock", reason)

    # labels

    def _put_label(self, issue: Issue, doer: User, label: Label) -> None:
        if label.id in issue.labels:
            return
        if label.scope:
            for other_id in list(issue.labels):
                if self.labels[other_id].scope == label.scope:
                    self._take_label(issue, doer, other_id)
        issue.labels.append(label.id)
        self._row(issue, doer, "label", "1").label_id = label.id

    def _take_label(self, issue: Issue, doer: User, label_id: int) -> None:
        if label_id in issue.labels:
            issue.labels.remove(label_id)
            self._row(issue, doer, "label").label_id = label_id

    def add_labels_to(self, issue: Issue, doer: User, labels: Iterable[Label]) -> None:
        """Add labels; one of an exclusive scope takes the place of its sibling."""
        for label in labels:
            self._put_label(issue, doer, label)
        self._tell(issue, doer, "label", "label_updated", None)

    def replace_labels(self, issue: Issue, doer: User, labels: Sequence[Label]) -> None:
        wanted = {label.id for label in labels}
        for label_id in [kept for kept in issue.labels if kept not in wanted]:
            self._take_label(issue, doer, label_id)
        for label in labels:
            self._put_label(issue, doer, label)
        action = "label_updated" if wanted else "label_cleared"
        self._tell(issue, doer, "label", action, None)

    def remove_label_from(self, issue: Issue, doer: User, label: Label) -> None:
        if label.id in issue.labels:
            self._take_label(issue, doer, label.id)
            self._tell(issue, doer, "label", "label_updated", None)

    def delete_label_row(self, label: Label) -> None:
        """Forget a label; issues lose it without a time line row and without a bump."""
        del self.labels[label.id]
        for issue in self.ordered:
            if label.id in issue.labels:
                issue.labels.remove(label.id)

    # assignees

    def _assign(self, issue: Issue, doer: User, user_id: int) -> None:
        if user_id not in issue.assignees:
            issue.assignees.append(user_id)
            self._row(issue, doer, "assignees").assignee_id = user_id

    def set_assignees(self, issue: Issue, doer: User, user_ids: Sequence[int]) -> None:
        for user_id in [kept for kept in issue.assignees if kept not in user_ids]:
            issue.assignees.remove(user_id)
            row = self._row(issue, doer, "assignees")
            row.assignee_id, row.removed = user_id, True
            self._tell(issue, doer, "assign", "unassigned", None)
        for user_id in [new for new in user_ids if new not in issue.assignees]:
            self._assign(issue, doer, user_id)
            self._tell(issue, doer, "assign", "assigned", None)

    # comments and reactions

    def add_comment(self, issue: Issue, doer: User, body: str) -> Comment:
        row = self._row(issue, doer, "comment", body)
        self._cross_reference(issue, doer, body, row.id)
        self._tell_comment(row, doer, "created", None)
        return row

    def _tell_comment(self, row: Comment, doer: User, action: str, changes: Json | None) -> None:
        kind = "pull_request_comment" if row.issue.pull else "issue_comment"
        self.emit(Event(kind, action, row.issue.repo, doer, row.issue, row, changes))

    def change_comment(self, row: Comment, doer: User, body: str) -> None:
        """Edit a comment. The issue is not bumped; only the comment's own second moves."""
        old, row.body = row.body, body
        row.updated_s = self.now_s()
        self._tell_comment(row, doer, "edited", {"body": {"from": old}})

    def remove_comment(self, row: Comment, doer: User) -> None:
        """Delete a comment. The issue is not bumped and no since-poll ever tells."""
        self._forget_comment(row)
        row.issue.timeline.remove(row)
        row.issue.text_comments -= 1
        self._tell_comment(row, doer, "deleted", None)

    def _forget_comment(self, row: Comment) -> None:
        del self.comments[row.id]
        if row.type == "comment":
            row.issue.repo.comments.remove(row)

    def react(self, rows: list[Reaction], doer: User, content: str) -> tuple[Reaction, bool]:
        """Add a reaction; return it and whether it is new. Bumps nothing, tells nobody."""
        for reaction in rows:
            if reaction.user_id == doer.id and reaction.content == content:
                return reaction, False
        reaction = Reaction(doer.id, content, self.now_s())
        rows.append(reaction)
        return reaction, True

    def unreact(self, rows: list[Reaction], doer: User, content: str) -> None:
        rows[:] = [r for r in rows if (r.user_id, r.content) != (doer.id, content)]

    # deletion

    def remove_issue(self, issue: Issue, doer: User) -> None:
        """Delete an issue with its comments; its number is never used again."""
        self.forget_issue(issue)
        if self.quirks.sends_issue_deleted and issue.pull is None:
            self.emit(Event("issues", "deleted", issue.repo, doer, issue))

    def forget_issue(self, issue: Issue) -> None:
        for row in issue.timeline:
            self._forget_comment(row)
        if not issue.closed:
            self.count_open(issue, -1)
        issue.repo.ordered.remove(issue)
        self.ordered.remove(issue)
        del self.issues[issue.id]
        del issue.repo.issues[issue.number]
