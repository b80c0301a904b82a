"""The clear part of every event, as one Struct for each type: what stands in `Event.data`.

Clear means readable by whoever holds the bytes: ids, numbers, commits, states and short codes, never
text of people or models; that is sealed beside it. A field without a default is always written. One
with a default is left out while it has that value, so events keep the form they had before.
The order of the fields is the order of the stored JSON: add new ones at the end, with a default.

An event is written by `Recorder.event` (lane) or `own_event` (house) and read by `read_payload`.
"""
