"""The table of routes, and the order in which Gitea asks: scope, repository, sign-in, right."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NoReturn
from urllib.parse import unquote

from allegro.testing.gitea.http import API, ApiError, Reply, Request, fail, not_found
from allegro.testing.gitea.model import Level, Repo, Token, User
from allegro.testing.gitea.quirks import Quirks
from allegro.testing.gitea.world import World

Answer = Callable[[Request], Reply]

_PATTERNS = {
    "index": r"\d+",
    "id": r"\d+",
    "filepath": ".+",
    "branch": ".+",
    "basehead": ".+",
    "gitref": ".+",
    "rule": ".+",
}
_TOO_LOW = {
    Level.WRITE: "user should have a permission to write to a repo",
    Level.ADMIN: "user should be an owner or a collaborator with admin write of a repository",
}


@dataclass(frozen=True, slots=True)
class Route:
    """One method and path. `scopes` are the categories a token must hold."""

    method: str
    pattern: re.Pattern[str]
    scopes: tuple[str, ...]
    signed: bool
    need: Level
    archived_ok: bool
    exists: Callable[[Quirks], bool]
    answer: Answer


def _always(_: Quirks) -> bool:
    return True


def _compile(template: str) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)\}", template)
    text = "".join(
        re.escape(part) if n % 2 == 0 else f"(?P<{part}>{_PATTERNS.get(part, '[^/]+')})"
        for n, part in enumerate(parts)
    )
    return re.compile(f"^{text}$")


class Table:
    """Routes in the order they are tried."""

    def __init__(self) -> None:
        self.routes: list[Route] = []

    def add(
        self,
        method: str,
        template: str,
        *scopes: str,
        signed: bool | None = None,
        need: Level = Level.READ,
        archived_ok: bool = False,
        exists: Callable[[Quirks], bool] = _always,
    ) -> Callable[[Answer], Answer]:
        """Register a function. Without `signed` everything but GET needs a signed-in user."""

        def register(function: Answer) -> Answer:
            must_sign = method != "GET" if signed is None else signed
            self.routes.append(
                Route(
                    method,
                    _compile(template),
                    scopes,
                    must_sign,
                    need,
                    archived_ok or method == "GET",
                    exists,
                    function,
                )
            )
            return function

        return register


def find(routes: Iterable[Route], request: Request) -> Route:
    """Return the route of a call and fill its path parameters; 404 or 405 when there is none."""
    path = request.path.removeprefix(API)
    other_method = False
    for route in routes:
        match = route.pattern.match(path)
        if match is None or not route.exists(request.quirks):
            continue
        if route.method == request.method or (
            request.method == "HEAD" and route.method == "GET" and request.quirks.heads_every_get
        ):
            request.params = {name: unquote(text) for name, text in match.groupdict().items()}
            return route
        other_method = True
    raise ApiError(405 if other_method else 404, "" if other_method else "not found")


def run(route: Route, request: Request) -> Reply:
    """Ask in Gitea's order whether the call may be made, then make it."""
    if request.token is not None:
        _check_scopes(route, request.token, request)
    if "owner" in request.params:
        request.found_repo = _repo(request)
        if request.token is not None:
            _check_public_only(request.token, request.found_repo)
    if route.signed and request.user is None:
        fail(401, "token is required")
    if request.found_repo is not None:
        if request.level < route.need:
            fail(403, _TOO_LOW.get(route.need, "forbidden"))
        _check_units(request, request.found_repo)
        if request.found_repo.archived and not route.archived_ok:
            fail(423, f"{request.found_repo.full_name} is archived")
    return route.answer(request)


def _check_units(request: Request, repo: Repo) -> None:
    """Answer 404 below what a repository does not have, as for a mirror without issues."""
    parts = request.path.removeprefix(f"{API}/repos/").split("/")
    unit = parts[2] if len(parts) > 2 else ""
    if unit == "issues" and not (repo.has_issues or repo.has_pulls):
        not_found()
    if unit == "pulls" and not repo.has_pulls:
        not_found()


def has_scope(scopes: Iterable[str], required: str) -> bool:
    """Tell whether held scopes cover one; write covers read, `all` covers everything."""
    held = set(scopes)
    level, _, category = required.partition(":")
    accepted = {"all", f"write:{category}"} | ({required} if level == "read" else set())
    return bool(held & accepted)


def _check_scopes(route: Route, token: Token, request: Request) -> None:
    level = "read" if request.method in ("GET", "HEAD") else "write"
    required = [f"{level}:{category}" for category in route.scopes]
    if all(has_scope(token.scopes, scope) for scope in required):
        return
    wanted, held = " ".join(required), ",".join(token.scopes)
    message = "token does not have at least one of required scope(s)"
    if request.quirks.forgejo:
        fail(403, f"{message}: [{wanted}]")
    fail(403, f"{message}, required=[{wanted}], token scope={held}")


def _check_public_only(token: Token, repo: Repo) -> None:
    if "public-only" in token.scopes and (repo.private or repo.owner.private):
        fail(403, "token scope is limited to public repos")


def _repo(request: Request) -> Repo:
    """Return the repository of the path; a moved one redirects, an unseen one is 404."""
    world = request.world
    owner, name = request.params["owner"], request.params["repo"]
    found = world.find_repo(owner, name)
    if found is None:
        moved = world.repos.get(world.moved.get((owner.lower(), name.lower()), 0))
        if moved is None:
            not_found()
        _redirect(request, moved)
    if world.level(request.user, found) < Level.READ:
        not_found()
    return found


def _redirect(request: Request, moved: Repo) -> NoReturn:
    rest = request.path.removeprefix(f"{API}/repos/").split("/", 2)[2:]
    location = "/".join([f"{API}/repos/{moved.full_name}", *rest])
    query = request.query_text()
    raise ApiError(
        request.quirks.moved_status, "", {"Location": f"{location}?{query}" if query else location}
    )


def sign_in(world: World, authorization: str, query: dict[str, str]) -> tuple[User, Token | None]:
    """Return who a call comes from; raise 401 on credentials that are none.

    The token is None when a password was used.
    """
    kind, _, text = authorization.partition(" ")
    secret = text.strip() if kind.lower() in ("token", "bearer") else ""
    if kind.lower() == "basic":
        return _basic(world, text)
    secret = secret or query.get("token", "") or query.get("access_token", "")
    token = world.tokens.get(secret)
    if token is None:
        raise ApiError(401, "invalid username, password or token")
    token.used_s = world.now_s()
    return world.user(token.user_id), token


def _basic(world: World, text: str) -> tuple[User, Token | None]:
    try:
        name, _, secret = b64decode(text).decode().partition(":")
    except ValueError:
        raise ApiError(401, "invalid username, password or token") from None
    for candidate in (secret, name):
        token = world.tokens.get(candidate)
        if token is not None:
            return world.user(token.user_id), token
    user = world.find_user(name)
    if user is None or not user.password or user.password != secret:
        raise ApiError(401, "invalid username, password or token")
    return user, None
