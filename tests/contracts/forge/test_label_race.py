"""A hand and an order set a status at once: exactly one status label stands, whoever comes when."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from allegro.adapters.gitea.http import Answer, GiteaHttp
from allegro.core.authority.actions.forge import UpdateStatus
from allegro.core.forge.issues import STATUS_SCOPE, STATUSES, Repository

from .forge_backends import Site
from .lane import Lane
from .people import People, at

MOST_REQUESTS = 14
TOGETHER_S = 2.0


class Interrupted(GiteaHttp):
    """Our connection to the forge, before whose n-th request somebody else acts."""

    def __init__(self, site: Site, nth: int, act: Callable[[], Awaitable[object]]) -> None:
        super().__init__(site.url, lambda: site.daily, timeout_s=15.0)
        self._nth = nth
        self._act = act
        self.acted_s = 0.0

    async def call(self, method: str, path: str, **more: Any) -> Answer:
        if self.requests + 1 == self._nth and not self.acted_s:
            await self._act()
            self.acted_s = time.monotonic()
        return await super().call(method, path, **more)


async def label_ids(people: People, repo: Repository, *, exclusive: bool) -> dict[str, int]:
    """Make every status label of a repository, as its owner or as we would."""
    return {
        status: (
            await people.call(
                "POST", f"{at(repo)}/labels",
                {"name": STATUS_SCOPE + status, "color": "#123456", "exclusive": exclusive},
            )
        )["id"]
        for status in STATUSES
    }  # fmt: skip


async def statuses(lane: Lane, repo: Repository, number: int) -> list[str]:
    issue = await lane.reader.issue(repo, number)
    assert issue is not None
    return [name for name in issue.labels if name.startswith(STATUS_SCOPE)]


@pytest.mark.parametrize("exclusive", [True, False], ids=["exclusive", "plain"])
@pytest.mark.parametrize("hand", ["adds", "adds the old one", "takes ours", "replaces all"])
async def test_one_status_stands_wherever_a_hand_comes_between(
    lane: Lane, people: People, site: Site, hand: str, exclusive: bool
) -> None:
    repo = await people.repository()
    ids = await label_ids(people, repo, exclusive=exclusive)
    for nth in range(1, MOST_REQUESTS + 1):
        number = await people.issue(repo)
        labels = f"{at(repo)}/issues/{number}/labels"
        await people.call("POST", labels, {"labels": [ids["pending"]]})

        async def act(labels: str = labels) -> object:
            match hand:
                case "adds":
                    return await people.call("POST", labels, {"labels": [ids["blocked"]]})
                case "adds the old one":
                    return await people.call("POST", labels, {"labels": [ids["pending"]]})
                case "takes ours":
                    return await people.call(
                        "DELETE", f"{labels}/{ids['review']}", accept=(404, 422)
                    )
                case _:
                    return await people.call("PUT", labels, {"labels": [ids["failed"]]})

        http = Interrupted(site, nth, act)
        action = UpdateStatus(**lane.pin(repo), issue=number, status="review")
        outcome = await lane.order(action, executor=lane.executor_over(http))
        took_s = time.monotonic() - http.acted_s
        await http.close()
        if not http.acted_s:
            assert nth > 6
            return
        assert outcome.type == "action.receipt", (nth, outcome)
        assert await statuses(lane, repo, number) == ["status/review"], nth
        assert outcome.writes <= 2, nth
        assert took_s < TOGETHER_S
    raise AssertionError("an order costs more requests than expected")
