from __future__ import annotations

import base64
import hashlib
from typing import Any

import msgspec
import pytest

from allegro.core.authority.actions.families import (
    MAX_ACTION_BYTES,
    action_bytes,
    action_digest,
    action_faults,
    kind_of,
    parse_action,
)
from allegro.core.authority.actions.family import Action
from allegro.core.authority.actions.forge import (
    MAX_BODY_BYTES,
    RepositoryRef,
    ci_paths,
    git_blob_id,
    is_ci_path,
    of_forge,
)
from allegro.core.authority.actions.forge_family import (
    MAX_CONTENT_BYTES,
    MAX_FILES,
    is_branch_name,
)
from allegro.core.base.canonical import canonical
from allegro.core.base.errors import Refusal
from tests.core.builders import (
    EVERY_ACTION,
    EVERY_FORGE_ACTION,
    EVERY_SESSION_ACTION,
    change,
    close,
    comment_action,
    file_change,
    mirror_action,
    pull_action,
    refused,
    run_session,
    seen_action,
    status_action,
)


@pytest.mark.parametrize("action", EVERY_ACTION, ids=kind_of)
def test_every_kind_of_action_survives_its_bytes(action: Action) -> None:
    assert parse_action(action_bytes(action)) == action


def test_a_digest_names_the_bytes_and_nothing_else_hashed_the_plain_way() -> None:
    raw = action_bytes(close())
    assert action_digest(raw) == hashlib.sha256(b"allegro action\x00" + raw).hexdigest()
    assert action_digest(raw) != hashlib.sha256(raw).hexdigest()
    assert action_digest(raw) != action_digest(action_bytes(close(id="b" * 16)))


def test_an_action_beyond_the_limit_is_not_even_read() -> None:
    assert refused(parse_action(b" " * (MAX_ACTION_BYTES + 1)), "action_too_large")
    assert refused(parse_action(b" " * MAX_ACTION_BYTES), "not_canonical")


def test_bytes_that_are_not_canonical_are_refused() -> None:
    assert refused(parse_action(action_bytes(close()) + b" "), "not_canonical")


@pytest.mark.parametrize("raw", [b"{}", b"[]", b"null", b'{"kind":"merge"}', b'{"kind":7}'])
def test_what_is_no_known_action_is_refused(raw: bytes) -> None:
    assert refused(parse_action(raw), "malformed_action")


def test_an_action_with_faults_is_refused_with_all_of_them() -> None:
    answer = parse_action(action_bytes(comment_action(issue=0, body=" ")))
    assert refused(answer, "malformed_action")
    assert "issue must be" in str(answer)
    assert "body must not be empty" in str(answer)


