"""Routes about labels of repositories, organisations and issues."""

from __future__ import annotations

import re
from collections.abc import Sequence

from allegro.testing.gitea.http import Reply, Request, answer, empty, fail, not_found
from allegro.testing.gitea.model import Label, Level, Repo, User

from .accounts import org_of, owns_org
from .routes import Table
from .shapes import label_shape, labels_of

table = Table()
P = "/repos/{owner}/{repo}"


def _listed(r: Request, rows: Sequence[Label]) -> Reply:
    """All labels, unless a page is asked for: up to 1.27 only `page` begins paging."""
    ordered = sorted(rows, key=lambda label: label.name)
    if "page" in r.query:
        return r.listed(ordered, lambda label: label_shape(r.world, label))
    shapes = [label_shape(r.world, label) for label in ordered]
    return answer(shapes, 200, {"X-Total-Count": str(len(shapes))})


def _color(r: Request) -> str:
    match = re.fullmatch(r"#?([0-9a-fA-F]{6}|[0-9a-fA-F]{3})", r.required("color", "Color"))
    if match is None:
        fail(422, "bad label color")
    digits = match[1].lower()
    return digits if len(digits) == 6 else "".join(c * 2 for c in digits)


def _make(r: Request, place: Repo | User) -> Reply:
    label = r.world.make_label(
        place,
        r.required("name", "Name"),
        _color(r),
        description=r.text("description"),
        exclusive=r.flag("exclusive"),
        archived=r.flag("is_archived"),
    )
    return answer(label_shape(r.world, label), 201)


def _edit(r: Request, label: Label) -> Reply:
    """Rename or recolour; no issue that carries the label is bumped."""
    label.name = r.text("name") or label.name
    if r.has("color"):
        label.color = _color(r)
    label.description = r.text("description", label.description)
    label.exclusive = r.flag("exclusive", label.exclusive)
    label.archived = r.flag("is_archived", label.archived)
    return answer(label_shape(r.world, label))


def _own(r: Request, *, repo_id: int = 0, org_id: int = 0) -> Label:
    label = r.world.labels.get(int(r.params["id"]))
    if label is None or (label.repo_id, label.org_id) != (repo_id, org_id):
        not_found()
    return label


# of a repository


@table.add("GET", f"{P}/labels", "issue")
def repo_labels(r: Request) -> Reply:
    return _listed(r, [row for row in r.world.labels.values() if row.repo_id == r.repo.id])


@table.add("POST", f"{P}/labels", "issue", need=Level.WRITE)
def make_repo_label(r: Request) -> Reply:
    return _make(r, r.repo)


@table.add("GET", f"{P}/labels/{{id}}", "issue")
def one_repo_label(r: Request) -> Reply:
    return answer(label_shape(r.world, _own(r, repo_id=r.repo.id)))


@table.add("PATCH", f"{P}/labels/{{id}}", "issue", need=Level.WRITE)
def edit_repo_label(r: Request) -> Reply:
    return _edit(r, _own(r, repo_id=r.repo.id))


@table.add("DELETE", f"{P}/labels/{{id}}", "issue", need=Level.WRITE)
def delete_repo_label(r: Request) -> Reply:
    r.world.delete_label_row(_own(r, repo_id=r.repo.id))
    return empty()


# of an organisation


def _owned_org(r: Request) -> User:
    org = org_of(r)
    if not owns_org(r, org):
        fail(403, "Must be an organization owner")
    return org


@table.add("GET", "/orgs/{org}/labels", "organization")
def org_labels(r: Request) -> Reply:
    org = org_of(r)
    return _listed(r, [row for row in r.world.labels.values() if row.org_id == org.id])


@table.add("POST", "/orgs/{org}/labels", "organization")
def make_org_label(r: Request) -> Reply:
    return _make(r, _owned_org(r))


@table.add("GET", "/orgs/{org}/labels/{id}", "organization")
def one_org_label(r: Request) -> Reply:
    return answer(label_shape(r.world, _own(r, org_id=org_of(r).id)))


@table.add("PATCH", "/orgs/{org}/labels/{id}", "organization")
def edit_org_label(r: Request) -> Reply:
    return _edit(r, _own(r, org_id=_owned_org(r).id))


@table.add("DELETE", "/orgs/{org}/labels/{id}", "organization")
def delete_org_label(r: Request) -> Reply:
    r.world.delete_label_row(_own(r, org_id=_owned_org(r).id))
    return empty()


# of an issue


def _asked(r: Request) -> list[Label]:
    """Return the labels named by ids or by names; unknown ones are silently dropped."""
    wanted = r.items("labels")
    kinds = {type(item) for item in wanted}
    if not kinds <= {int, str} or (str in kinds and not r.quirks.accepts_label_names):
        fail(422, "labels should be an array of integers")
    if len(kinds) > 1:
        fail(400, "labels should be an array of strings or integers")
    known = r.world.known_labels(r.repo)
    if kinds == {str}:
        by_name = {label.name: label for label in known.values()}
        return [by_name[name] for name in dict.fromkeys(wanted) if name in by_name]
    return [known[key] for key in dict.fromkeys(wanted) if key in known]


@table.add("GET", f"{P}/issues/{{index}}/labels", "issue")
def issue_labels(r: Request) -> Reply:
    return answer(labels_of(r.world, r.issue()))


@table.add("POST", f"{P}/issues/{{index}}/labels", "issue")
def add_issue_labels(r: Request) -> Reply:
    issue = r.issue()
    _must_write(r)
    r.world.add_labels_to(issue, r.doer, _asked(r))
    return answer(labels_of(r.world, issue))


@table.add("PUT", f"{P}/issues/{{index}}/labels", "issue")
def replace_issue_labels(r: Request) -> Reply:
    issue = r.issue()
    _must_write(r)
    r.world.replace_labels(issue, r.doer, _asked(r))
    return answer(labels_of(r.world, issue))


@table.add("DELETE", f"{P}/issues/{{index}}/labels", "issue")
def clear_issue_labels(r: Request) -> Reply:
    issue = r.issue()
    _must_write(r)
    r.world.replace_labels(issue, r.doer, [])
    return empty()


@table.add("DELETE", f"{P}/issues/{{index}}/labels/{{label}}", "issue")
def remove_issue_label(r: Request) -> Reply:
    """By id; Forgejo from 13 on takes a name as well."""
    issue, wanted = r.issue(), r.params["label"]
    _must_write(r)
    rows = r.world.known_labels(r.repo).values()
    by_name = r.quirks.deletes_label_by_name
    found = next(
        (x for x in rows if wanted == str(x.id) or (by_name and wanted == x.name)),
        None,
    )
    if found is None:
        fail(422, f"label does not exist [label_id: {wanted}]")
    r.world.remove_label_from(issue, r.doer, found)
    return empty()


def _must_write(r: Request) -> None:
    if not r.writes:
        fail(403, "write permission is required")
