"""A world from a JSON document."""

from __future__ import annotations

from allegro.testing.gitea.model import Json

from .world import World

Tokens = dict[str, dict[str, str]]


def plant(world: World, seed: Json) -> Tokens:
    """Make what a document lists; return login to token name to secret.

    The document:

        {"users": [{"login", "admin"?, "bot"?, "password"?}],
         "orgs": [{"name", "private"?, "members"?: {login: "read|write|admin|owner"},
                   "labels"?: [{"name", "color"?, "exclusive"?}]}],
         "repos": [{"owner", "name", "private"?, "default_branch"?, "files"?: {path: text},
                    "collaborators"?: {login: "read|write|admin"}, "labels"?: [...],
                    "protections"?: [{"branch", "push_users"?, "merge_users"?}],
                    "issues"?: [{"user", "title", "body"?, "labels"?}]}],
         "tokens": [{"user", "name", "scopes"}]}

    Raises `KeyError`, `TypeError` or `ValueError` on a document that names what is not there.
    """
    for user in seed.get("users", []):
        world.add_user(**user)
    for org in seed.get("orgs", []):
        row = world.add_org(org["name"], org.get("private", False))
        for login, permission in org.get("members", {}).items():
            world.add_member(row, login, permission)
        for label in org.get("labels", []):
            world.add_label(row, **label)
    for repo in seed.get("repos", []):
        _plant_repo(world, repo)
    tokens: Tokens = {}
    for token in seed.get("tokens", []):
        value = world.token(token["user"], token["scopes"], token["name"])
        tokens.setdefault(token["user"], {})[token["name"]] = value
    return tokens


def _plant_repo(world: World, repo: Json) -> None:
    row = world.add_repo(
        repo["owner"],
        repo["name"],
        repo.get("private", False),
        repo.get("files"),
        repo.get("default_branch", "main"),
    )
    for login, permission in repo.get("collaborators", {}).items():
        world.add_collaborator(row, login, permission)
    for label in repo.get("labels", []):
        world.add_label(row, **label)
    for rule in repo.get("protections", []):
        world.protect(row, rule["branch"], rule.get("push_users", ()), rule.get("merge_users"))
    for issue in repo.get("issues", []):
        world.open_issue(row, **issue)
