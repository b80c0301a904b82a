"""A Gitea or Forgejo to test against: real HTTP, real git, faults on demand."""

from .faults import Faults, Rule
from .http import Call, Reply
from .model import Comment, Issue, Label, Repo, User
from .server import GiteaSimulator
from .world import World

__all__ = [
    "Call",
    "Comment",
    "Faults",
    "GiteaSimulator",
    "Issue",
    "Label",
    "Reply",
    "Repo",
    "Rule",
    "User",
    "World",
]
