"""A whole fleet in one folder for system tests: forge, path, lane and house, all short-tempered."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import signal
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import aiohttp
from click.testing import CliRunner

from allegro.adapters.crypto.signatures import SigningKey
from allegro.cli.main import cli
from allegro.client.errors import BadRequest
from allegro.core.authority.tokens import Thaw, issue_token, sovereign_kid
from allegro.core.base.errors import EdgeError, UserError
from allegro.house.files import Fleet, HouseFiles, load_fleet
from allegro.scratch.processes import Forge, Process, Stage
from allegro.sovereign import ceremony
from allegro.sovereign.keystore import load_sovereign_key

from .forks import QuickProcess
from .tcp_proxy import Pathway

REPOSITORY = "acme/web"
OWNER, PERSON, BOT, CODE_BOT = "acme", "robin", "allegro", "allegro-change"
BOTS = (BOT, CODE_BOT)
ORDERS = {"orders.ttl_s": 4, "orders.settle_s": 1}
LANE = {
    "forge.poll_s": 0.3, "forge.sweep_s": 1.0, "forge.quiet_sweep_s": 1.0, "forge.overlap_s": 7,
    "forge.deep_overlap_s": 20, "forge.reconcile_s": 5.0, "forge.timeout_s": 1.0,
    "forge.triage": False,
}  # fmt: skip
FINAL = frozenset({"done", "failed", "conflict", "stale", "expired", "withdrawn", "rejected"})


def world() -> dict[str, Any]:
    """Return one repository whose default branch our tokens cannot change."""
    daily = ["write:issue", "read:repository", "read:user", "read:organization"]
    change = ["write:repository", "write:issue", "read:user", "read:organization"]
    return {
        "users": [{"login": login} for login in (OWNER, PERSON, *BOTS)],
        "repos": [
            {"owner": OWNER, "name": "web", "files": {"README.md": "one\ntwo\n", "a/b.txt": "b\n"},
             "collaborators": {BOT: "write", CODE_BOT: "write", PERSON: "write"},
             "protections": [{"branch": "main", "merge_users": [OWNER]}],
             "issues": [{"user": PERSON, "title": "first", "body": "the first issue"}]}
        ],
        "tokens": [
            {"user": OWNER, "name": "owner", "scopes": ["all"]},
            {"user": BOT, "name": "daily", "scopes": daily},
            {"user": CODE_BOT, "name": "change", "scopes": change},
        ],
    }  # fmt: skip


_one_at_a_time = threading.Lock()


class QuickStage(Stage):
    """Runs commands inside this process and forks programs: loading code is most of a test's time."""

    process: type[Process] = QuickProcess

    async def command(self, *arguments: str, code: int = 0, stdin: str | None = None) -> str:
        """Run one command and return what it printed. Raises UserError unless it ends with `code`."""
        environment = {**self.environment, "ALLEGRO_SOCKET": str(self.socket)}

        def work() -> tuple[int, str, str]:
            with _one_at_a_time:  # standard output is one for the whole process
                result = CliRunner().invoke(
                    cli, list(arguments), input=stdin, env=environment, standalone_mode=False
                )
            if result.exception is not None:
                known = isinstance(result.exception, UserError)
                ended = getattr(result.exception, "exit_code", 1) if known else 1
                return ended, result.stdout, repr(result.exception)
            return result.return_value or 0, result.stdout, ""

        if self.lane.is_running or self.house.is_running:
            ended, out, error = await asyncio.to_thread(work)
        else:  # between two tests pytest puts its own standard output in place: not meanwhile
            with ThreadPoolExecutor(1) as one:
                ended, out, error = one.submit(work).result()
        if ended != code:
            raise UserError(f"allegro {' '.join(arguments[:2])} ended with {ended}: {error} {out}")
        return out


