"""The ForgeReader port: reads only, everything keyed by repository id."""

from __future__ import annotations

from allegro.adapters.gitea.accounts import AccountReads
from allegro.adapters.gitea.code import CodeReads
from allegro.adapters.gitea.issues import IssueReads
from allegro.adapters.gitea.pulls import PullReads


class GiteaReader(AccountReads, IssueReads, PullReads, CodeReads):
    """Reads a Gitea or Forgejo: one connection and one memory of names under four subjects."""
