"""propose_change end to end: gate, executor, journal, forge."""

from __future__ import annotations

import secrets

import msgspec
import pytest

from allegro.adapters.gitea.values import seconds
from allegro.core.authority.actions.families import action_bytes as raw_of
from allegro.core.authority.actions.families import parse_action
from allegro.core.authority.actions.forge import CI_PREFIXES
from allegro.core.base.errors import EdgeError, Refusal
from allegro.core.effects.findings import WriteStep
from allegro.core.effects.render import rendered_body
from allegro.core.forge.issues import Repository
from allegro.core.protocol.answers.forge import PinnedChange, Sighting

from .forge_backends import Site
from .lane import Lane, Outcome, create, delete, update
from .people import People
from .test_reading_code import new_files

BASE = {"src/old.txt": "old\n", "src/deep/gone.txt": "gone\n", "src/stays.txt": "stays\n"}


async def based(people: People) -> tuple[Repository, str]:
    repo = await people.repository(BASE)
    return repo, await people.tip(repo)


async def content(lane: Lane, repo: Repository, commit: str) -> dict[str, tuple[str, bytes]]:
    """Return path to mode and bytes of everything in a commit."""
    found = await lane.reader.commit(repo, commit)
    assert found is not None
    files: dict[str, tuple[str, bytes]] = {}
    todo = [("", found.tree)]
    while todo:
        prefix, tree = todo.pop()
        for name, entry in (await lane.reader.tree(repo, tree)).items():
            if entry.type == "tree":
                todo.append((f"{prefix}{name}/", entry.sha))
            else:
                raw = await lane.reader.blob(repo, entry.sha)
                files[prefix + name] = (entry.mode, raw or b"")
    return files


def is_done(outcome: Outcome) -> bool:
    return outcome.type == "action.receipt" and "others" not in outcome.data


async def test_a_change_becomes_one_branch_one_commit_one_pull_request(
    lane: Lane, people: People, site: Site
) -> None:
    repo, base = await based(people)
    raw = secrets.token_bytes(5_000)
    action = lane.change(
        repo,
        base,
        update("src/old.txt", b"old\n", b"new\r\nlines"),
        delete("src/deep/gone.txt", b"gone\n"),
        create("neu/grüße/日本 #1?&%.txt", "Grüße\n".encode()),
        create("neu/raw.bin", raw),
        create("neu/empty", b""),
    )
    outcome = await lane.order(action)
    assert is_done(outcome), outcome
    assert outcome.writes == 3
    branch = lane.dress(action).branch
    head = await people.tip(repo, branch)
    assert outcome.data["commit"] == head
    assert outcome.words["branch"] == branch
    assert await content(lane, repo, head) == {
        "README.md": (await content(lane, repo, base))["README.md"],
        "src/old.txt": ("100644", b"new\r\nlines"),
        "src/stays.txt": ("100644", b"stays\n"),
        "neu/grüße/日本 #1?&%.txt": ("100644", "Grüße\n".encode()),
        "neu/raw.bin": ("100644", raw),
        "neu/empty": ("100644", b""),
    }
    pull = await lane.reader.pull(repo, outcome.data["artifact"])
    assert pull is not None
    assert (pull.title, pull.base, pull.head, pull.state) == (action.title, "main", branch, "open")
    assert pull.body.startswith(action.body)
    assert pull.author_id == (await lane.reader.whoami(site.change)).id
    assert await people.tip(repo) == base


async def test_a_second_order_finds_the_same_pull_request(lane: Lane, people: People) -> None:
    repo, base = await based(people)
    action = lane.change(repo, base, create("new.txt", b"new\n"))
    first, second = await lane.order(action), await lane.order(action)
    assert is_done(first)
    assert is_done(second)
    assert second.writes == 0
    assert first.data == second.data
    assert len(await lane.reader.pulls_between(repo, "main", lane.dress(action).branch)) == 1


async def test_a_change_is_found_again_after_it_was_merged_or_closed(
    lane: Lane, people: People
) -> None:
    repo, base = await based(people)
    merged = lane.change(repo, base, create("one.txt", b"1\n"))
    closed = lane.change(repo, base, create("two.txt", b"2\n"))
    numbers = [(await lane.order(action)).data["artifact"] for action in (merged, closed)]
    await people.merge(repo, numbers[0])
    await people.edit_pull(repo, numbers[1], state="closed")
    again = [await lane.order(action) for action in (merged, closed)]
    assert [outcome.data.get("artifact") for outcome in again] == numbers
    assert [(outcome.type, outcome.writes) for outcome in again] == [("action.receipt", 0)] * 2