class Theatre:
    """The fleet and everything a test does to it. Use `open_theatre`."""

    def __init__(self, folder: Path) -> None:
        self.stage = QuickStage(folder)
        self.path = Pathway(self.stage.link_port, plain=True)
        self.tokens: dict[str, dict[str, str]] = {}
        self.url = ""
        self._sovereign: SigningKey | None = None
        self._session = aiohttp.ClientSession()

    # --- setting up ------------------------------------------------------------------------

    async def prepare(
        self, *, lane: dict[str, Any] | None = None, house: dict[str, Any] | None = None
    ) -> None:
        """Start forge and path, write both configurations, pair. Nothing of ours runs yet."""
        simulator = await self.stage.start_simulator(world())
        self.tokens, self.url = simulator["tokens"], simulator["url"]
        await self.path.start()
        forge = Forge(
            self.url, REPOSITORY, BOTS, self.tokens[BOT]["daily"], self.tokens[CODE_BOT]["change"]
        )
        link = {"link.tls": "none", "link.public_url": f"ws://127.0.0.1:{self.path.port}"}
        await self.stage.prepare(
            forge, lane={**LANE, **link, **(lane or {})}, house={**ORDERS, **(house or {})}
        )

    async def start(self) -> None:
        await self.stage.start_lane()
        await self.stage.start_house()
        await self.stage.linked()

    async def close(self) -> None:
        await self.stage.close()
        await self.path.stop()
        await self._session.close()

    async def start_lane(self, *points: str) -> None:
        """Start the lane, with kill points when there are any."""
        if points:
            await self.stage.start_lane(module="allegro.testing.lane", extra=points)
        else:
            await self.stage.start_lane()

    async def restart_lane(
        self, *points: str, how: signal.Signals = signal.SIGKILL, linked: bool = True
    ) -> None:
        await self.stage.lane.end(how)
        await self.start_lane(*points)
        if linked:
            await self.stage.linked()

    async def restart_house(self, how: signal.Signals = signal.SIGKILL) -> None:
        await self.stage.house.end(how)
        await self.stage.start_house()

    @property
    def fleet(self) -> Fleet:
        return load_fleet(self.house_files)

    @property
    def house_files(self) -> HouseFiles:
        return HouseFiles(self.stage.folder / "house")

    @property
    def lane_folder(self) -> Path:
        return self.stage.folder / "lane"

    @property
    def sovereign(self) -> SigningKey:
        if self._sovereign is None:
            secret = self.stage.passphrase_file.read_text().strip().encode()
            self._sovereign = load_sovereign_key(self.house_files, lambda: secret)
        return self._sovereign

    # --- asking and deciding ---------------------------------------------------------------

    async def ask(self, kind: str, **fields: Any) -> dict[str, Any]:
        """Submit a request, waiting for a linked lane where it needs one."""
        body = {"kind": kind, "repository": REPOSITORY, **fields}

        async def post() -> Any:
            return await self.stage.client.post("requests", body)

        return dict(await self.stage.until(post, f"asked for {kind}"))

    async def ask_change(self, name: str, files: dict[str, str | None]) -> dict[str, Any]:
        encoded = {
            path: None if text is None else base64.b64encode(text.encode()).decode()
            for path, text in files.items()
        }
        return await self.ask(
            "propose_change", base="main", branch=f"work/{name}", title=f"Change {name}",
            body=f"Does {name}.", files=encoded,
        )  # fmt: skip

    def approval(self, digest: str, *, lives_s: int = 600, key: SigningKey | None = None) -> str:
        return ceremony.approve(self.fleet, key or self.sovereign, digest, time.time(), lives_s)

    async def approve(self, asked: dict[str, Any]) -> dict[str, Any]:
        token = self.approval(asked["digest"])
        return dict(
            await self.stage.client.post(f"requests/{asked['id']}/approve", {"token": token})
        )

    def thaw_token(self, *freezes: str, key: SigningKey | None = None) -> str:
        fleet = self.fleet
        claims = Thaw(aud=fleet.id, freezes=freezes, exp=int(time.time()) + 600)
        signer = key or self.sovereign
        return issue_token(claims, sovereign_kid(fleet.sovereign_number), signer.sign)

    async def request(self, id_: str) -> dict[str, Any]:
        return dict(await self.stage.client.get(f"requests/{id_}"))

    async def settled(self, id_: str, within_s: float = 60.0) -> dict[str, Any]:
        """Wait until a request is final; houses may come and go meanwhile."""

        async def final() -> dict[str, Any] | None:
            request = await self.request(id_)
            return request if request["state"] in FINAL else None

        return dict(await self.until(final, f"request {id_} is settled", within_s))

    async def until(self, check: Callable[[], Any], what: str, within_s: float = 20.0) -> Any:
        """Wait for something true. Raises UserError with the ends of both logs."""
        try:
            return await self.stage.until(check, what, None, within_s)
        except UserError as error:
            lane, house = self.stage.lane.tail(12), self.stage.house.tail(12)
            raise UserError(f"{error}\n--- lane\n{lane}\n--- house\n{house}") from error

    async def dead(self, name: str = "lane", within_s: float = 15.0) -> None:
        process = getattr(self.stage, name)
        await self.until(lambda: not process.is_running, f"the {name} dies", within_s)

    # --- the forge as its owner sees it ----------------------------------------------------

    async def api(self, method: str, path: str, body: Any = None, token: str = "") -> Any:
        """Call the forge's API, as the owner unless a token is given."""
        headers = {"Authorization": f"token {token or self.tokens[OWNER]['owner']}"}
        async with self._session.request(
            method, f"{self.url}/api/v1{path}", json=body, headers=headers
        ) as response:
            if response.status >= 300:
                raise EdgeError(f"{response.status} {await response.text()}", transient=False)
            return await response.json() if response.content_length != 0 else None

    async def listed(self, path: str) -> list[dict[str, Any]]:
        """Return every page of a listing."""
        found: list[dict[str, Any]] = []
        joint = "&" if "?" in path else "?"
        for page in range(1, 1000):
            rows = await self.api("GET", f"{path}{joint}limit=50&page={page}")
            if not rows:
                return found
            found += rows
        raise AssertionError("a listing without end")

    async def act(self, act: str, late_s: float = 0.0, **arguments: Any) -> Any:
        """Let a person act on the forge, possibly in a transaction that commits late."""
        url = f"{self.url}/_sim/act"
        body = {"act": act, "args": arguments, "late_s": late_s}
        async with self._session.post(url, json=body) as response:
            answer = await response.json()
            assert response.status == 200, answer
            return answer["result"]

    async def open_issue(self, title: str, body: str = "", late_s: float = 0.0) -> int:
        made = await self.act(
            "open_issue", late_s, repo=REPOSITORY, user=PERSON, title=title, body=body
        )
        return int(made["number"])

    # --- what came home --------------------------------------------------------------------

    def archive(self) -> sqlite3.Connection:
        return sqlite3.connect(f"file:{self.house_files.archive}?mode=ro", uri=True)

    def archived(self, prefix: str = "") -> list[dict[str, Any]]:
        """Return archived events as stored, in order of arrival."""
        with contextlib.closing(self.archive()) as archive:
            rows = archive.execute(
                "SELECT stored FROM event WHERE type LIKE ? ORDER BY row", (prefix + "%",)
            ).fetchall()
        return [json.loads(row[0]) for row in rows]

    async def events(self, prefix: str = "") -> list[dict[str, Any]]:
        """Return archived events with their words opened."""
        return [event async for event in self.stage.client.events(prefix=prefix)]

    async def home(self, within_s: float = 30.0) -> None:
        """Wait until the lane's journal is at the house to its end."""

        async def is_home() -> bool:
            shown = await self.stage.status()
            return all(
                lane["linked"] and (lane["detail"] or {}).get("journal_waiting") == 0
                for lane in shown["lanes"]
            )

        await self.until(is_home, "all is home", within_s)

    async def frozen(self) -> bool:
        return bool((await self.stage.status())["frozen"])

    async def refused(self, path: str, body: dict[str, Any]) -> str:
        """Post what must be refused; return the refusal's words."""
        try:
            await self.stage.client.post(path, body)
        except BadRequest as error:
            return str(error)
        raise AssertionError(f"{path} was not refused")


@contextlib.asynccontextmanager
async def open_theatre(
    folder: Path,
    *,
    lane: dict[str, Any] | None = None,
    house: dict[str, Any] | None = None,
    start: bool = True,
) -> AsyncIterator[Theatre]:
    """Yield a paired fleet, running unless told otherwise; end every process afterwards."""
    theatre = Theatre(folder)
    try:
        await theatre.prepare(lane=lane, house=house)
        if start:
            await theatre.start()
        yield theatre
    finally:
        await theatre.close()


def copy_files(from_: Path, to: Path, names: Sequence[str]) -> None:
    """Copy state files as a backup does; what is not there is removed at the target."""
    to.mkdir(exist_ok=True)
    for name in names:
        source, target = from_ / name, to / name
        if source.exists():
            target.write_bytes(source.read_bytes())
            target.chmod(0o600)
        else:
            target.unlink(missing_ok=True)


JOURNAL_FILES = ("journal.db", "journal.db-wal", "journal.db-shm")
