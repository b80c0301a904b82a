"""A clear no is told apart from an answer that leaves it open."""

from __future__ import annotations

import pytest

from allegro.core.base.errors import EdgeError
from allegro.core.effects.outcomes import Said, said_by


def error(status: int, **more: object) -> EdgeError:
    return EdgeError("told", transient=status >= 500, status=status, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 410, 412, 413, 423, 451, 499])
def test_a_refusal_says_that_it_was_not_done(status: int) -> None:
    assert said_by(error(status)) is Said.NO


@pytest.mark.parametrize("status", [409, 422])
def test_what_may_mean_that_it_exists_is_looked_for(status: int) -> None:
    assert said_by(error(status)) is Said.EXISTS


@pytest.mark.parametrize("status", [0, 100, 199, 200, 201, 299, 408, 500, 502, 503, 504, 599, 999])
def test_everything_else_leaves_it_open(status: int) -> None:
    assert said_by(error(status)) is Said.NOTHING


def test_a_wait_says_that_it_was_not_done_yet() -> None:
    assert said_by(error(429)) is Said.NOT_NOW
    assert said_by(error(429, retry_after_s=5.0)) is Said.NOT_NOW
    assert said_by(error(503, retry_after_s=0.0)) is Said.NOT_NOW
    assert said_by(error(403, retry_after_s=9.0)) is Said.NOT_NOW
    assert said_by(error(500, retry_after_s=9.0)) is Said.NOTHING


@pytest.mark.parametrize("status", [300, 301, 307, 399])
def test_a_redirect_was_not_done_and_may_be_done_by_another_name(status: int) -> None:
    assert said_by(error(status)) is Said.NOT_NOW


def test_what_was_not_sent_was_not_done_whatever_the_status() -> None:
    for status in (0, 429, 500):
        assert said_by(error(status, sent=False)) is Said.NOT_SENT
