"""A lane's state files with every bad value in every field: never a traceback, never a thaw."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from allegro.adapters.files import write_state
from allegro.adapters.nats.server import (
    Running,
    ServerFiles,
    adopt,
    make_seed,
    read_running,
    read_seed,
)
from allegro.config import load_zone
from allegro.core.agent.tallies import AgentTally, SessionTally
from allegro.core.authority.freeze import UNKNOWN, Freeze, FreezeSet
from allegro.core.authority.gate import LaneTrust
from allegro.core.authority.lease import MAX_KEPT_EPOCH, Record, Slot
from allegro.core.authority.pairing import Paired
from allegro.core.base.crashes import is_safe_mode_due, remembered
from allegro.core.base.errors import ConfigError
from allegro.core.base.untrusted import Unreadable
from allegro.core.chat.inbox import Inbox, confirmed, settled, stored
from allegro.core.chat.received import Batch, Command, Sender, Tap
from allegro.core.chat.stopping import Made, judge_stop
from allegro.core.health import codes
from allegro.core.health.alert_state import AlertState
from allegro.core.health.duty_runs import Begun, DutyRun, DutyState, Ending
from allegro.core.health.facts import Fact
from allegro.core.health.kept import KeptAlerts
from allegro.core.health.schedule import Plan, Punctuality, Run
from allegro.core.protocol.statement import HouseStatement, ToldAlert
from allegro.core.settings import ModelSettings
from allegro.lane.agent.build import DaySpend, load_open, read_day
from allegro.lane.agent.running import OpenSession
from allegro.lane.context.house_word import HouseWord
from allegro.lane.context.state import LaneState
from allegro.lane.fleet.council_server import plan_of
from allegro.lane.folder.alerts import (
    FileAlerts,
    HeardStatement,
    load_statement,
    save_statement,
)
from allegro.lane.folder.chat import load_inbox, load_muted, save_inbox, save_muted
from allegro.lane.folder.duties import load_duties, load_tallies, save_duties, save_tallies
from allegro.lane.folder.files import LaneFiles
from allegro.lane.folder.forms import (
    load_crashes,
    load_epochs,
    load_freezes,
    load_pairing,
    load_trust,
    load_written,
    save_crashes,
    save_epochs,
    save_freezes,
    save_trust,
    save_written,
)
from allegro.lane.health.own_files import own_facts
from allegro.lane.health.silent_house import SilentHouse
from allegro.testing.virtual import VirtualClock
from tests.core.authority.test_roster import THREE
from tests.core.builders import TRUST
from tests.duties.calling import Caller, Phone
from tests.duties.scheduled import Machine

from . import values as bad

COVERS = (
    "trust.json", "paired.json", "freezes.json", "epochs.json", "crashes.json", "sessions.json",
    "spend.json", "written.json", "alerts.json", "statement.json", "duties.json", "tallies.json", "chat.json", "muted.json",
    "council/running.json",
)  # fmt: skip
ROSA = Sender(77, 77)
KEYS = {"lane.key", "link.key", "link.crt"}
STORES = {"journal.db", "council"}

FROZEN = FreezeSet(
    (Freeze("f1", 5.0, "house", "stop"), Freeze("f2", 6.0, "chat", "stop")), frozenset({"f1"})
)
HELD = LaneTrust(
    msgspec.structs.replace(TRUST, lane=THREE.members[0].lane), frozenset({"ab" * 16}), THREE, 1
)
PAIRED = Paired("a", b"s" * 32, b"x" * 32)
MODELS = ModelSettings(usd_per_day=5.0, tokens_per_day=1_000)


def document(value: object) -> Any:
    return json.loads(msgspec.json.encode(value))


def written(tmp_path: Path, raw: bytes) -> Path:
    path = tmp_path / "state.json"
    path.write_bytes(raw)
    return path


def test_every_state_file_of_a_lane_has_its_cases_here() -> None:
    files = LaneFiles(Path("state"))
    named = {
        getattr(files, name).relative_to(files.folder).as_posix()
        for name, value in vars(LaneFiles).items() if isinstance(value, property)
    }  # fmt: skip
    assert named - KEYS - STORES == {name for name in COVERS if "/" not in name}


def test_a_bent_freeze_set_never_lifts_a_freeze(tmp_path: Path) -> None:
    path = tmp_path / "freezes.json"
    save_freezes(path, FROZEN)
    assert load_freezes(path) == FROZEN
    for name, raw in bad.bent_json(json.loads(path.read_bytes())):
        read = load_freezes(written(tmp_path, raw))
        if not name.startswith(("freezes", "thawed")):
            assert not read.is_thawed, name
        assert read.known or not read.is_thawed, name


@pytest.mark.parametrize("left_out", ["freezes", "thawed", "known"])
def test_a_freeze_set_that_holds_less_than_a_set_is_unknown_and_so_frozen(
    tmp_path: Path, left_out: str
) -> None:
    whole = document(FreezeSet())
    assert load_freezes(written(tmp_path, json.dumps(whole).encode())).is_thawed
    del whole[left_out]
    assert load_freezes(written(tmp_path, json.dumps(whole).encode())) == UNKNOWN
    for raw in (b"{}", b"", b'{"schema":3,"freezes":[],"thawed":[],"known":true}', b'{"set":[]}'):
        assert load_freezes(written(tmp_path, raw)) == UNKNOWN
    assert load_freezes(tmp_path / "none.json") == UNKNOWN


def test_the_files_of_the_version_before_still_open(tmp_path: Path) -> None:
    files = LaneFiles(tmp_path)
    write_state(files.freezes, FROZEN)
    write_state(files.trust, HELD)
    write_state(files.paired, PAIRED)
    write_state(files.epochs, {"forge": 7})
    assert load_freezes(files.freezes) == FROZEN
    assert load_pairing(files.trust, files.paired) == (HELD, PAIRED)
    assert load_epochs(files.epochs) == {"forge": 7}


def test_bent_trust_is_damaged_or_says_all_that_it_said(tmp_path: Path) -> None:
    path, paired = tmp_path / "trust.json", tmp_path / "paired.json"
    save_trust(path, HELD)
    write_state(paired, PAIRED)
    assert load_pairing(path, paired) == (HELD, PAIRED)
    for name, raw in bad.bent_json(json.loads(path.read_bytes())):
        file = written(tmp_path, raw)
        held = load_trust(file)
        assert held is not None, name
        if isinstance(held, Unreadable):
            with pytest.raises(ConfigError, match=r"is damaged: |a newer allegro") as told:
                load_pairing(file, paired)
            assert "not paired" not in str(told.value), name
            continue
        plan_of(held)
        if not name.startswith("revoked"):
            assert held.revoked == HELD.revoked, name


def test_doctor_calls_damaged_trust_damaged(tmp_path: Path) -> None:
    files = LaneFiles(tmp_path)
    save_trust(files.trust, HELD)
    write_state(files.paired, PAIRED)
    assert own_facts(files)[1].state == "ok"
    files.trust.write_bytes(b"{}")
    fact = own_facts(files)[1]
    assert (fact.code.code, fact.state) == ("lane.pairing", "bad")
    assert "put a good copy back" in fact.detail


@pytest.mark.parametrize("left_out", ["trust", "revoked", "roster", "roster_by"])
def test_trust_that_holds_less_than_it_must_is_damaged(tmp_path: Path, left_out: str) -> None:
    path = tmp_path / "trust.json"
    save_trust(path, HELD)
    whole = json.loads(path.read_bytes())
    del whole[left_out]
    assert isinstance(load_trust(written(tmp_path, json.dumps(whole).encode())), Unreadable)


def test_a_bent_pairing_is_damaged_and_a_lost_half_is_told_as_lost(tmp_path: Path) -> None:
    trust, paired = tmp_path / "trust.json", tmp_path / "paired.json"
    with pytest.raises(ConfigError, match="not paired"):
        load_pairing(trust, paired)
    save_trust(trust, HELD)
    with pytest.raises(ConfigError, match=r"paired\.json is missing beside the other one"):
        load_pairing(trust, paired)
    for _, raw in bad.bent_json(document(PAIRED)):
        paired.write_bytes(raw)
        assert refused_with(trust, paired) in {"", "paired.json is damaged"}


def refused_with(trust: Path, paired: Path) -> str:
    """Return how the refusal to start begins, empty where the pairing is whole."""
    try:
        _, found = load_pairing(trust, paired)
    except ConfigError as error:
        return str(error).partition(":")[0]
    assert len(found.sealing) == 32
    return ""


def test_bent_epochs_leave_room_to_take_a_role(tmp_path: Path) -> None:
    path = tmp_path / "epochs.json"
    save_epochs(path, {"forge": 7})
    assert load_epochs(path) == {"forge": 7}
    for form in (json.loads(path.read_bytes()), {"forge": 7}):
        for name, raw in bad.bent_json(form):
            known = load_epochs(written(tmp_path, raw))
            assert all(0 <= n <= MAX_KEPT_EPOCH for n in known.values()), name
    for number in (2**53 - 1, 2**70, -1):
        assert load_epochs(written(tmp_path, b'{"forge":%d}' % number)) == {}


def test_a_bent_record_of_what_was_written_last_is_known_as_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "written.json"
    slots = {"forge": Slot(7, Record("a", "a1", 3, beat=5, lease_s=5.0))}
    save_written(path, 2, slots)
    assert load_written(path, 2) == slots
    assert load_written(path, 3) == {}, "another council counts its revisions anew"
    assert load_written(tmp_path / "none.json", 2) == {}
    for name, raw in bad.bent_json(json.loads(path.read_bytes())):
        known = load_written(written(tmp_path, raw), 2)
        assert all(isinstance(slot, Slot) for slot in known.values()), name


def test_bent_crashes_sessions_and_servers_are_none(tmp_path: Path) -> None:
    running = ServerFiles(tmp_path)
    save_crashes(tmp_path / "crashes.json", [1.0, 2.0, 3.0])
    whole = json.loads((tmp_path / "crashes.json").read_bytes())
    for name, raw in [*bad.bent_json([1.0, 2.0, 3.0]), *bad.bent_json(whole)]:
        crashes = load_crashes(written(tmp_path, raw))
        assert isinstance(is_safe_mode_due(crashes, 4.0), bool), name
        msgspec.json.encode(remembered(crashes, 4.0))
    opened = {"s1": document(OpenSession(1.0, "d", 1))}
    for _, raw in [
        *bad.bent_json(opened), *bad.bent_json({"schema": 2, "sessions": opened})
    ]:  # fmt: skip
        load_open(written(tmp_path, raw))
    for _, raw in bad.bent_json(
        document(Running(1, "nats://127.0.0.1:1", "http://127.0.0.1:2", 1))
    ):
        running.running.write_bytes(raw)
        found = read_running(running)
        assert found is None or len(found.client) <= 300


def test_a_damaged_seed_or_certificate_of_the_council_is_made_or_offered_anew(
    tmp_path: Path,
) -> None:
    files = ServerFiles(tmp_path)
    for row in bad.WHOLE_BODIES:
        files.seed.write_bytes(row.value)
        assert read_seed(files.seed) is None, row.name
        assert make_seed(files.seed, b"s" * 32) == read_seed(files.seed), row.name
        files.certificate.write_bytes(row.value)
        files.offered_certificate.write_bytes(row.value)
        assert not adopt(files, "a certificate"), row.name


def test_a_bent_record_of_what_was_spent_counts_as_used_up(tmp_path: Path) -> None:
    whole = document(DaySpend("2026-11-28"))
    assert read_day(tmp_path / "none.json", MODELS, 0.0) == DaySpend()
    for name, raw in bad.bent_json(whole):
        day = read_day(written(tmp_path, raw), MODELS, 0.0)
        assert day.spend.usd >= 0, name
        assert day.spend.tokens >= 0, name
        if name.endswith(": missing") or name.startswith("whole"):
            assert day.spend.usd == MODELS.usd_per_day, name


DUTY = DutyState(
    Plan(1_000_600.0, 999_000.0),
    Begun(Run(1_000_000.0, Punctuality.LATE, 2), 1_000_001.0),
    DutyRun(
        duty="sweep", ending=Ending.RAN, due_s=999_000.0, begun_s=999_001.0, duration_s=2.5,
        result="done", figures={"items": 1.0},
    ),
    "* * * * * | 60 | forge",
)  # fmt: skip


def test_bent_duties_are_those_that_were_kept_or_planned_anew(tmp_path: Path) -> None:
    path = tmp_path / "duties.json"
    save_duties(path, {"sweep": DUTY})
    assert load_duties(path) == {"sweep": DUTY}
    for name, raw in bad.bent_json(json.loads(path.read_bytes())):
        for state in load_duties(written(tmp_path, raw)).values():
            assert isinstance(state, DutyState), name


async def test_a_program_with_bent_duties_runs_what_is_due_next_and_nothing_twice(
    tmp_path: Path,
) -> None:
    path = tmp_path / "duties.json"
    save_duties(path, {"sweep": DUTY})
    cases = bad.sample(bad.bent_json(json.loads(path.read_bytes())), 250, 3)
    for name, raw in cases:
        machine = Machine(VirtualClock(1_000_000.0))
        machine.add("sweep", "*/10 * * * *")
        for duty, state in load_duties(written(tmp_path, raw)).items():
            machine.book.kept[duty] = msgspec.json.encode(state)
        machine.start()
        await machine.live(1800, 20)
        due = [run.due_s for run in machine.book.runs if run.duty == "sweep" and run.begun_s]
        assert len(due) >= 3, name
        assert len(set(due)) == len(due), name


def test_a_bent_inbox_is_empty_or_holds_what_can_be_acted_on(tmp_path: Path) -> None:
    path = tmp_path / "chat.json"
    press = "ack~~n:1~" + "a" * 16
    held = stored(
        Inbox(),
        [(7, Command(ROSA, 5, "stop", "smoke", 1_000)), (8, Tap("t", ROSA, 5, press))], 3, 1_000.0,
    )  # fmt: skip
    save_inbox(path, held)
    assert load_inbox(path) == held
    assert load_inbox(tmp_path / "none.json") == Inbox()
    for name, raw in bad.bent_json(json.loads(path.read_bytes())):
        read = load_inbox(written(tmp_path, raw))
        for one in read.waiting:
            assert one.content.sender.person == 77 or "sender" in name, name
            assert isinstance(freeze_of(one.content), Made | None), name
        save_inbox(tmp_path / "again.json", confirmed(settled(read, Batch(), 9), 2**40))


def freeze_of(content: Command | Tap) -> object:
    if isinstance(content, Tap):
        return None
    return judge_stop("telegram", content, FreezeSet(), frozenset(), 2_000.0)


def test_bent_mutes_are_none_or_names(tmp_path: Path) -> None:
    path = tmp_path / "muted.json"
    save_muted(path, frozenset({"telegram:77"}))
    assert load_muted(path) == {"telegram:77"}
    assert load_muted(tmp_path / "none.json") == frozenset()
    for name, raw in bad.bent_json(json.loads(path.read_bytes())):
        assert all(len(one) <= 64 for one in load_muted(written(tmp_path, raw))), name


async def test_bent_alerts_begin_anew_or_go_on_and_the_next_alarm_is_sent(tmp_path: Path) -> None:
    caller = Caller(Phone())
    await caller.start()
    now_s = caller.clock.now_s()
    disk = Fact(codes.LANE_DISK, "bad", "full", "statvfs", "", now_s, now_s + 60, "vps")
    caller.alerting.state([disk], "lane")
    caller.alerting.raise_alert(codes.STORES, "lost")
    await caller.live(90)
    caller.phone.is_dead = True
    caller.alerting.raise_alert(codes.STORES, "older")
    await caller.live(10)
    good = json.loads(caller.disk.raw or b"")
    await caller.kill()
    for name, raw in bad.sample(bad.bent_json(good), 400, seed=5):
        (tmp_path / "alerts.json").write_bytes(raw)
        kept = await FileAlerts(tmp_path / "alerts.json").load()
        again = Caller(Phone())
        again.disk.raw = b"{" if not isinstance(kept, KeptAlerts) else msgspec.json.encode(kept)
        await again.start()
        again.alerting.raise_alert(codes.SANDBOX_ATTACK, name[:40])
        for _ in range(30):  # a channel that failed before is tried again within its backoff
            await again.live(20, 20)
            if any("attack on the sandbox" in one for one in again.phone.titles):
                break
        assert any("attack on the sandbox" in one for one in again.phone.titles), name
        await again.kill()


def test_a_bent_statement_is_none_or_hushes_no_p0(tmp_path: Path) -> None:
    path = tmp_path / "statement.json"
    told = ToldAlert("house.stores", "x", "alarm", "house-1", 5.0)
    statement = HouseStatement(at_s=5.0, quiet="22:00-07:00", hours="1", alerts=(told,))
    save_statement(path, HeardStatement(statement, 6.0))
    assert load_statement(path) == HeardStatement(statement, 6.0)
    for _, raw in bad.bent_json(json.loads(path.read_bytes())):
        path.write_bytes(raw)
        heard = load_statement(path)
        if heard is not None:
            state = cast(
                LaneState, SimpleNamespace(house_heard_s=None, held=HELD, house_word=HouseWord())
            )
            word = SilentHouse(state, VirtualClock(), load_zone, heard, lambda _: None)
            word.rules()
            assert all(one.key[0] != "house.stores" for one in word.reported(AlertState("vps")))


def test_bent_tallies_are_those_that_were_kept_or_none(tmp_path: Path) -> None:
    path = tmp_path / "tallies.json"
    tally = SessionTally(session="s", ended_s=5.0, agent=AgentTally(2, 1, 3, 4), calls=2, tokens=7)
    save_tallies(path, {"s": tally})
    assert load_tallies(path) == {"s": tally}
    for name, raw in bad.bent_json(json.loads(path.read_bytes())):
        for one in load_tallies(written(tmp_path, raw)).values():
            assert isinstance(one, SessionTally), name
