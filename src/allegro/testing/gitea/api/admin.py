"""Routes with which an administrator makes and unmakes accounts and organisations."""

from __future__ import annotations

from allegro.testing.gitea.http import Reply, Request, answer, empty, fail, not_found
from allegro.testing.gitea.model import Level, User

from .routes import Table
from .shapes import org_shape, user_shape

table = Table()


def _administrator(r: Request) -> None:
    if not r.doer.admin:
        fail(403, "user should be the site admin")


def _person(r: Request) -> User:
    _administrator(r)
    found = r.world.find_user(r.params["username"])
    if found is None or found.kind == "org":
        not_found("GetUserByName")
    return found


@table.add("POST", "/admin/users", "admin")
def make_user(r: Request) -> Reply:
    _administrator(r)
    login = r.required("username", "Username")
    r.required("email", "Email")
    try:
        made = r.world.add_user(login, password=r.text("password"))
    except ValueError as taken:
        fail(422, str(taken))
    return answer(user_shape(r.world, made, r.user), 201)


@table.add("PATCH", "/admin/users/{username}", "admin")
def edit_user(r: Request) -> Reply:
    person = _person(r)
    person.admin = r.flag("admin", person.admin)
    return answer(user_shape(r.world, person, r.user))


@table.add("DELETE", "/admin/users/{username}", "admin")
def delete_user(r: Request) -> Reply:
    """What the account wrote stays; one that still owns repositories is refused."""
    person = _person(r)
    if any(repo.owner is person for repo in r.world.repos.values()):
        fail(422, f"user still has ownership of repositories [uid: {person.id}]")
    r.world.delete_user(person)
    return empty()


@table.add("POST", "/orgs", "organization")
def make_org(r: Request) -> Reply:
    name = r.required("username", "UserName")
    try:
        org = r.world.add_org(name, r.text("visibility") == "private")
    except ValueError as taken:
        fail(422, str(taken))
    r.world.add_member(org, r.doer, "owner")
    return answer(org_shape(r.world, org), 201)


@table.add("DELETE", "/orgs/{org}", "organization")
def delete_org(r: Request) -> Reply:
    org = r.world.find_user(r.params["org"])
    if org is None or org.kind != "org":
        not_found("GetOrgByName")
    if not r.doer.admin and org.members.get(r.doer.id, Level.NONE) < Level.OWNER:
        fail(403, "Must be an organization owner")
    if any(repo.owner is org for repo in r.world.repos.values()):
        fail(500, r.internal("user still has ownership of repositories"))
    r.world.delete_user(org)
    return empty()
