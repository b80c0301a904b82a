"""Every public vector against the code, and the files against their maker."""

from __future__ import annotations

import base64
import json
from typing import Any

import msgspec
import pytest

from allegro.adapters.crypto.signatures import SigningKey, verify
from allegro.core.authority.freeze import FreezeSet
from allegro.core.authority.gate import LaneTrust, Permit, Presented, Situation, Trust, judge_order
from allegro.core.base.errors import Refusal
from allegro.core.protocol.messages import Greet, Hello, LogIn
from allegro.link.handshake import check_greeting, check_login, greet

from . import make

APPROVALS = json.loads((make.FOLDER / "approvals.json").read_bytes())
HANDSHAKE = json.loads((make.FOLDER / "handshake.json").read_bytes())
Case = dict[str, Any]


def named(cases: list[Case]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", cases, ids=[case["name"] for case in cases])


def trust_of(vectors: Case) -> Trust:
    keys = {name: bytes.fromhex(key["public"]) for name, key in vectors["keys"].items()}
    told = vectors["trust"]
    return Trust(
        **{**told, **{role: keys[told[role]] for role in ("sovereign", "house", "recovery")}}
    )


def judge(case: Case) -> Permit | Refusal:
    told = {**APPROVALS["situation"], **case["situation"]}
    challenges: dict[str, float] = dict(told.pop("challenges"))
    told["freezes"] = msgspec.convert(told["freezes"], FreezeSet)
    told["refused_repositories"] = {int(k): v for k, v in told["refused_repositories"].items()}
    return judge_order(
        Presented(case["order"], base64.b64decode(case["action"]), case["approval"]),
        trust_of(APPROVALS),
        Situation(**told),
        take_challenge=lambda challenge: challenges.pop(challenge, None),
        verify=verify,
    )


@pytest.mark.parametrize("name", ["approvals.json", "handshake.json"])
def test_making_the_vectors_again_gives_the_same_bytes(name: str) -> None:
    assert make.files()[name] == (make.FOLDER / name).read_bytes()


def test_there_are_enough_vectors_and_no_name_is_used_twice() -> None:
    names = [case["name"] for case in APPROVALS["cases"]]
    assert len(names) == len(set(names))
    assert sum(case["expected"] != "permit" for case in APPROVALS["cases"]) >= 70
    assert sum(case["expected"] == "permit" for case in APPROVALS["cases"]) >= 5


@named(APPROVALS["cases"])
def test_the_gate_answers_exactly_as_the_vector_says(case: Case) -> None:
    answer = judge(case)
    if case["expected"] == "permit":
        assert isinstance(answer, Permit)
    else:
        assert isinstance(answer, Refusal)
        assert answer.reason == case["expected"], answer


@named(HANDSHAKE["hellos"])
def test_a_lane_answers_a_hello_as_the_vector_says(case: Case) -> None:
    lane = SigningKey.from_bytes(bytes.fromhex(HANDSHAKE["keys"]["lane"]["TEST_seed"]))
    answer = greet(
        Hello(case["protocol"], case["challenge"]), trust_of(HANDSHAKE),
        counter_challenge=make.COUNTER, version="0", sign=lane.sign,
    )  # fmt: skip
    assert (answer.reason if isinstance(answer, Refusal) else "accepted") == case["expected"]


@named(HANDSHAKE["greetings"])
def test_a_house_judges_a_greeting_as_the_vector_says(case: Case) -> None:
    answer = check_greeting(
        Greet(case["protocol"], case["token"], "0"), challenge=case["challenge"], fleet=make.FLEET,
        lane_key=make.PUBLIC["lane"], verify=verify,
    )  # fmt: skip
    if case["expected"] == "accepted":
        assert answer == make.COUNTER
    else:
        assert isinstance(answer, Refusal)
        assert answer.reason == case["expected"], answer


@named(HANDSHAKE["logins"])
def test_a_lane_judges_a_log_in_as_the_vector_says(case: Case) -> None:
    message = LogIn(
        case["token"], tuple(case["certificates"]), (), (), (), (), float(case["claimed_now_s"])
    )
    held = LaneTrust(trust_of(HANDSHAKE), frozenset(HANDSHAKE["revoked"]))
    answer = check_login(
        message, held, counter_challenge=case["counter_challenge"], verify=verify,
        now_s=float(case["lane_now_s"]),
    )  # fmt: skip
    if case["expected"] == "accepted":
        assert isinstance(answer, LaneTrust)
        for name, value in case["after"].items():
            assert getattr(answer.trust, name) == value
    else:
        assert isinstance(answer, Refusal)
        assert answer.reason == case["expected"], answer
