"""What happens to code: repositories, branches, commits, pull requests, statuses."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

from allegro.testing.gitea.git import NO_COMMIT, Who, Write
from allegro.testing.gitea.model import Event, Issue, Label, Level, Pull, Push, Repo, Status, User

from .issues import IssueActs, NewIssue


class NewCommit(NamedTuple):
    """What a commit holds; without `author` and `committer` it is by whoever made it."""

    writes: Sequence[Write]
    message: str
    author: Who | None = None
    committer: Who | None = None


class NewStatus(NamedTuple):
    """A commit status as somebody sets it."""

    state: str
    context: str = "default"
    description: str = ""
    target_url: str = ""


MERGE_STYLES = ("merge", "rebase", "rebase-merge", "squash", "fast-forward-only")


class CodeActs(IssueActs):
    """Effects only: rights and input are checked by the caller."""

    # repositories

    def create_repo(
        self, owner: User, name: str, *, private: bool, default_branch: str, doer: User
    ) -> Repo:
        """Make an empty repository. Raises `ValueError` if the name is taken."""
        if self.find_repo(owner.login, name) is not None:
            raise ValueError("The repository with the same name already exists.")
        now_s = self.now_s()
        repo = Repo(self.next_id("repo"), owner, name, private, now_s, now_s, default_branch)
        self.git(repo).create(default_branch)
        self.repos[repo.id] = repo
        self._name_repo(repo)
        self.emit(Event("repository", "created", repo, doer))
        return repo

    def _name_repo(self, repo: Repo) -> None:
        key = (repo.owner.login.lower(), repo.name.lower())
        self.names[key] = repo.id
        self.moved.pop(key, None)

    def move_repo(self, repo: Repo, owner: User, name: str) -> None:
        """Rename or transfer: issues keep id and number, the old path redirects."""
        key = (repo.owner.login.lower(), repo.name.lower())
        del self.names[key]
        self.moved[key] = repo.id
        repo.owner, repo.name = owner, name
        self._name_repo(repo)

    def remove_repo(self, repo: Repo, doer: User) -> None:
        self.emit(Event("repository", "deleted", repo, doer))
        for issue in list(repo.ordered):
            self.forget_issue(issue)
        del self.repos[repo.id], self.names[(repo.owner.login.lower(), repo.name.lower())]
        self.moved = {key: value for key, value in self.moved.items() if value != repo.id}
        self.labels = {k: v for k, v in self.labels.items() if v.repo_id != repo.id}
        self.hooks = {k: v for k, v in self.hooks.items() if v.repo_id != repo.id}

    def make_label(
        self,
        place: Repo | User,
        name: str,
        color: str = "00aabb",
        *,
        description: str = "",
        exclusive: bool = False,
        archived: bool = False,
    ) -> Label:
        """Make a label of a repository or of an organisation."""
        repo_id = place.id if isinstance(place, Repo) else 0
        org_id = 0 if isinstance(place, Repo) else place.id
        label = Label(
            self.next_id("label"), name, color, description, exclusive, archived, repo_id, org_id
        )
        self.labels[label.id] = label
        return label

    # branches and commits

    def who(self, user: User, at_s: int | None = None) -> Who:
        name = user.full_name or user.login
        return Who(name, user.email, self.now_s() if at_s is None else at_s)

    def store_commit(
        self,
        repo: Repo,
        doer: User,
        branch: str,
        new: NewCommit,
        *,
        base: str | None,
        force: bool = False,
    ) -> str:
        """Commit on top of `base` (None = the first commit) and point `branch` at it.

        Compares and sets: raises `RefMovedError` if the branch is not where it was read.
        """
        git = self.git(repo)
        old = git.branch(branch)
        by = new.committer or new.author or self.who(doer)
        sha = git.write_commit(base, new.writes, new.message, new.author or by, by)
        if force and old is not None:
            git.set(f"refs/heads/{branch}", sha)
        else:
            git.move(f"refs/heads/{branch}", sha, old or NO_COMMIT)
        self.branch_moved(repo, doer, branch, old, sha)
        return sha

    def branch_moved(
        self, repo: Repo, doer: User, branch: str, old: str | None, new: str | None
    ) -> None:
        """Tell pull requests, mentioned issues and webhooks that a branch is elsewhere now."""
        repo.updated_s = self.now_s()
        if old is None:
            repo.branch_count += 1
            repo.empty = False
            extra = {"ref": branch, "ref_type": "branch", "sha": new}
            self.emit(Event("create", "", repo, doer, extra=extra))
        if new is None:
            repo.branch_count -= 1
            extra = {"ref": branch, "ref_type": "branch", "pusher_type": "user"}
            self.emit(Event("delete", "", repo, doer, extra=extra))
            return
        repo.pushes.append(Push(self.next_id("activity"), doer.id, branch, self.now_s(), new))
        fresh = self._pushed(repo, branch, old, new)
        git = self.git(repo)
        for sha in fresh:
            self.reference_commit(repo, doer, sha, git.commit(sha).message)
        for issue in repo.ordered:
            if issue.pull and not issue.closed and issue.pull.head == branch:
                self._head_moved(issue, doer, new, old)
        extra = {"ref": f"refs/heads/{branch}", "before": old or NO_COMMIT, "after": new}
        self.emit(Event("push", "", repo, doer, extra={**extra, "shas": fresh}))

    def _pushed(self, repo: Repo, branch: str, old: str | None, new: str) -> list[str]:
        """Return the ids of commits no other branch had, oldest first, at most 20."""
        git = self.git(repo)
        others = [sha for name, sha in git.refs("refs/heads").items() if name[11:] != branch]
        known = [f"^{sha}" for sha in ([old] if old else []) + others]
        return [row.sha for row in reversed(git.log(new, *known, limit=20))]

    def _head_moved(self, issue: Issue, doer: User, new: str, old: str | None) -> None:
        pull, git = issue.pull, self.git(issue.repo)
        if pull is None or pull.head_sha == new:
            return
        forced = old is not None and not git.contains(old, new)
        shas = [row.sha for row in git.log(new, f"^{pull.head_sha}", limit=100)]
        pull.head_sha = new
        pull.merge_base = git.merge_base(git.branch(pull.base) or pull.base_sha, new)
        git.set(f"refs/pull/{issue.number}/head", new)
        body = json.dumps({"is_force_push": forced, "commit_ids": shas[::-1]})
        self._row(issue, doer, "pull_push", body)
        self.emit(Event("pull_request_sync", "synchronized", issue.repo, doer, issue))

    # pull requests

    def create_pull(
        self,
        repo: Repo,
        doer: User,
        head: str,
        base: str,
        new: NewIssue,
    ) -> Issue:
        """Open a pull request between two branches of one repository. Empty ones are accepted."""
        git = self.git(repo)
        base_sha, head_sha = git.branch(base) or "", git.branch(head) or ""
        merge_base = git.merge_base(base_sha, head_sha)
        pull = Pull(self.next_id("pull"), base, head, base_sha, head_sha, merge_base)
        issue = self.create_issue(repo, doer, new, pull)
        git.set(f"refs/pull/{issue.number}/head", head_sha)
        return issue

    def open_pull_of(self, repo: Repo, head: str, base: str) -> Issue | None:
        for issue in repo.ordered:
            pull = issue.pull
            if pull and not issue.closed and (pull.head, pull.base) == (head, base):
                return issue
        return None

    def base_commit(self, issue: Issue, pull: Pull) -> str:
        """Return where the base branch is now; a merged request keeps what it was merged into."""
        if not pull.merged_s:
            pull.base_sha = self.git(issue.repo).branch(pull.base) or pull.base_sha
        return pull.base_sha

    def check_mergeable(self, issue: Issue, pull: Pull) -> bool:
        """Return the last verdict; asking begins the check, whose verdict comes later.

        False while the check is queued, on a conflict, and for a draft.
        """
        key = (self.base_commit(issue, pull), pull.head_sha)
        now = self.clock() + self.clock_offset_s
        if pull.checked != key:
            pull.checked, pull.checked_s = key, now + self.mergeable_delay_s
            merged = self.git(issue.repo).merged_tree(*key)
            pull.mergeable = merged is not None
            return False
        return now >= pull.checked_s and pull.mergeable and not is_draft(issue.title)

    def in_conflict(self, pull: Pull) -> bool:
        """Tell whether a finished check found a conflict."""
        now = self.clock() + self.clock_offset_s
        return pull.checked is not None and now >= pull.checked_s and not pull.mergeable

    def retarget(self, issue: Issue, doer: User, base: str) -> None:
        """Give a pull request another base branch."""
        pull, git = issue.pull, self.git(issue.repo)
        assert pull is not None
        row = self._row(issue, doer, "change_target_branch")
        row.old_title, row.new_title = pull.base, base
        pull.base = base
        pull.merge_base = git.merge_base(self.base_commit(issue, pull), pull.head_sha)
        self._tell(issue, doer, "", "edited", {"ref": {"from": row.old_title}})

    def merge_pull_now(self, issue: Issue, doer: User, style: str, message: str = "") -> str:
        """Merge a pull request; raise `ValueError` on a conflict."""
        pull, git = issue.pull, self.git(issue.repo)
        assert pull is not None
        base = self.base_commit(issue, pull)
        sha = self._merged_commit(issue, base, doer, style, message)
        git.move(f"refs/heads/{pull.base}", sha, base)
        pull.merged_s, pull.merged_by, pull.merge_sha = self.now_s(), doer.id, sha
        pull.base_sha = base
        row = self._row(issue, doer, "merge_pull", sha)
        issue.closed, issue.closed_s = True, row.created_s
        self.count_open(issue, -1)
        self.emit(Event("pull_request", "closed", issue.repo, doer, issue))
        self.branch_moved(issue.repo, doer, pull.base, base, sha)
        return sha

    def _merged_commit(self, issue: Issue, base: str, doer: User, style: str, message: str) -> str:
        pull, git = issue.pull, self.git(issue.repo)
        assert pull is not None
        if style == "fast-forward-only":
            if not git.contains(base, pull.head_sha):
                raise ValueError("not a fast-forward")
            return pull.head_sha
        tree = git.merged_tree(base, pull.head_sha)
        if tree is None:
            raise ValueError("merge conflict")
        parents = [base] if style in ("squash", "rebase") else [base, pull.head_sha]
        title = f"Merge pull request '{issue.title}' (#{issue.number}) from {pull.head}"
        text = message or (f"{issue.title} (#{issue.number})" if len(parents) == 1 else title)
        return git.commit_tree(tree, parents, text, self.who(doer))

    # statuses

    def add_status(self, repo: Repo, doer: User, sha: str, new: NewStatus) -> Status:
        """Append a commit status. No issue is bumped."""
        now_s = self.now_s()
        number = self.next_id("status")
        row = Status(
            number, sha, new.state, new.context, new.description, new.target_url, doer.id, now_s
        )
        repo.statuses.setdefault(sha, []).append(row)
        self.emit(Event("status", "", repo, doer, extra={"status": row}))
        return row

    def may_open_pull(self, doer: User, repo: Repo) -> bool:
        """Collaborators and those who may write the head; both live in one repository here."""
        return self.is_collaborator(doer, repo) and self.level(doer, repo) >= Level.READ


def is_draft(title: str) -> bool:
    """Tell a draft by its title, the only way Gitea has."""
    return title.lower().startswith(("wip:", "[wip]"))
