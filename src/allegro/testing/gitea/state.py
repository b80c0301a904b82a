"""The forge's tables and indexes: who exists, what they own, what they may do."""

from __future__ import annotations

import fnmatch
import hashlib
from bisect import insort
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from .git import Git
from .model import (
    GHOST_ID,
    LEVELS,
    Comment,
    Event,
    Hook,
    Issue,
    Json,
    Label,
    Level,
    Protection,
    Repo,
    Token,
    User,
)
from .quirks import Quirks

_FIRST_ID = {"repo": 11, "issue": 1001, "comment": 5001, "label": 301, "pull": 701, "user": 1}

UserRef = User | str
RepoRef = Repo | str | int


class State:
    """Everything the server would keep in its database. Not thread-safe; one loop uses it."""

    def __init__(self, directory: Path, quirks: Quirks, clock: Callable[[], float]) -> None:
        self.directory = directory
        self.quirks = quirks
        self.clock = clock
        self.clock_offset_s = 0.0
        self.utc_offset_s = 0
        self.url = "http://localhost"
        self.listeners: list[Callable[[Event], None]] = []
        self.mergeable_delay_s = 0.0
        self.users: dict[int, User] = {}
        self.logins: dict[str, int] = {}
        self.repos: dict[int, Repo] = {}
        self.names: dict[tuple[str, str], int] = {}
        self.moved: dict[tuple[str, str], int] = {}
        self.tokens: dict[str, Token] = {}
        self.labels: dict[int, Label] = {}
        self.comments: dict[int, Comment] = {}
        self.issues: dict[int, Issue] = {}
        self.ordered: list[Issue] = []
        self.hooks: dict[int, Hook] = {}
        self._next: dict[str, int] = dict(_FIRST_ID)
        self._gits: dict[int, Git] = {}
        self._behind_s = 0.0
        self._ghost = User(GHOST_ID, "Ghost", 0)

    def __getstate__(self) -> Json:
        kept = dict(self.__dict__)
        for name in ("clock", "listeners", "_gits"):
            del kept[name]
        return kept

    def __setstate__(self, kept: Json) -> None:
        self.__dict__.update(kept)
        self.listeners, self._gits = [], {}

    # time and ids

    def now_s(self) -> int:
        """Return the second the server writes into a row."""
        return int(self.clock() + self.clock_offset_s - self._behind_s)

    @contextmanager
    def late(self, seconds: float) -> Iterator[None]:
        """Rows written inside carry a second this much earlier: a transaction that commits late."""
        before, self._behind_s = self._behind_s, seconds
        try:
            yield
        finally:
            self._behind_s = before

    def next_id(self, kind: str) -> int:
        value = self._next.get(kind, 1)
        self._next[kind] = value + 1
        return value

    def emit(self, event: Event) -> None:
        for listener in self.listeners:
            listener(event)

    # users, organisations, tokens

    def add_user(
        self, login: str, admin: bool = False, bot: bool = False, password: str = ""
    ) -> User:
        """Make a person or a bot. Raises `ValueError` if the name is taken."""
        kept = password or f"password-of-{login}"
        user = User(self.next_id("user"), login, self.now_s(), admin=admin, password=kept)
        user.kind = "bot" if bot else "person"
        user.email = f"{login.lower()}@example.test"
        return self._enter(user)

    def add_org(self, name: str, private: bool = False) -> User:
        org = User(self.next_id("user"), name, self.now_s(), kind="org", private=private)
        return self._enter(org)

    def _enter(self, user: User) -> User:
        if user.login.lower() in self.logins:
            raise ValueError(f"user already exists [name: {user.login}]")
        self.users[user.id] = user
        self.logins[user.login.lower()] = user.id
        return user

    def add_member(self, org: UserRef, user: UserRef, permission: str = "read") -> None:
        """Give a user a right on all of an organisation's repositories (`owner` = org owner)."""
        self.the_user(org).members[self.the_user(user).id] = LEVELS[permission]

    def delete_user(self, user: UserRef) -> None:
        """Remove an account; what it wrote stays and shows the Ghost."""
        gone = self.the_user(user)
        del self.users[gone.id], self.logins[gone.login.lower()]
        self.tokens = {v: t for v, t in self.tokens.items() if t.user_id != gone.id}
        for repo in self.repos.values():
            repo.collaborators.pop(gone.id, None)
        for org in self.users.values():
            org.members.pop(gone.id, None)

    def user(self, user_id: int) -> User:
        """Return the account, or the Ghost of one that is gone."""
        return self.users.get(user_id, self._ghost)

    def find_user(self, login: str) -> User | None:
        return self.users.get(self.logins.get(login.lower(), 0))

    def the_user(self, ref: UserRef) -> User:
        """Return the account a test names; raise `KeyError` if there is none."""
        found = ref if isinstance(ref, User) else self.find_user(ref)
        if found is None:
            raise KeyError(f"no user {ref!r}")
        return found

    def token(self, user: UserRef, scopes: Sequence[str] = ("all",), name: str = "") -> str:
        """Make an access token and return its secret (repeatable: the same world, the same one)."""
        owner = self.the_user(user)
        number = self.next_id("token")
        text = f"token {number} of {owner.login}"
        value = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
        label = name or f"token-{number}"
        now_s = self.now_s()
        self.tokens[value] = Token(number, label, owner.id, tuple(scopes), value, now_s, now_s)
        return value

    def revoke(self, value: str) -> None:
        del self.tokens[value]

    # repositories and rights

    def git(self, repo: Repo) -> Git:
        known = self._gits.get(repo.id)
        if known is None:
            known = self._gits[repo.id] = Git(self.directory / "repositories" / f"{repo.id}.git")
        return known

    def find_repo(self, owner: str, name: str) -> Repo | None:
        return self.repos.get(self.names.get((owner.lower(), name.lower()), 0))

    def the_repo(self, ref: RepoRef) -> Repo:
        """Return the repository named by a row, an id or `owner/name`; raise `KeyError`."""
        if isinstance(ref, Repo):
            return ref
        found = self.repos.get(ref) if isinstance(ref, int) else self.find_repo(*ref.split("/", 1))
        if found is None:
            raise KeyError(f"no repository {ref!r}")
        return found

    def add_collaborator(self, repo: RepoRef, user: UserRef, permission: str = "write") -> None:
        self.the_repo(repo).collaborators[self.the_user(user).id] = LEVELS[permission]

    def remove_collaborator(self, repo: RepoRef, user: UserRef) -> None:
        self.the_repo(repo).collaborators.pop(self.the_user(user).id, None)

    def level(self, user: User | None, repo: Repo) -> Level:
        """Return what a user (None = nobody signed in) may do in a repository."""
        public = Level.NONE if repo.private or repo.owner.private else Level.READ
        if user is None:
            return public
        if user.id == repo.owner.id or user.admin:
            return Level.OWNER
        granted = max(
            repo.collaborators.get(user.id, Level.NONE),
            repo.owner.members.get(user.id, Level.NONE),
        )
        return max(public, granted)

    def is_collaborator(self, user: User, repo: Repo) -> bool:
        inside = user.id in repo.collaborators or user.id in repo.owner.members
        return inside or self.level(user, repo) >= Level.WRITE

    def rule_for(self, repo: Repo, branch: str) -> Protection | None:
        """Return the protection of a branch: the exact rule first, then patterns."""
        if branch in repo.protections:
            return repo.protections[branch]
        rules = repo.protections.values()
        return next((rule for rule in rules if fnmatch.fnmatchcase(branch, rule.rule)), None)

    def can_push(self, user: User | None, repo: Repo, branch: str) -> bool:
        """Tell whether a user may put commits on a branch. Owners are not above the rules."""
        if user is None or self.level(user, repo) < Level.WRITE:
            return False
        rule = self.rule_for(repo, branch)
        if rule is None:
            return True
        if not rule.enable_push:
            return False
        return not rule.push_whitelist or user.login.lower() in rule.push_users

    def can_merge(self, user: User | None, repo: Repo, branch: str) -> bool:
        if user is None or self.level(user, repo) < Level.WRITE:
            return False
        rule = self.rule_for(repo, branch)
        if rule is None or not rule.merge_whitelist:
            return True
        return user.login.lower() in rule.merge_users

    # labels and issues

    def known_labels(self, repo: Repo) -> dict[int, Label]:
        """Return the labels an issue of this repository may carry: its own and its owner's."""
        return {
            key: label
            for key, label in self.labels.items()
            if label.repo_id == repo.id or (label.org_id and label.org_id == repo.owner.id)
        }

    def index_issue(self, issue: Issue) -> None:
        insort(issue.repo.ordered, issue, key=_age)
        insort(self.ordered, issue, key=_age)
        issue.repo.issues[issue.number] = self.issues[issue.id] = issue
        self.count_open(issue, 1)

    def count_open(self, issue: Issue, by: int) -> None:
        if issue.pull:
            issue.repo.open_pulls += by
        else:
            issue.repo.open_issues += by

    def index_comment(self, comment: Comment) -> None:
        self.comments[comment.id] = comment
        comment.issue.timeline.append(comment)
        if comment.type == "comment":
            insort(comment.issue.repo.comments, comment, key=_age)
            comment.issue.text_comments += 1


def _age(row: Issue | Comment) -> tuple[int, int]:
    return row.created_s, row.id
