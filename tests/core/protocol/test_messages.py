from __future__ import annotations

import typing

from allegro.core.protocol.messages import (
    BATCH_BYTES,
    MAX_HOUSE_FRAME,
    MAX_LANE_FRAME,
    FromHouse,
    FromLane,
    GiveOrder,
)


def tags(union: object) -> list[str]:
    return [str(member.__struct_config__.tag) for member in typing.get_args(union)]


def test_each_message_of_a_side_has_a_name_of_its_own() -> None:
    for union in (FromHouse, FromLane):
        assert len(tags(union)) == len(set(tags(union)))


def test_only_the_house_can_order_and_only_the_lane_can_batch() -> None:
    assert "order" in tags(FromHouse)
    assert "order" not in tags(FromLane)
    assert "batch" in tags(FromLane)
    assert "batch" not in tags(FromHouse)


def test_every_message_forbids_what_it_does_not_know() -> None:
    for member in (*typing.get_args(FromHouse), *typing.get_args(FromLane)):
        assert member.__struct_config__.forbid_unknown_fields
        assert member.__struct_config__.frozen


def test_a_full_batch_and_the_largest_order_fit_their_frames() -> None:
    assert 2 * BATCH_BYTES < MAX_LANE_FRAME
    assert MAX_HOUSE_FRAME > 8 * 1024 * 1024
    assert "change_token" in GiveOrder.__struct_fields__
