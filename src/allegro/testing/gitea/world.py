"""The state a test prepares and the things people do, with names instead of rows."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from pathlib import Path

from .acts.code import CodeActs, NewCommit, NewStatus
from .acts.issues import NewIssue
from .git import Write
from .model import Comment, Files, Issue, Label, Protection, Repo, Status, User
from .state import RepoRef, UserRef

IssueRef = Issue | int
STATE_FILE = "world.pickle"


class World(CodeActs):
    """Direct access to a simulated forge.

    Users are named by login, repositories by `owner/name` or id, issues by number; rows do as
    well. A name that does not exist raises `KeyError`. Nothing here asks for rights: a person did
    it in the web page. Events reach webhooks just as those of API calls do. Wrap acts in
    `late(seconds)` to play a transaction that commits late.
    """

    def add_repo(
        self,
        owner: UserRef,
        name: str,
        private: bool = False,
        files: Files | None = None,
        default_branch: str = "main",
    ) -> Repo:
        """Make a repository; with files it has one commit, without it is empty."""
        user = self.the_user(owner)
        repo = self.create_repo(
            user, name, private=private, default_branch=default_branch, doer=user
        )
        if files:
            self.commit(repo, default_branch, files, user, "Initial commit")
        return repo

    def add_label(
        self, place: RepoRef | User, name: str, color: str = "00aabb", exclusive: bool = False
    ) -> Label:
        """Make a label of a repository, or of an organisation when `place` is or names one."""
        if isinstance(place, str) and "/" not in place:
            place = self.the_user(place)
        where = place if isinstance(place, User) else self.the_repo(place)
        return self.make_label(where, name, color, exclusive=exclusive)

    def the_issue(self, repo: RepoRef, number: IssueRef) -> Issue:
        return number if isinstance(number, Issue) else self.the_repo(repo).issues[number]

    # issues

    def open_issue(
        self,
        repo: RepoRef,
        user: UserRef,
        title: str,
        body: str = "",
        labels: Sequence[str] = (),
    ) -> Issue:
        row = self.the_repo(repo)
        ids = [label.id for label in self._labels_named(row, labels)]
        return self.create_issue(row, self.the_user(user), NewIssue(title, body, ids))

    def _labels_named(self, repo: Repo, names: Sequence[str]) -> list[Label]:
        by_name = {label.name: label for label in self.known_labels(repo).values()}
        return [by_name[name] for name in names]

    def edit_issue(
        self,
        repo: RepoRef,
        number: IssueRef,
        user: UserRef,
        title: str | None = None,
        body: str | None = None,
    ) -> Issue:
        issue, doer = self.the_issue(repo, number), self.the_user(user)
        if title is not None:
            self.change_title(issue, doer, title)
        if body is not None:
            self.change_body(issue, doer, body)
        return issue

    def close(self, repo: RepoRef, number: IssueRef, user: UserRef) -> Issue:
        issue = self.the_issue(repo, number)
        self.set_closed(issue, self.the_user(user), True)
        return issue

    def reopen(self, repo: RepoRef, number: IssueRef, user: UserRef) -> Issue:
        issue = self.the_issue(repo, number)
        self.set_closed(issue, self.the_user(user), False)
        return issue

    def lock(self, repo: RepoRef, number: IssueRef, user: UserRef, locked: bool = True) -> Issue:
        issue = self.the_issue(repo, number)
        self.set_locked(issue, self.the_user(user), locked)
        return issue

    def add_labels(
        self, repo: RepoRef, number: IssueRef, user: UserRef, names: Sequence[str]
    ) -> Issue:
        issue = self.the_issue(repo, number)
        labels = self._labels_named(issue.repo, names)
        self.add_labels_to(issue, self.the_user(user), labels)
        return issue

    def remove_label(self, repo: RepoRef, number: IssueRef, user: UserRef, name: str) -> Issue:
        issue = self.the_issue(repo, number)
        [label] = self._labels_named(issue.repo, [name])
        self.remove_label_from(issue, self.the_user(user), label)
        return issue

    def assign(
        self, repo: RepoRef, number: IssueRef, user: UserRef, logins: Sequence[str]
    ) -> Issue:
        issue = self.the_issue(repo, number)
        ids = [self.the_user(login).id for login in logins]
        self.set_assignees(issue, self.the_user(user), ids)
        return issue

    def delete_issue(self, repo: RepoRef, number: IssueRef, user: UserRef) -> None:
        self.remove_issue(self.the_issue(repo, number), self.the_user(user))

    # comments

    def comment(self, repo: RepoRef, number: IssueRef, user: UserRef, body: str) -> Comment:
        return self.add_comment(self.the_issue(repo, number), self.the_user(user), body)

    def edit_comment(self, comment: Comment | int, user: UserRef, body: str) -> Comment:
        row = comment if isinstance(comment, Comment) else self.comments[comment]
        self.change_comment(row, self.the_user(user), body)
        return row

    def delete_comment(self, comment: Comment | int, user: UserRef) -> None:
        row = comment if isinstance(comment, Comment) else self.comments[comment]
        self.remove_comment(row, self.the_user(user))

    # repositories and code

    def rename_repo(self, repo: RepoRef, name: str) -> Repo:
        row = self.the_repo(repo)
        self.move_repo(row, row.owner, name)
        return row

    def transfer_repo(self, repo: RepoRef, owner: UserRef) -> Repo:
        row = self.the_repo(repo)
        self.move_repo(row, self.the_user(owner), row.name)
        return row

    def delete_repo(self, repo: RepoRef) -> None:
        row = self.the_repo(repo)
        self.remove_repo(row, row.owner)

    def archive(self, repo: RepoRef, archived: bool = True) -> Repo:
        row = self.the_repo(repo)
        row.archived = archived
        row.archived_s = self.now_s() if archived else 0
        return row

    def commit(
        self,
        repo: RepoRef,
        branch: str,
        files: Files,
        user: UserRef,
        message: str = "Change files",
    ) -> str:
        """Push a commit that writes (or, with None, deletes) files; return its id.

        A branch that does not exist begins at the default branch.
        """
        row = self.the_repo(repo)
        git = self.git(row)
        base = git.branch(branch) or git.branch(row.default_branch)
        writes = [
            Write(path, content.encode() if isinstance(content, str) else content)
            for path, content in files.items()
        ]
        new = NewCommit(writes, message)
        return self.store_commit(row, self.the_user(user), branch, new, base=base)

    def delete_branch(self, repo: RepoRef, branch: str, user: UserRef) -> None:
        row = self.the_repo(repo)
        old = self.git(row).branch(branch)
        if old is None:
            raise KeyError(f"no branch {branch!r}")
        self.git(row).drop(f"refs/heads/{branch}")
        self.branch_moved(row, self.the_user(user), branch, old, None)

    def protect(
        self,
        repo: RepoRef,
        branch: str,
        push_users: Sequence[str] = (),
        merge_users: Sequence[str] | None = None,
    ) -> Protection:
        """Protect a branch or pattern: nobody may push, or only `push_users`.

        Everybody who may write may still merge, unless `merge_users` lists who may.
        """
        now_s = self.now_s()
        rule = Protection(branch, now_s, now_s)
        rule.enable_push = rule.push_whitelist = bool(push_users)
        rule.push_users = tuple(login.lower() for login in push_users)
        rule.merge_whitelist = merge_users is not None
        rule.merge_users = tuple(login.lower() for login in merge_users or ())
        self.the_repo(repo).protections[branch] = rule
        return rule

    def open_pull(
        self, repo: RepoRef, user: UserRef, head: str, base: str, title: str, body: str = ""
    ) -> Issue:
        new = NewIssue(title, body)
        return self.create_pull(self.the_repo(repo), self.the_user(user), head, base, new)

    def merge_pull(self, repo: RepoRef, number: IssueRef, user: UserRef) -> str:
        return self.merge_pull_now(self.the_issue(repo, number), self.the_user(user), "merge")

    def set_status(
        self, repo: RepoRef, user: UserRef, sha: str, state: str, context: str = "default"
    ) -> Status:
        new = NewStatus(state, context)
        return self.add_status(self.the_repo(repo), self.the_user(user), sha, new)

    # keeping

    def save(self) -> Path:
        """Write the tables beside the repositories, for `load` after a restart."""
        path = self.directory / STATE_FILE
        fresh = path.with_suffix(".new")
        fresh.write_bytes(pickle.dumps(self))
        fresh.replace(path)
        return path

    @staticmethod
    def load(directory: Path, clock: Callable[[], float]) -> World:
        """Read what `save` wrote. Only for a directory of one's own: pickles can run code."""
        world = pickle.loads((directory / STATE_FILE).read_bytes())
        assert isinstance(world, World)
        world.directory, world.clock = directory, clock
        return world