async def test_the_commit_carries_todays_date_and_the_approved_title(
    lane: Lane, people: People
) -> None:
    repo, base = await based(people)
    action = lane.change(repo, base, create("new.txt", b"new\n"), title="Füge etwas hinzu")
    outcome = await lane.order(action)
    told = await people.call("GET", f"/repos/{repo.name}/git/commits/{outcome.data['commit']}")
    assert told["commit"]["message"].strip() == "Füge etwas hinzu"
    now_s = await lane.reader.date_s()
    for who in ("author", "committer"):
        assert abs(seconds(told["commit"][who]["date"]) - now_s) < 60


async def test_an_executable_file_stays_executable(lane: Lane, people: People) -> None:
    repo = await people.repository(protected=False)
    await people.patch(repo, new_files(["bin/run"], mode="100755"))
    await people.protect(repo)
    base = await people.tip(repo)
    action = lane.change(repo, base, update("bin/run", b"bin/run\n", b"#!/bin/sh\n", mode="100755"))
    outcome = await lane.order(action)
    assert is_done(outcome), outcome
    files = await content(lane, repo, outcome.data["commit"])
    assert files["bin/run"] == ("100755", b"#!/bin/sh\n")


async def test_a_mode_that_is_not_the_files_own_is_stale(lane: Lane, people: People) -> None:
    repo, base = await based(people)
    action = lane.change(repo, base, update("src/old.txt", b"old\n", b"new\n", mode="100755"))
    outcome = await lane.order(action)
    assert (outcome.type, outcome.writes) == ("action.stale", 0)


async def test_a_wrong_blob_before_is_stale(lane: Lane, people: People) -> None:
    repo, base = await based(people)
    for change in (
        update("src/old.txt", b"older\n", b"new\n"),
        delete("src/old.txt", b"older\n"),
        create("src/old.txt", b"new\n"),
        update("src/missing.txt", b"old\n", b"new\n"),
    ):
        action = lane.change(repo, base, change)
        outcome = await lane.order(action)
        assert (outcome.type, outcome.writes) == ("action.stale", 0), change
        assert await lane.reader.branch(repo, lane.dress(action).branch) is None


async def test_a_base_that_moved_on_is_no_reason_to_refuse(lane: Lane, people: People) -> None:
    repo, base = await based(people)
    await people.commit(repo, {"src/old.txt": "newer\n"})
    action = lane.change(repo, base, update("src/old.txt", b"old\n", b"new\n"))
    outcome = await lane.order(action)
    assert is_done(outcome), outcome
    commit = await lane.reader.commit(repo, outcome.data["commit"])
    assert commit is not None
    assert commit.parents == (base,)


async def test_a_base_that_was_rewritten_is_stale(lane: Lane, people: People) -> None:
    repo = await people.repository()
    first = await people.tip(repo)
    base = await people.commit(repo, {"a.txt": "a\n"})
    await people.rewrite_main(repo, first)
    await people.commit(repo, {"a.txt": "another\n"})
    outcome = await lane.order(lane.change(repo, base, create("new.txt", b"new\n")))
    assert (outcome.type, outcome.writes) == ("action.stale", 0)
    assert "history" in outcome.words


async def test_a_base_commit_that_never_was_is_stale(lane: Lane, people: People) -> None:
    repo, _ = await based(people)
    outcome = await lane.order(lane.change(repo, "1" * 40, create("new.txt", b"new\n")))
    assert (outcome.type, outcome.writes) == ("action.stale", 0)


async def test_a_base_branch_that_is_gone_is_stale(lane: Lane, people: People) -> None:
    repo, base = await based(people)
    action = lane.change(repo, base, create("new.txt", b"new\n"), base="release")
    outcome = await lane.order(action)
    assert (outcome.type, outcome.writes) == ("action.stale", 0)
    assert "release is gone" in outcome.words


async def test_a_branch_with_other_content_in_our_place_is_a_conflict(
    lane: Lane, people: People
) -> None:
    repo, base = await based(people)
    action = lane.change(repo, base, create("new.txt", b"new\n"))
    await people.commit(repo, {"new.txt": "evil\n"}, new_branch=lane.dress(action).branch)
    outcome = await lane.order(action)
    assert (outcome.type, outcome.writes) == ("action.conflict", 0)


