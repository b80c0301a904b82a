"""Bad values in what stands on the house's disk and is pasted into its commands.

Covers fleet.json, both configurations, keys, secrets, pairing lines and signed tokens.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from allegro.adapters.crypto.signatures import SealingKey, SigningKey, load_signing_key, verify
from allegro.adapters.files import write_state
from allegro.config import commented, keys_of, load_house, load_lane, read_secret
from allegro.core.authority.pairing import LaneOffer, accept_answer, offer_line, read_offer
from allegro.core.authority.tokens import (
    TYPES,
    Approval,
    Thaw,
    b64url,
    issue_token,
    read_token,
    token_kid,
    token_type,
)
from allegro.core.base.errors import ConfigError, Refusal
from allegro.core.settings import HouseSettings, LaneSettings
from allegro.house.files import (
    HouseFiles,
    load_fleet,
    load_house_key,
)
from allegro.sovereign.ceremony import (
    pair,
    revoke_lane,
    rotate_house,
    rotate_sovereign,
    take_seat,
)
from allegro.sovereign.keystore import load_sovereign_key, make_house

from . import values as bad

COVERS = ("fleet.json", "house.toml", "lane.toml", "sovereign.key", "house.key", "sealing.key")


def made(folder: Path) -> HouseFiles:
    files = HouseFiles(folder / "house")
    make_house(files, 1_000_000.0, None)
    return files


def offer(name: str) -> LaneOffer:
    return LaneOffer(name, b64url(SigningKey.make().public), "wss://192.0.2.1:7420", "")


def refusal_of(act: Callable[[], object]) -> str:
    """Return the words of the ConfigError that an act ends with, empty when it ends well."""
    try:
        act()
    except ConfigError as error:
        return str(error)
    return ""


def sovereign(files: HouseFiles) -> SigningKey:
    return load_sovereign_key(files, lambda: b"")


def test_a_fleet_file_is_a_fleet_or_a_sentence(tmp_path: Path) -> None:
    files = made(tmp_path)
    pair(files, sovereign(files), offer("allegro"), 2.0)
    document = msgspec.json.decode(files.fleet.read_bytes())
    cases = bad.sample(bad.bent_json(document), 600, 1)
    for name, raw in cases:
        files.fleet.write_bytes(raw)
        words = refusal_of(lambda: load_fleet(files))
        assert not words or "fleet.json is damaged" in words, name
        assert len(words.splitlines()) <= 1, name


def test_a_damaged_fleet_file_is_not_told_as_missing(tmp_path: Path) -> None:
    files = made(tmp_path)
    files.fleet.write_bytes(files.fleet.read_bytes()[:200])
    with pytest.raises(ConfigError, match="damaged"):
        load_fleet(files)
    files.fleet.unlink()
    with pytest.raises(ConfigError, match="missing"):
        load_fleet(files)


@pytest.mark.parametrize("row", bad.WHOLE_BODIES, ids=lambda row: row.name)
def test_a_damaged_key_is_a_sentence(tmp_path: Path, row: bad.Bad) -> None:
    path = tmp_path / "house.key"
    path.write_bytes(row.value)
    with pytest.raises(ConfigError, match=r"house\.key"):
        load_signing_key(path)


@pytest.mark.parametrize("row", bad.TEXTS, ids=lambda row: row.name)
def test_a_secret_is_one_printable_line_or_a_sentence(tmp_path: Path, row: bad.Bad) -> None:
    path = tmp_path / "change.token"
    path.write_text(row.value, "utf-8")
    path.chmod(0o600)
    try:
        secret = read_secret(path)
    except ConfigError:
        return
    assert secret.isprintable()


def _toml(value: object) -> str | None:
    """Return a value of the table as TOML writes it; None for what TOML has no form for."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        return msgspec.json.encode(value).decode()
    if isinstance(value, list):
        parts = [_toml(one) for one in value]
        return None if None in parts else "[" + ", ".join(filter(None, parts)) + "]"
    if isinstance(value, dict):
        inner = {name: _toml(one) for name, one in value.items()}
        return None if None in inner.values() else (
            "{" + ", ".join(f"{name} = {one}" for name, one in inner.items()) + "}"
        )  # fmt: skip
    return None


