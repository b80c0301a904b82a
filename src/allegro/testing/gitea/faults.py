"""Faults by script: which call goes wrong, and how. No dice."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

Kind = Literal["answer_lost", "reset", "status", "slow", "hang", "garbage", "truncated"]

PROXY_PAGE = "<html><head><title>{status}</title></head><body><center>proxy</center></body></html>"


@dataclass(slots=True)
class Rule:
    """One scripted fault on API calls.

    It looks at calls whose method matches the glob `method` and whose path (with `/api/v1`)
    contains a match of the regex `path`; it skips the first `nth` - 1 of them and then strikes
    `count` times (None = always).

    - `answer_lost`: the effect is done, the connection is reset before the answer
    - `reset`: the connection is reset before any effect
    - `status`: `status` is answered, with `body` (default: a proxy's HTML page) and `headers`;
      before any effect, or after it when `after_effect`
    - `slow`: the call is carried out and answered `seconds` later
    - `hang`: no effect and no answer until the client goes or the server stops
    - `garbage`: the effect is done, the answer is 200 with something that is not JSON
    - `truncated`: the effect is done, half of the answer's body comes, then a reset
    """

    kind: Kind
    method: str = "*"
    path: str = ""
    nth: int = 1
    count: int | None = 1
    status: int = 503
    body: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    after_effect: bool = False
    seen: int = 0
    struck: int = 0

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise ValueError(f"unknown fault {self.kind!r}")
        re.compile(self.path)

    def strikes(self, method: str, path: str) -> bool:
        """Count this call if it matches; tell whether it goes wrong."""
        if not fnmatch.fnmatchcase(method, self.method) or not re.search(self.path, path):
            return False
        self.seen += 1
        if self.seen < self.nth or (self.count is not None and self.struck >= self.count):
            return False
        self.struck += 1
        return True

    @property
    def page(self) -> str:
        return PROXY_PAGE.format(status=self.status) if self.body is None else self.body


@dataclass(slots=True)
class Faults:
    """The switches of one simulator; all off at first.

    - `commit_delay_s`: API writes wait so long and then appear with the earlier second
    - `clock_offset_s`: the server's clock is wrong: rows and `Date` header
    - `date_offset_s`: only the `Date` header is wrong
    - `date_header`: sent as it is instead of a date, e.g. an unreadable text
    - `hook_delay_s`: the time a webhook waits in the queue
    - `lose_hooks`: so many of the next webhooks are marked delivered and never sent
    """

    rules: list[Rule] = field(default_factory=list)
    commit_delay_s: float = 0.0
    clock_offset_s: float = 0.0
    date_offset_s: float = 0.0
    date_header: str | None = None
    hook_delay_s: float = 0.05
    lose_hooks: int = 0

    def add(self, kind: Kind, **options: Any) -> Rule:
        """Add a rule (see `Rule` for the options) behind those already there."""
        rule = Rule(kind, **options)
        self.rules.append(rule)
        return rule

    def clear(self) -> None:
        """Take all rules away and put all switches back."""
        self.rules.clear()
        fresh = Faults()
        for name in SWITCHES:
            setattr(self, name, getattr(fresh, name))

    def strike(self, method: str, path: str) -> Rule | None:
        """Return the first rule that strikes this call; the ones behind it do not count it."""
        return next((rule for rule in self.rules if rule.strikes(method, path)), None)


SWITCHES = (
    "commit_delay_s",
    "clock_offset_s",
    "date_offset_s",
    "date_header",
    "hook_delay_s",
    "lose_hooks",
)
