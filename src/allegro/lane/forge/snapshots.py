"""From what the forge shows to journalled snapshots: each version once, in this lane's words."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from allegro.core.base.canonical import sha256_hex
from allegro.core.base.errors import EdgeError
from allegro.core.base.events import Event
from allegro.core.effects.render import cap
from allegro.core.forge.issues import (
    Comment,
    Issue,
    PullRequest,
    Repository,
    comment_subject,
    issue_subject,
    repository_subject,
)
from allegro.core.ports import Version
from allegro.core.protocol.answers.forge import Listing
from allegro.core.protocol.payloads.polls import (
    ForgeVanished,
    Snapshot,
    SnapshotComment,
    SnapshotIssue,
    SnapshotPull,
    SnapshotRepository,
)
from allegro.lane.context.recorder import Recorder

MAX_WORDS = 200_000
MANY = 32
_OTHERS = "others"

Notes = tuple[list[Event], list[Version]]


class Taking:
    """Knows the newest version journalled of every object, and makes events of newer ones.

    Nothing counts as taken before `keep` is called, after the append returned.
    """

    def __init__(self, recorder: Recorder, forge: str, versions: dict[str, Version]) -> None:
        self._recorder = recorder
        self.forge = self._forge = forge
        self._versions = versions
        self._second: dict[str, dict[str, int]] = {}
        self._comments: dict[str, set[str]] = defaultdict(set)
        self._complete: set[int] = set()
        for version in versions.values():
            self._index(version)

    def keep(self, versions: Iterable[Version]) -> None:
        """Remember versions whose events are on disk."""
        for version in versions:
            self._remember(version)
            self._versions[version.subject] = version
            self._index(version)

    def completed(self, repository_id: int) -> None:
        """Note that everything a repository has is known now."""
        self._complete.add(repository_id)

    def begin_again(self) -> None:
        """Note that another lane polled meanwhile: what is known may be less than there is."""
        self._complete.clear()

    def forget(self) -> None:
        """Forget what was journalled: everything the forge shows is new again."""
        self._complete.clear()
        self._versions.clear()
        self._second.clear()
        self._comments.clear()

    def drop(self, subjects: Iterable[str]) -> None:
        """Forget some objects: their bodies aged out before the house had them."""
        for subject in subjects:
            self._versions.pop(subject, None)
            self._second.pop(subject, None)

    def known(self, repository_id: int) -> dict[str, Version]:
        """Return the living issues and pull requests known of a repository, by subject."""
        prefix = f"{self._forge}/{repository_id}#"
        return {
            subject: version
            for subject, version in self._versions.items()
            if subject.startswith(prefix) and version.hash and "/" not in subject[len(prefix) :]
        }

    def listing(self, repository_id: int) -> Listing:
        """Return the numbers and comment ids that exist in a repository.

        Raises EdgeError, transient, before this process has reconciled it: what is known until
        then may be less than what there is.
        """
        if repository_id not in self._complete:
            raise EdgeError("this repository was not reconciled yet", transient=True)
        comments: list[int] = []
        prefix = f"{self._forge}/{repository_id}#"
        for issue, subjects in self._comments.items():
            if issue.startswith(prefix):
                comments += [int(subject.rsplit("/", 1)[1]) for subject in subjects]
        issues = [int(subject.rsplit("#", 1)[1]) for subject in self.known(repository_id)]
        return Listing(tuple(sorted(issues)), tuple(sorted(comments)))

    def known_comments(self, repository_id: int, number: int) -> set[int]:
        """Return the ids of the comments known of an issue."""
        subjects = self._comments[issue_subject(self._forge, repository_id, number)]
        return {int(subject.rsplit("/", 1)[1]) for subject in subjects}

    def comment_count(self, issue: Issue) -> int | None:
        """Return the comment count when this issue was last journalled, None for a new one."""
        held = self._versions.get(self._subject(issue))
        return None if held is None or not held.hash else held.extra

    def issue(self, issue: Issue, closed_by: int | None = None) -> Notes:
        """Return the snapshot of an issue if this version was not journalled yet."""
        subject = self._subject(issue)
        plain = msgspec.structs.replace(issue, repository=Repository(issue.repository.id, ""))
        version = self.newer(subject, plain, issue.updated_s, issue.comment_count)
        if version is None:
            return [], []
        payload = SnapshotIssue(
            repository=issue.repository.id,
            number=issue.number,
            state=issue.state,
            updated_s=issue.updated_s,
            created_s=issue.created_s,
            author_id=issue.author_id,
            is_pull=issue.is_pull_request,
            comments=issue.comment_count,
            issue_id=issue.id,
            closed_s=issue.closed_s or 0,
            closed_by=closed_by,
        )
        return self.note(version, payload, issue)

    def pull(self, repo: Repository, pull: PullRequest, issue: Issue) -> Notes:
        """Return the snapshot of a pull request's own part; `issue` is its conversation."""
        updated_s = issue.updated_s
        subject = issue_subject(self._forge, repo.id, pull.number) + "/pull"
        version = self.newer(subject, pull, updated_s, 0)
        if version is None:
            return [], []
        payload = SnapshotPull(
            repository=repo.id,
            number=pull.number,
            state=pull.state,
            updated_s=updated_s,
            created_s=issue.created_s,
            author_id=pull.author_id,
            head_commit=pull.head_commit,
            merged=pull.merged,
            content=self._recorder.content(pull.title + "\n" + pull.body),
        )
        return self.note(version, payload, pull)

    def comment(self, repo: Repository, number: int, comment: Comment) -> Notes:
        """Return the snapshot of a comment."""
        subject = comment_subject(self._forge, repo.id, comment.id)
        version = self.newer(subject, comment, comment.updated_s, number)
        if version is None:
            return [], []
        payload = SnapshotComment(
            repository=repo.id,
            number=number,
            comment=comment.id,
            updated_s=comment.updated_s,
            created_s=comment.created_s,
            author_id=comment.author_id,
            content=self._recorder.content(comment.body),
        )
        return self.note(version, payload, comment)

    def repository_comments(self, repository_id: int) -> dict[int, set[int]]:
        """Return the ids of the living comments known of a repository, by issue number."""
        prefix = f"{self._forge}/{repository_id}#"
        return {
            int(issue.removeprefix(prefix)): {int(one.rsplit("/", 1)[1]) for one in subjects}
            for issue, subjects in self._comments.items()
            if issue.startswith(prefix) and subjects
        }

    def comments(
        self, repo: Repository, number: int, comments: Sequence[Comment], *, whole: bool = True
    ) -> Notes:
        """Return what is new among the comments of one issue.

        `whole`: these are all comments it has, so the known ones that are not there vanished.
        """
        events: list[Event] = []
        versions: list[Version] = []
        for comment in comments:
            _extend(events, versions, self.comment(repo, number, comment))
        if not whole:
            return events, versions
        for gone in self.known_comments(repo.id, number) - {comment.id for comment in comments}:
            subject = comment_subject(self._forge, repo.id, gone)
            _extend(events, versions, self.vanished(repo.id, subject, number))
        return events, versions

    def held(self, subject: str) -> Version | None:
        """Return the newest version journalled of an object, None for none."""
        return self._versions.get(subject)

    def subjects(self, prefix: str) -> set[str]:
        """Return the living objects whose subject begins so. Takes as long as there are objects."""
        return {
            subject
            for subject, version in self._versions.items()
            if version.hash and subject.startswith(prefix)
        }

    def repository(self, repo: Repository) -> Notes:
        """Return the snapshot of a repository: its name, and what changed about it."""
        subject = repository_subject(self._forge, repo.id)
        version = self.newer(subject, repo, 0, 0)
        if version is None:
            return [], []
        payload = SnapshotRepository(
            repository=repo.id, private=repo.private, archived=repo.archived
        )
        return self.note(version, payload, repo)

    def replaced(self, repository_id: int) -> Notes:
        """Return that a repository and everything known of it is no longer there."""
        events: list[Event] = []
        versions: list[Version] = []
        for number, ids in self.repository_comments(repository_id).items():
            for id_ in ids:
                subject = comment_subject(self._forge, repository_id, id_)
                _extend(events, versions, self.vanished(repository_id, subject, number))
        for subject in self.known(repository_id):
            number = int(subject.rsplit("#", 1)[1])
            _extend(events, versions, self.vanished(repository_id, subject, number))
        subject = repository_subject(self._forge, repository_id)
        if self._versions.get(subject, Version(subject, "", 0)).hash:
            _extend(events, versions, self.vanished(repository_id, subject, 0))
        return events, versions

    def vanished(self, repository_id: int, subject: str, number: int) -> Notes:
        """Return the event that says that a known object is no longer there."""
        held = self._versions.get(subject, Version(subject, "", 0))
        returns = self._history(held).get(held.hash, held.turn)
        version = Version(subject, "", held.updated_s, held.turn, number)
        id_ = self._recorder.version_id(subject, "vanished " + held.hash, held.updated_s, returns)
        payload = ForgeVanished(
            repository=repository_id, number=number, vanished=True, updated_s=version.updated_s
        )
        event = self._recorder.event(payload, subject=subject, id_=id_)
        return [event], [version]

    def newer(
        self, subject: str, content: msgspec.Struct, updated_s: int, extra: int
    ) -> Version | None:
        """Return the version of a content, None where it is the one that is held."""
        hash_ = sha256_hex(msgspec.json.encode(content))[:32]
        held = self._versions.get(subject)
        if held is None:
            return Version(subject, hash_, updated_s, 0, extra)
        if held.hash == hash_:
            return None
        turn = held.turn + 1 if held.updated_s == updated_s else 0
        return Version(subject, hash_, updated_s, turn, extra)

    def _history(self, held: Version) -> Mapping[str, int]:
        """Return the contents of a version's second, with how often each came back in it.

        What a restart forgot is counted too high: such a version has an id of its own at worst,
        never that of another one.
        """
        known = self._second.get(held.subject)
        if known is not None:
            return known
        if held.turn == 0 and held.hash:
            return {held.hash: 0, _OTHERS: 0}
        return {held.hash: held.turn, _OTHERS: held.turn + 1}

    def _returns(self, version: Version) -> int:
        held = self._versions.get(version.subject)
        if held is None or held.updated_s != version.updated_s:
            return 0
        history = self._history(held)
        return history[version.hash] + 1 if version.hash in history else history[_OTHERS]

    def _remember(self, version: Version) -> None:
        held = self._versions.get(version.subject)
        if held is None or held.updated_s != version.updated_s:
            self._second.pop(version.subject, None)
            return
        history = dict(self._history(held))
        if version.hash:
            history[version.hash] = self._returns(version)
        self._second[version.subject] = history
        if len(history) > MANY:
            del self._second[version.subject]

    def note(self, version: Version, payload: Snapshot, words: msgspec.Struct) -> Notes:
        """Return the event of a version that is new, with that version."""
        id_ = self._recorder.version_id(
            version.subject, version.hash, version.updated_s, self._returns(version)
        )
        held = self._versions.get(version.subject)
        if held is not None and held.updated_s > version.updated_s:
            # an owner may set the time of a change into the past
            payload = msgspec.structs.replace(payload, backdated=True)
        event = self._recorder.event(
            payload, subject=version.subject, words=_fitting(words), id_=id_
        )
        return [event], [version]

    def _subject(self, issue: Issue) -> str:
        return issue_subject(self._forge, issue.repository.id, issue.number)

    def _index(self, version: Version) -> None:
        repo, found, _ = version.subject.partition("/comment/")
        if not found:
            return
        subjects = self._comments[f"{repo}#{version.extra}"]
        if version.hash:
            subjects.add(version.subject)
        else:
            subjects.discard(version.subject)


def _extend(events: list[Event], versions: list[Version], notes: Notes) -> None:
    events += notes[0]
    versions += notes[1]


def _fitting(words: msgspec.Struct) -> msgspec.Struct:
    """Return words that fit into one frame of the link: an endless body is cut, and says so."""
    body = getattr(words, "body", "")
    return (
        words
        if len(body) <= MAX_WORDS
        else msgspec.structs.replace(words, body=cap(body, MAX_WORDS))
    )