_RAW_TOML = (
    "nan", "inf", "-inf", "1e400", str(2**70), "9" * 5_000, "1979-05-27T07:32:00Z", "07:32:00",
    "[" * 5_000 + "]" * 5_000, "", "'", '"""', "{", "[", "0x", "\x00",
)  # fmt: skip


@pytest.mark.parametrize(
    ("load", "settings"), [(load_house, HouseSettings), (load_lane, LaneSettings)]
)
def test_a_configuration_is_settings_or_faults(
    tmp_path: Path, load: Callable[[Path], object], settings: type[msgspec.Struct]
) -> None:
    path = tmp_path / "some.toml"
    spellings = [text for row in bad.VALUES if (text := _toml(row.value)) is not None]
    cases = iter([(key, text) for key in keys_of(settings) for text in (*spellings, *_RAW_TOML)])
    for key, text in bad.sample(cases, 300, 3):
        path.write_text(f"[{key.section}]\n{key.name} = {text}\n", "utf-8", "surrogatepass")
        words = refusal_of(lambda: load(path))
        assert not words or "some.toml" in words


@pytest.mark.parametrize("row", bad.WHOLE_BODIES, ids=lambda row: row.name)
def test_a_configuration_of_other_bytes_is_faults(tmp_path: Path, row: bad.Bad) -> None:
    path = tmp_path / "some.toml"
    path.write_bytes(row.value)
    for load in (load_house, load_lane):
        with pytest.raises(ConfigError, match=r"some\.toml"):
            load(path)


def test_a_commented_configuration_still_loads(tmp_path: Path) -> None:
    path = tmp_path / "house.toml"
    path.write_text(
        commented(HouseSettings, {"house.name": "home", "house.state_dir": "x"}), "utf-8"
    )
    assert load_house(path).house.name == "home"
    path.write_text(path.read_text("utf-8").replace('"home"', '"home\\n"'), "utf-8")
    with pytest.raises(ConfigError, match=r"house\.name"):
        load_house(path)


def _bent_lines(prefix: str, document: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        (name, prefix + b64url(raw)) for name, raw in bad.sample(bad.bent_json(document), 800, 5)
    ] + [(f"text: {row.name}", prefix + row.value) for row in bad.TEXTS]


def test_a_lanes_pairing_line_is_an_offer_or_a_refusal() -> None:
    good = LaneOffer("allegro", b64url(SigningKey.make().public), "wss://192.0.2.1:7420", "")
    assert read_offer(offer_line(good)) == good
    for name, line in _bent_lines("allegro-lane:", msgspec.to_builtins(good)):
        offer = read_offer(line)
        if isinstance(offer, LaneOffer):
            assert offer.name.isascii(), name
            assert offer.url.isprintable(), name
            assert len(offer.pin) in {0, 64}, name
    for line in ("", "allegro-lane:\udcff", "\ud800", "allegro-house:e30"):
        assert isinstance(read_offer(line), Refusal)


def test_a_houses_pairing_line_is_trust_or_a_refusal() -> None:
    offer = LaneOffer("allegro", b64url(SigningKey.make().public), "wss://192.0.2.1:7420", "")
    answer = {
        "fleet": "f", "sovereign": b64url(b"s" * 32), "sovereign_number": 1, "house": b64url(b"h" * 32),
        "secret": b64url(b"x" * 32), "pairing": "a.b.c", "certificate": "a.b.c", "seat": "a.b.c",
    }  # fmt: skip
    for name, line in _bent_lines("allegro-house:", answer):
        accepted = accept_answer(line, offer, now_s=1.0, verify=verify)
        assert isinstance(accepted, Refusal), name


