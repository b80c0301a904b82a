from __future__ import annotations

import pytest

from allegro.core.forge.issues import comment_subject, is_status, issue_subject, repository_subject
from tests.core.builders import issue


@pytest.mark.parametrize(("labels", "status"), [
    ((), None), (("bug",), None), (("bug", "status/done"), "done"),
    (("status/done", "status/ready"), None), (("Status/done",), None),
])  # fmt: skip
def test_the_status_is_the_one_status_label(labels: tuple[str, ...], status: str | None) -> None:
    assert issue(labels=labels).status == status


def test_only_the_scope_makes_a_status() -> None:
    assert is_status("status/done")
    assert not is_status("mystatus/done")


def test_subjects_go_by_ids_and_never_collide() -> None:
    assert issue_subject("forge", 7, 3) == "forge/7#3"
    assert comment_subject("forge", 7, 3) == "forge/7/comment/3"
    assert repository_subject("forge", 7) == "forge/7"