async def test_a_branch_with_more_than_our_content_is_a_conflict(
    lane: Lane, people: People
) -> None:
    repo, base = await based(people)
    action = lane.change(repo, base, create("new.txt", b"new\n"))
    await people.commit(
        repo, {"new.txt": "new\n", "more.txt": "x"}, new_branch=lane.dress(action).branch
    )
    outcome = await lane.order(action)
    assert (outcome.type, outcome.writes) == ("action.conflict", 0)


async def test_our_place_taken_at_the_base_commit_is_used(lane: Lane, people: People) -> None:
    repo, base = await based(people)
    action = lane.change(repo, base, create("new.txt", b"new\n"))
    await people.branch(repo, lane.dress(action).branch, base)
    outcome = await lane.order(action)
    assert is_done(outcome), outcome
    assert outcome.writes == 2


async def test_our_place_taken_with_exactly_our_content_is_used(lane: Lane, people: People) -> None:
    repo, base = await based(people)
    action = lane.change(repo, base, create("new.txt", b"new\n"))
    await people.commit(repo, {"new.txt": "new\n"}, new_branch=lane.dress(action).branch)
    outcome = await lane.order(action)
    assert is_done(outcome), outcome
    assert outcome.writes == 1


async def test_our_branch_moved_behind_the_pull_request_is_a_conflict(
    lane: Lane, people: People
) -> None:
    repo, base = await based(people)
    action = lane.change(repo, base, create("new.txt", b"new\n"))
    await lane.order(action)
    await people.commit(repo, {"more.txt": "x"}, lane.dress(action).branch)
    outcome = await lane.order(action)
    assert (outcome.type, outcome.writes) == ("action.conflict", 0)


async def test_a_pull_request_by_somebody_else_on_our_branch_is_a_conflict(
    lane: Lane, people: People
) -> None:
    repo, base = await based(people)
    action = lane.change(repo, base, create("new.txt", b"new\n"))
    branch = lane.dress(action).branch
    await people.commit(repo, {"new.txt": "new\n"}, new_branch=branch)
    await people.pull(repo, branch, action.title, action.body)
    outcome = await lane.order(action)
    assert (outcome.type, outcome.writes) == ("action.conflict", 0)


async def test_our_pull_request_with_another_title_is_a_conflict(
    lane: Lane, people: People
) -> None:
    repo, base = await based(people)
    action = lane.change(repo, base, create("new.txt", b"new\n"))
    first = await lane.order(action)
    await people.edit_pull(repo, first.data["artifact"], title="Something else")
    outcome = await lane.order(action)
    assert (outcome.type, outcome.writes) == ("action.conflict", 0)


async def test_ci_paths_change_only_when_the_approval_says_so(lane: Lane, people: People) -> None:
    repo, base = await based(people)
    path = CI_PREFIXES[0] + "workflows/run.yml"
    refused = lane.change(repo, base, create(path, b"on: push\n"))
    judged = parse_action(raw_of(refused))
    assert isinstance(judged, Refusal)
    assert "allow_ci_paths" in judged.detail
    allowed = lane.change(repo, base, create(path, b"on: push\n"), allow_ci_paths=True)
    assert is_done(await lane.order(allowed))


async def test_many_files_are_one_commit(lane: Lane, people: People) -> None:
    repo, base = await based(people)
    files = [create(f"many/{n // 10}/{n}.txt", b"%d\n" % n) for n in range(60)]
    outcome = await lane.order(lane.change(repo, base, *files))
    assert is_done(outcome), outcome
    assert len(await content(lane, repo, outcome.data["commit"])) == 64


async def test_a_file_in_place_of_a_folder_is_not_ours_to_make(lane: Lane, people: People) -> None:
    repo, base = await based(people)
    action = lane.change(
        repo,
        base,
        create("src/deep", b"now a file\n"),
    )
    outcome = await lane.order(action)
    assert (outcome.type, outcome.writes) == ("action.stale", 0)


async def test_a_path_below_a_file_is_stale_before_a_branch_is_made(
    lane: Lane, people: People
) -> None:
    repo, base = await based(people)
    action = lane.change(repo, base, create("src/old.txt/new.txt", b"now in a folder\n"))
    outcome = await lane.order(action)
    assert (outcome.type, outcome.writes) == ("action.stale", 0)
    assert "src/old.txt is no folder" in outcome.words
    assert await lane.reader.branch(repo, lane.dress(action).branch) is None