def test_a_token_with_bent_header_or_claims_is_refused_in_words() -> None:
    key = SigningKey.make()
    claims = Approval(aud="f", digest="d" * 64, exp=10, iat=5, seat=1)
    header = {"alg": "EdDSA", "kid": "sovereign:1", "typ": TYPES[Approval]}
    good = issue_token(claims, "sovereign:1", key.sign)

    def read(token: str) -> object:
        return read_token(
            token, Approval, kid="sovereign:1", key=key.public, aud="f", verify=verify
        )

    assert read(good) == claims

    def signed(head: bytes, body: bytes) -> str:
        text = f"{b64url(head)}.{b64url(body)}"
        return f"{text}.{b64url(key.sign(text.encode()))}"

    whole_header, whole_claims = (
        msgspec.json.encode(header), msgspec.json.encode(msgspec.to_builtins(claims)),
    )  # fmt: skip
    for name, raw in bad.bent_json(header):
        if len(raw) < 10_000:
            outcome = read(signed(raw, whole_claims))
            assert isinstance(outcome, Refusal | Approval), name
            token_type(signed(raw, whole_claims))
            token_kid(signed(raw, whole_claims))
    for name, raw in bad.bent_json(msgspec.to_builtins(claims)):
        if len(raw) < 10_000:
            outcome = read(signed(whole_header, raw))
            assert isinstance(outcome, Refusal | Approval), name
    for row in bad.TEXTS:
        assert isinstance(read(row.value), Refusal), row.name
        assert isinstance(read(f"{row.value}.{row.value}.{row.value}"), Refusal), row.name


def test_commands_at_once_lose_no_update(tmp_path: Path) -> None:
    files = made(tmp_path)
    key = sovereign(files)
    for number in range(6):
        pair(files, key, offer(f"lane-{number}"), 2.0)
    failures: list[Exception] = []

    def at_once(*acts: Callable[[], object]) -> None:
        def run(act: Callable[[], object]) -> None:
            try:
                act()
            except ConfigError as error:
                failures.append(error)

        threads = [threading.Thread(target=run, args=(act,)) for act in acts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    at_once(
        *(lambda: take_seat(files, key, 2.0) for _ in range(5)),
        *(lambda: rotate_house(files, key, 2.0) for _ in range(5)),
        *(lambda n=n: revoke_lane(files, key, f"lane-{n}") for n in range(6)),
        *(lambda n=n: pair(files, key, offer(f"new-{n}"), 2.0) for n in range(5)),
    )
    fleet = load_fleet(files)
    assert failures == []
    assert fleet.seat == 1 + 5 + 5
    assert fleet.house_number == 1 + 5
    assert sum(one.revoked for one in fleet.lanes) == 6
    assert len(fleet.lanes) == 11
    assert len(fleet.revocations) == 11
    assert load_house_key(files).public == fleet.house


def test_two_rotations_of_the_sovereign_key_at_once_leave_one_whole(tmp_path: Path) -> None:
    files = made(tmp_path)
    key, failures = sovereign(files), []

    def rotate() -> None:
        try:
            rotate_sovereign(files, key, 2.0, None, by_recovery=False)
        except ConfigError as error:
            failures.append(str(error))

    threads = [threading.Thread(target=rotate) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    fleet = load_fleet(files)
    assert fleet.sovereign_number == 2
    assert len(failures) == 3
    assert all("another command replaced the sovereign key" in words for words in failures)
    assert sovereign(files).public == fleet.sovereign


def test_another_key_is_no_recovery_key(tmp_path: Path) -> None:
    files = made(tmp_path)
    with pytest.raises(ConfigError, match="not the recovery key"):
        rotate_sovereign(files, SigningKey.make(), 2.0, None, by_recovery=True)


def test_what_json_cannot_hold_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    write_state(path, {"a": 1})
    for value in ({"a": "\ud800"}, {"a": object()}):
        with pytest.raises(ValueError, match=r"state\.json"):
            write_state(path, value)
    assert msgspec.json.decode(path.read_bytes()) == {"a": 1}


def test_thaw_claims_of_many_ids_stay_below_the_size_of_a_token() -> None:
    from allegro.sovereign.ceremony import THAWED_AT_ONCE  # noqa: PLC0415

    key = SigningKey.make()
    claims = Thaw(aud="f" * 32, freezes=("x" * 64,) * THAWED_AT_ONCE, exp=2**40)
    token = issue_token(claims, "sovereign:1", key.sign)
    read = read_token(token, Thaw, kid="sovereign:1", key=key.public, aud="f" * 32, verify=verify)
    assert read == claims


def test_a_sealing_key_opens_no_bent_words() -> None:
    from allegro.core.base.errors import EdgeError  # noqa: PLC0415

    key = SealingKey.make()
    for row in bad.WHOLE_BODIES:
        with pytest.raises(EdgeError):
            key.open("f", "id", row.value)