@pytest.mark.parametrize(
    ("action", "word"),
    [
        (close(id="short"), "id must"),
        (close(id="A" * 16), "id must"),
        (close(forge=""), "forge must"),
        (close(forge="f" * 201), "forge must"),
        (close(repository=RepositoryRef(0, "home/garden")), "repository must"),
        (close(repository=RepositoryRef(7, "garden")), "repository must"),
        (close(repository=RepositoryRef(7, "home/garden/x")), "repository must"),
        (close(repository=RepositoryRef(7, "home/gar den")), "repository must"),
        (close(repository=RepositoryRef(7, "home/garden\n")), "repository must"),
        (close(repository=RepositoryRef(7, "../garden")), "repository must"),
        (close(repository=RepositoryRef(7, "./garden")), "repository must"),
        (close(repository=RepositoryRef(7, "home/..")), "repository must"),
        (close(repository=RepositoryRef(7, "home/.")), "repository must"),
        (close(issue=0), "issue must"),
        (comment_action(body=""), "body must not be empty"),
        (mirror_action(body="\n"), "body must not be empty"),
        (comment_action(body="x" * (MAX_BODY_BYTES + 1)), "body must not be longer"),
        (comment_action(body="é" * (MAX_BODY_BYTES // 2 + 1)), "body must not be longer"),
        (status_action(status="approved"), "status must"),
        (seen_action(status="merged"), "status must"),
        (pull_action(base=""), "base is not"),
        (pull_action(head="a..b"), "branch is not"),
        (pull_action(head="main"), "must differ"),
        (pull_action(title=" "), "title must"),
        (pull_action(title="x" * 256), "title must"),
        (pull_action(title="a\u202eb"), "title must"),
        (pull_action(head_commit="b" * 39), "head_commit must"),
        (pull_action(base_commit="B" * 40), "base_commit must"),
        (change(base_commit="main"), "base_commit must"),
        (change(files=()), "files must be"),
        (change(files=tuple(file_change(path=f"f{n}") for n in range(MAX_FILES + 1))), "files must"),
        (change(files=(file_change(), file_change(path="SRC/app.py"))), "named twice"),
        (change(files=(file_change(content="A" * (MAX_CONTENT_BYTES * 4 // 3 + 8)),)), "together"),
        (change(files=(file_change(path=".gitea/workflows/x.yml"),)), "allow_ci_paths"),
        (change(files=(file_change(mode="120000"),)), "mode of"),
        (change(files=(file_change(mode="100755"),)), "a new file is 100644"),
        (change(files=(file_change(operation="rename"),)), "operation of"),
        (change(files=(file_change(before="c" * 40),)), "before of"),
        (change(files=(file_change(operation="update"),)), "before of"),
        (change(files=(file_change(operation="update", before="zz"),)), "git blob id"),
        (change(files=(file_change(content=None),)), "content of"),
        (change(files=(file_change(operation="delete", before="c" * 40),)), "content of"),
        (change(files=(file_change(content="not base64!"),)), "not base64"),
        (change(files=(file_change(content="é"),)), "not base64"),
    ],
)  # fmt: skip
def test_a_fault_is_told_in_a_sentence(action: Action, word: str) -> None:
    assert word in "; ".join(action_faults(action))


@pytest.mark.parametrize("path", [
    "", "/etc/passwd", "a//b", "a/", "./a", "a/../b", "..", ".git/config", "a/.GIT/hooks", "a\\b",
    "a\x00b", "a\u202eb", "a\nb", "x" * 501,
])  # fmt: skip
def test_a_path_that_could_lead_elsewhere_is_a_fault(path: str) -> None:
    faults = action_faults(change(files=(file_change(path=path),)))
    assert any("not a usable path" in fault for fault in faults)


def test_a_good_update_and_a_good_delete_have_no_fault() -> None:
    update = file_change(operation="update", mode="100755", before="c" * 40)
    delete = file_change(path="old", operation="delete", before="d" * 64, content=None)
    assert action_faults(change(files=(update, delete))) == ()
    assert update.raw() == b"print(1)\n"
    assert delete.raw() == b""


@pytest.mark.parametrize("status", [None, "pending"])
def test_triage_may_set_the_first_status_or_none(status: str | None) -> None:
    assert action_faults(seen_action(status=status)) == ()


@pytest.mark.parametrize("name", ["main", "a/b", "fix-1", "ünïcode", "a.b", "-".join("abc"), "x@y"])
def test_a_branch_name_git_accepts_is_accepted(name: str) -> None:
    assert is_branch_name(name)


@pytest.mark.parametrize("name", [
    "", "a b", "a~b", "a^b", "a:b", "a?b", "a*b", "a[b", "a\\b", "a..b", "a@{b", "a//b", "a/.b",
    "a.lock", "a.lock/b", "a.", "a/", "/a", "-a", ".a", "@", "refs/heads/a", "HEAD", "a\u200bb",
    "a\n", "x" * 201, "\ud800",
])  # fmt: skip
def test_a_branch_name_git_refuses_or_that_hides_something_is_refused(name: str) -> None:
    assert not is_branch_name(name)


@pytest.mark.parametrize("path", [
    ".gitea/workflows/a.yml", ".forgejo/x", ".github/workflows/a.yml", ".GitHub/Workflows/a.yml",
])  # fmt: skip
def test_what_a_runner_executes_is_a_ci_path_in_any_case(path: str) -> None:
    assert is_ci_path(path)


@pytest.mark.parametrize("path", ["gitea/x", "src/.gitea/x", ".github/ISSUE_TEMPLATE.md"])
def test_what_no_runner_looks_at_is_no_ci_path(path: str) -> None:
    assert not is_ci_path(path)


def test_ci_paths_are_shown_for_changes_and_pull_requests_only() -> None:
    workflow = file_change(path=".gitea/workflows/a.yml")
    assert ci_paths(change(files=(file_change(), workflow))) == (".gitea/workflows/a.yml",)
    assert ci_paths(pull_action(ci_paths=(".gitea/a",))) == (".gitea/a",)
    assert ci_paths(close()) == ()


@pytest.mark.parametrize(("like", "blob"), [
    ("a" * 40, "ce013625030ba8dba906f756967f9e9ca394464a"),
    ("a" * 64, "2cf8d83d9ee29543b34a87727421fdecb7e3f3a183d337639025de576db9ebb4"),
])  # fmt: skip
def test_a_blob_has_the_id_that_git_gives_it(like: str, blob: str) -> None:
    assert git_blob_id(b"hello\n", like=like) == blob


def test_no_field_of_an_action_may_be_added() -> None:
    for action in EVERY_ACTION:
        raw = action_bytes(action)
        more: Any = raw.replace(b'{"', b'{"aaa":1,"', 1)
        assert refused(parse_action(more), "malformed_action")


def test_no_field_of_an_action_may_be_left_out_also_where_it_could_be_filled_in() -> None:
    reasons = set()
    for action in EVERY_ACTION:
        told = msgspec.json.decode(action_bytes(action), type=dict[str, Any])
        needed = {field.name for field in msgspec.structs.fields(action) if field.required}
        for name in told:
            raw = canonical({key: value for key, value in told.items() if key != name})
            reason = "malformed_action" if name in {"kind", *needed} else "not_canonical"
            assert refused(parse_action(raw), reason), (kind_of(action), name)
            reasons.add(reason)
    assert reasons == {"malformed_action", "not_canonical"}


def test_a_refusal_of_a_field_that_is_left_out_says_what_to_do() -> None:
    raw = action_bytes(run_session()).replace(b'"network":false,', b"")
    assert parse_action(raw) == Refusal(
        "not_canonical", "every field must be written out, also where it is empty"
    )


def test_no_field_of_a_file_may_be_added_or_left_out() -> None:
    raw = action_bytes(change())
    for short in (b'"before":null,', b'"mode":"100644",'):
        assert short in raw
        assert refused(parse_action(raw.replace(short, b"")), "malformed_action")
    more = raw.replace(b'"before":null,', b'"author":"x","before":null,')
    assert refused(parse_action(more), "malformed_action")


def test_what_is_done_on_a_forge_is_told_from_what_is_not() -> None:
    assert tuple(map(of_forge, EVERY_FORGE_ACTION)) == EVERY_FORGE_ACTION
    for action in EVERY_SESSION_ACTION:
        with pytest.raises(TypeError, match=kind_of(action)):
            of_forge(action)
        assert ci_paths(action) == ()


def test_content_is_base64_of_the_file() -> None:
    content = base64.b64encode(bytes(range(256))).decode()
    assert file_change(content=content).raw() == bytes(range(256))


def test_a_path_below_another_of_the_same_change_is_a_fault() -> None:
    files = (file_change(path="roses"), file_change(path="roses/red"))
    assert any("lies below another" in fault for fault in action_faults(change(files=files)))
    apart = (file_change(path="roses-red"), file_change(path="roses/red"))
    assert not action_faults(change(files=apart))


def test_our_branch_leaves_room_for_its_suffix() -> None:
    assert not action_faults(change(branch="b" * 80))
    assert any("80 characters" in fault for fault in action_faults(change(branch="b" * 81)))


def test_a_path_like_an_option_is_a_fault() -> None:
    assert action_faults(change(files=(file_change(path="-rf"),)))


def test_every_fault_is_a_sentence_for_a_person() -> None:
    update = {"operation": "update", "before": "c" * 40}
    workflows = (file_change(path=".gitea/a.yml"), file_change(path=".forgejo/b.yml"))
    cases: list[tuple[Action, list[str]]] = [
        (close(id="short"), ["id must be 16 to 64 characters of 0-9 a-z"]),
        (run_session(id="short"), ["id must be 16 to 64 characters of 0-9 a-z"]),
        (close(forge="", issue=0, repository=RepositoryRef(0, "home/garden")), [
            "forge must name the forge",
            "repository must be an id above 0 and a name like owner/name",
            "issue must be a number above 0",
        ]),
        (comment_action(body=" "), ["body must not be empty"]),
        (comment_action(body="x" * 60_001), ["body must not be longer than 60000 bytes"]),
        (status_action(status="x"), [
            "status must be one of pending, ready, in-progress, blocked, review, done, failed"
        ]),
        (seen_action(status="x"), [
            "status must be none, or one of pending, ready, in-progress, blocked, review, done, failed"
        ]),
        (pull_action(base="a b", head="c..d"), [
            "base is not a branch name git accepts: 'a b'",
            "branch is not a branch name git accepts: 'c..d'",
        ]),
        (pull_action(head="main", title=""), [
            "branch and base must differ",
            "title must be one printable line of 1 to 255 characters, no space around it",
        ]),
        (pull_action(base_commit="a", head_commit="b"), [
            "base_commit must be a full commit id in lower-case hex",
            "head_commit must be a full commit id in lower-case hex",
        ]),
        (change(base_commit="a", branch="b" * 81, files=()), [
            "base_commit must be a full commit id in lower-case hex",
            "branch must not be longer than 80 characters", "files must be 1 to 300",
        ]),
        (change(files=(file_change(path="a"), file_change(path="A"), file_change(path="a/b"))), [
            "'a/b' lies below another path of the same change", "path named twice: 'A'",
        ]),
        (change(files=workflows), [
            ".gitea/a.yml, .forgejo/b.yml can make the forge run code; say allow_ci_paths to propose it"
        ]),
        (change(files=(file_change(path="../a", mode="x", operation="move", before="c" * 40),)), [
            "not a usable path: '../a'", "mode of '../a' must be one of 100644, 100755",
            "operation of '../a' must be create, update or delete",
        ]),
        (change(files=(file_change(mode="100755", content=None),)), [
            "a new file is 100644: the forge's API cannot create 'src/app.py' else",
            "content of 'src/app.py' is left out exactly for delete",
        ]),
        (change(files=(file_change(before="zz", content="!"),)), [
            "before of 'src/app.py' is given exactly for update and delete",
            "before of 'src/app.py' must be a git blob id",
            "content of 'src/app.py' is not base64",
        ]),
        (change(files=(file_change(**update, content="A" * 5_592_408),)), [
            "files together must not exceed 4194304 bytes"
        ]),
    ]  # fmt: skip
    cases += [
        (pull_action(id="short", head="main"), [
            "id must be 16 to 64 characters of 0-9 a-z", "branch and base must differ",
        ]),
        (change(id="short", title="", base_commit="a"), [
            "id must be 16 to 64 characters of 0-9 a-z",
            "title must be one printable line of 1 to 255 characters, no space around it",
            "base_commit must be a full commit id in lower-case hex",
        ]),
    ]  # fmt: skip
    for action, faults in cases:
        assert list(action_faults(action)) == faults


def test_a_refusal_of_bytes_says_what_was_expected() -> None:
    assert [str(parse_action(raw)) for raw in (
        b" " * (MAX_ACTION_BYTES + 1), b" {}", action_bytes(close(issue=0, forge="")),
        action_bytes(close()).replace(b'"issue":3', b'"issue":"3"'),
    )] == [
        "action_too_large: more than 8388608 bytes",
        "not_canonical: action bytes are not their own RFC 8785 form",
        "malformed_action: forge must name the forge; issue must be a number above 0",
        "malformed_action: Expected `int`, got `str` - at `$.issue`",
    ]  # fmt: skip


def test_what_stands_just_within_its_bound_has_no_fault() -> None:
    files = tuple(file_change(path=f"f{n}", content="") for n in range(MAX_FILES))
    for action in (
        close(id="a" * 64, forge="f" * 200, issue=1, repository=RepositoryRef(1, "a/b")),
        comment_action(body="x" * MAX_BODY_BYTES), comment_action(body="é" * (MAX_BODY_BYTES // 2)),
        pull_action(title="x" * 255, body="x" * MAX_BODY_BYTES), pull_action(title="x"),
        change(files=files), change(files=(file_change(path="x" * 500),)),
        change(files=(file_change(content="A" * (MAX_CONTENT_BYTES * 4 // 3 // 4 * 4)),)),
        change(files=(file_change(path=".gitea/a.yml"),), allow_ci_paths=True),
    ):  # fmt: skip
        assert action_faults(action) == ()


@pytest.mark.parametrize("title", [" a", "a ", "a\nb", "", "x" * 256])
def test_a_title_is_one_printable_line(title: str) -> None:
    assert len(action_faults(pull_action(title=title))) == 1


def test_a_branch_name_takes_at_most_200_bytes() -> None:
    assert is_branch_name("x")
    assert is_branch_name("x" * 200)
    assert is_branch_name("é" * 100)
    assert not is_branch_name("é" * 101)


def test_the_sizes_of_files_count_together() -> None:
    half = "A" * (MAX_CONTENT_BYTES * 2 // 3 // 4 * 4)
    two = change(files=(file_change(content=half), file_change(path="b", content=half)))
    assert action_faults(two) == ()
    third = file_change(path="c", content="A" * 8)
    assert action_faults(change(files=(*two.files, third))) == (
        f"files together must not exceed {MAX_CONTENT_BYTES} bytes",
    )


def test_what_is_not_done_on_a_forge_says_which_it_is() -> None:
    with pytest.raises(TypeError, match=r"^run_session is not done on a forge$"):
        of_forge(run_session())