async def test_a_path_below_a_file_is_refused_when_it_is_pinned(lane: Lane, people: People) -> None:
    repo, _ = await based(people)
    asked = {"repository": repo.name, "paths": ["src/old.txt/new.txt"]}
    with pytest.raises(EdgeError, match=r"src/old\.txt is no folder") as told:
        await lane.queries.answer("pin_change", asked)
    assert not told.value.transient


async def test_a_file_under_lfs_is_refused_when_it_is_pinned_and_before_a_branch_is_made(
    lane: Lane, people: People
) -> None:
    repo = await people.repository({"media/.gitattributes": "*.bin filter=lfs -text\n"})
    base = await people.tip(repo)
    asked = {"repository": repo.name, "paths": ["media/a.bin"]}
    with pytest.raises(EdgeError, match="filter=lfs"):
        await lane.queries.answer("pin_change", asked)
    await lane.queries.answer("pin_change", {**asked, "deleted": ["media/a.bin"]})
    await lane.queries.answer("pin_change", {**asked, "paths": ["media/a.txt", "a.bin"]})
    action = lane.change(repo, base, create("media/a.bin", b"raw"))
    outcome = await lane.order(action)
    assert (outcome.type, outcome.writes) == ("action.stale", 0)
    assert "filter=lfs" in outcome.words
    own = create(".gitattributes", b"*.bin filter=lfs\n")
    outcome = await lane.order(lane.change(repo, base, own, create("b.bin", b"raw")))
    assert (outcome.type, outcome.writes) == ("action.stale", 0)


async def test_a_change_that_is_refused_late_names_the_branch_it_leaves(
    lane: Lane, people: People
) -> None:
    repo, base = await based(people)
    action = lane.change(repo, base, create("new.txt", b"new\n"))
    outcome = await lane.order(action, executor=lane.executor_with(refuse=WriteStep.COMMIT))
    assert (outcome.type, outcome.reason) == ("action.failed", "forbidden")
    assert lane.dress(action).branch in outcome.words


async def test_the_shadow_mode_shows_a_whole_change_and_writes_nothing(
    lane: Lane, people: People
) -> None:
    repo, base = await based(people)
    action = lane.change(repo, base, create("new.txt", b"new\n"))
    after = lane.journal.head.seq
    outcome = await lane.order(action, executor=lane.executor_with(shadow=True))
    assert (outcome.type, outcome.reason) == ("action.failed", "shadow")
    intent, shadowed, _ = await lane.events(after)
    assert (intent.type, intent.data["shadow"]) == ("action.intent", True)
    assert (shadowed.type, shadowed.data["steps"]) == (
        "action.shadowed",
        ["branch", "commit", "pull"],
    )
    branch, commit, pull = msgspec.json.decode(shadowed.sealed)
    dress = lane.dress(action)
    assert (branch["branch"], branch["at"]) == (dress.branch, base)
    assert [file["path"] for file in commit["files"]] == ["new.txt"]
    assert pull["body"] == rendered_body(action, dress.marker)
    assert await lane.reader.branch(repo, dress.branch) is None
    done = await lane.order(action)
    assert is_done(done), done
    again = await lane.order(action, executor=lane.executor_with(shadow=True))
    assert (again.type, again.writes) == ("action.receipt", 0)


async def test_the_questions_of_the_house_pin_what_the_order_then_finds(
    lane: Lane, people: People
) -> None:
    repo, base = await based(people)
    told = await lane.queries.answer(
        "pin_change", {"repository": repo.name, "paths": ["src/old.txt", "src/none.txt"]}
    )
    assert isinstance(told, PinnedChange)
    assert (told.base, told.base_commit) == ("main", base)
    assert told.files["src/none.txt"] is None
    old = told.files["src/old.txt"]
    assert old is not None
    assert old.mode == "100644"
    action = lane.change(repo, base, update("src/old.txt", b"old\n", b"new\n"))
    change = action.files[0]
    assert old.sha == change.before
    dress = lane.dress(action)
    asked = {"action": raw_of(action), "branch": dress.branch, "marker": dress.marker}
    before = await lane.queries.answer("look", asked)
    assert before == Sighting(finding="Absent")
    outcome = await lane.order(action)
    after = await lane.queries.answer("look", asked)
    assert isinstance(after, Sighting)
    assert (after.finding, after.number) == ("Present", outcome.data["artifact"])
