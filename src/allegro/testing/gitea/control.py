"""`/_sim/`: how another process on this machine drives the simulator."""

from __future__ import annotations

import base64
import ipaddress
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from aiohttp import web

from .faults import SWITCHES, Faults
from .http import Call
from .model import Comment, Issue, Json, Label, Protection, Repo, Status, User
from .seed import plant
from .world import World

ACTS = (
    "add_user",
    "add_org",
    "add_member",
    "add_repo",
    "add_collaborator",
    "remove_collaborator",
    "add_label",
    "token",
    "revoke",
    "delete_user",
    "open_issue",
    "edit_issue",
    "close",
    "reopen",
    "lock",
    "add_labels",
    "remove_label",
    "assign",
    "delete_issue",
    "comment",
    "edit_comment",
    "delete_comment",
    "rename_repo",
    "transfer_repo",
    "delete_repo",
    "archive",
    "commit",
    "delete_branch",
    "protect",
    "open_pull",
    "merge_pull",
    "set_status",
)


def answer_of(value: Any) -> Any:
    """Return what an act answers: ids and names instead of rows."""
    match value:
        case Issue():
            return {"id": value.id, "number": value.number, "updated_s": value.updated_s}
        case Repo():
            return {"id": value.id, "full_name": value.full_name}
        case User():
            return {"id": value.id, "login": value.login}
        case Comment() | Label() | Status():
            return {"id": value.id}
        case Protection():
            return {"rule": value.rule}
    return value


def call_shape(call: Call) -> Json:
    return {
        "at_s": call.at_s,
        "method": call.method,
        "path": call.path,
        "query": [list(pair) for pair in call.query],
        "user": call.user,
        "peer": call.peer,
        "status": call.status,
        "fault": call.fault,
        "effect": call.effect,
        "json": call.json,
        "body": base64.b64encode(call.body).decode(),
    }


class Controlled(Protocol):
    """What `/_sim/` needs of the simulator. `controller` is an address besides loopback, or empty."""

    world: World
    faults: Faults
    log: list[Call]
    controller: str

    def drop_connections(self, besides: object = None) -> None: ...


class Control:
    """The answers under `/_sim/`."""

    def __init__(self, simulator: Controlled) -> None:
        self.simulator = simulator

    async def faults(self, request: web.Request) -> web.Response:
        """`{"clear": true, "set": {switch: value}, "add": [rule]}`, each of them optional."""
        asked, faults = await request.json(), self.simulator.faults
        if asked.get("clear"):
            faults.clear()
        for name, value in asked.get("set", {}).items():
            if name not in SWITCHES:
                raise ValueError(f"no switch {name}")
            setattr(faults, name, value)
        for rule in asked.get("add", []):
            faults.add(**rule)
        return web.json_response({"rules": len(faults.rules)})

    async def log(self, request: web.Request) -> web.Response:
        """All calls, or those from number `?after=` on."""
        after = int(request.query.get("after", "0"))
        calls = self.simulator.log[after:]
        return web.json_response({"calls": [call_shape(call) for call in calls]})

    async def act(self, request: web.Request) -> web.Response:
        """`{"act": name, "args": {...}, "late_s": 0}`: what a person does; or a list of them."""
        asked = await request.json()
        if isinstance(asked, list):
            return web.json_response({"results": [self._act(one) for one in asked]})
        return web.json_response({"result": self._act(asked)})

    def _act(self, asked: Json) -> Any:
        world = self.simulator.world
        if asked.get("act") not in ACTS:
            raise ValueError(f"no act {asked.get('act')}")
        with world.late(float(asked.get("late_s", 0.0))):
            return answer_of(getattr(world, asked["act"])(**asked.get("args", {})))

    async def seed(self, request: web.Request) -> web.Response:
        return web.json_response({"tokens": plant(self.simulator.world, await request.json())})

    async def restart_connections(self, request: web.Request) -> web.Response:
        self.simulator.drop_connections(besides=request.transport)
        return web.json_response({})

    async def save(self, _: web.Request) -> web.Response:
        return web.json_response({"file": self.simulator.world.save().name})


def _guarded(
    answer: Callable[[web.Request], Awaitable[web.Response]], controller: str
) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Serve this machine and the one controller only; tell a wrong call what was wrong."""

    async def guarded(request: web.Request) -> web.Response:
        remote = request.remote or ""
        if remote != controller and not (remote and ipaddress.ip_address(remote).is_loopback):
            raise web.HTTPForbidden
        try:
            return await answer(request)
        except (KeyError, TypeError, ValueError) as wrong:
            return web.json_response({"error": f"{type(wrong).__name__}: {wrong}"}, status=400)

    return guarded


def control_routes(simulator: Controlled) -> list[web.RouteDef]:
    control, controller = Control(simulator), simulator.controller
    return [
        web.post("/_sim/faults", _guarded(control.faults, controller)),
        web.get("/_sim/log", _guarded(control.log, controller)),
        web.post("/_sim/act", _guarded(control.act, controller)),
        web.post("/_sim/seed", _guarded(control.seed, controller)),
        web.post("/_sim/restart-connections", _guarded(control.restart_connections, controller)),
        web.post("/_sim/save", _guarded(control.save, controller)),
    ]
