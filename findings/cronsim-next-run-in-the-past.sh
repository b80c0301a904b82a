#!/usr/bin/env bash
# Versions:  cronsim 2.8 with tzdata 2026.6 on CPython 3.11, run on 2026-11-29.
#
# Behaviour: `CronSim(expression, start)` gives the runs after `start`. On the day on which clocks are
#            put back, the hour from 02:00 to 03:00 comes twice. Where `start` is in the second of
#            them (fold=1) and the expression names a time of day in that hour, the first run that is
#            given belongs to the first of the two hours: it lies up to an hour before `start`.
#            Expressions with a wildcard hour are not concerned, and neither is reverse=True.
#
# Expected:  a run after `start`: here 02:30 of the next day, since the job of 02:30 of this day was
#            due 40 minutes ago. A program that sleeps until "the next run" and was started in that
#            hour runs the job at once, a second time on that day.
#
# Seen:      start  2026-10-25T02:10:00+01:00
#            next   2026-10-25T02:30:00+02:00  -2400 s from the start
#            then   2026-10-26T02:30:00+01:00  87600 s from the start
#
# Allegro:   takes the first run that is later than the start in real seconds, and never serves a due
#            time twice (src/allegro/core/health/schedule.py).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check cronsim==2.8 tzdata==2026.6
"$folder/venv/bin/python" - <<'PY'
import datetime
import sys
import zoneinfo

import cronsim

zone = zoneinfo.ZoneInfo("Europe/Berlin")
start = datetime.datetime(2026, 10, 25, 2, 10, fold=1, tzinfo=zone)
runs = cronsim.CronSim("30 2 * * *", start)
first, second = next(runs), next(runs)
print("start ", start.isoformat())
for name, run in (("next", first), ("then", second)):
    print(f"{name:<6} {run.isoformat()}  {run.timestamp() - start.timestamp():.0f} s from the start")
sys.exit(first.timestamp() - start.timestamp() != -2400)
PY
echo "still so: the next run lies in the past"
