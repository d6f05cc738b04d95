"""Schedules, compared with an oracle on zoneinfo and dateutil over random zones, years and records. Where two
versions of the time-zone data would disagree about an offset, there is nothing to compare: such instants are
counted, and there may be only few. $LATCHD_SCHEDULE_SEED plays other cases.
"""

import collections
import json
import os
import random
import subprocess
import zoneinfo
from datetime import datetime, timedelta, timezone

import pytest
from conftest import latchd_binary
from schedule_oracle import DAY, WEEKDAYS, local, midnight, next_change, occurrences, offset_changes

SEED = int(os.environ.get("LATCHD_SCHEDULE_SEED", "20261122"))
CASES, SCHEDULES, INSTANTS = 360, 4, 60
MILLISECOND = timedelta(milliseconds=1)
# Ramadan, half an hour, a skipped day, changes at midnight, and both hemispheres.
TELLING_ZONES = [
    "Africa/Casablanca",
    "Africa/El_Aaiun",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Pacific/Kwajalein",
    "America/Havana",
    "Asia/Beirut",
    "America/Sao_Paulo",
    "Asia/Kathmandu",
    "Africa/Monrovia",
    "Antarctica/Troll",
    "Europe/Dublin",
    "Europe/Berlin",
    "America/New_York",
]
# In each of these something happens in one of the zones above that happens in no other year.
TELLING_YEARS = [1972, 1993, 1994, 2000, 2011, 2012, 2026, 2028, 2030, 2037, 2038, 2100]


def ask(directory, zone, records, instants, *options):
    """What `latchd schedule` answers: the local time and what it says of schedules, for each instant."""
    path = directory / "records.json"
    path.write_text(json.dumps(records))
    command = [latchd_binary(), "schedule", "--zone", zone, "--records", str(path), *options]
    lines = "".join(f"{instant.isoformat(timespec='milliseconds')}\n" for instant in instants)
    result = subprocess.run(command, input=lines, capture_output=True, text=True, timeout=20)
    assert result.returncode == 0, f"{zone}: {result.stderr}"
    answers = [line.split(" ") for line in result.stdout.splitlines()]
    assert len(answers) == len(instants)
    return [(datetime.fromisoformat(answer[1]), {name for name in answer[2:] if name != "-"}) for answer in answers]


# ---- random cases ----


def random_time(dice):
    telling = ["00:00", "00:00", "00:30", "01:00", "01:30", "02:00", "02:30", "03:00", "08:00", "12:00", "22:00", "23:59:59"]
    if dice.random() < 0.6:
        return dice.choice(telling)
    hour, minute, second = dice.randrange(24), dice.randrange(60), dice.randrange(60)
    return f"{hour:02}:{minute:02}:{second:02}" if dice.random() < 0.5 else f"{hour:02}:{minute:02}"


def random_interval(dice):
    return {"from": random_time(dice), "to": "24:00" if dice.random() < 0.15 else random_time(dice)}


def random_records(dice, today):
    near = lambda: today + dice.randint(-3, 3) * DAY
    records = []
    for number in range(2):
        yearly = [near().strftime("%m-%d") for _ in range(dice.randrange(3))] + ["02-29"] * dice.randrange(2)
        dates = [f"{near():%Y-%m-%d}" for _ in range(dice.randrange(3))]
        records.append({"kind": "holiday", "id": f"h{number}", "body": {"dates": dates, "yearly": yearly}})
    for number in range(SCHEDULES):
        days = lambda: dice.sample(WEEKDAYS, dice.randint(1, 7))
        weekly = [{"days": days(), **random_interval(dice)} for _ in range(dice.randrange(4))]
        dates = [{"date": f"{near():%Y-%m-%d}", **random_interval(dice)} for _ in range(dice.randrange(3))]
        named = dice.sample(["h0", "h1"], dice.randrange(3))
        holidays = [{"holiday": h, "intervals": [random_interval(dice) for _ in range(dice.randrange(3))]} for h in named]
        body = {"weekly": weekly, "dates": dates, "holidays": holidays}
        records.append({"kind": "schedule", "id": f"s{number}", "body": body})
    dice.shuffle(records)
    return records


def bodies(records, kind):
    return {record["id"]: record["body"] for record in records if record["kind"] == kind}


def random_day(dice, zone):
    """A day around which something may go wrong, as an instant."""
    year = dice.choice(TELLING_YEARS) if dice.random() < 0.5 else dice.randint(1971, 2120)
    changes = offset_changes(zone, year)
    if changes and dice.random() < 0.7:
        return dice.choice(changes)
    if dice.random() < 0.4:
        return datetime(year, 3, 1, dice.randrange(24), tzinfo=timezone.utc)
    return datetime(year, 1, 1, tzinfo=timezone.utc) + timedelta(seconds=dice.randrange(365 * 86_400))


def random_instants(dice, centre, zone, intervals):
    """Around the centre to the millisecond, at the ends of intervals (in both of a fold), and anywhere near."""
    found = [centre + offset for offset in (-MILLISECOND, timedelta(), MILLISECOND)]
    ends = [end for begin, end, _ in intervals] + [begin for begin, _, _ in intervals]
    for end in dice.sample(ends, min(len(ends), INSTANTS // 4)):
        instant = end.replace(tzinfo=zoneinfo.ZoneInfo(zone), fold=dice.randrange(2)).astimezone(timezone.utc)
        if abs(instant - centre) < 2 * DAY:
            found += [instant - MILLISECOND, instant]
    while len(found) < INSTANTS:
        reach = dice.choice([3_700, 90_000, 172_000])
        found.append(centre + timedelta(seconds=dice.randint(-reach, reach), milliseconds=dice.randrange(1000)))
    return found


def play(dice, directory, seen):
    zone = dice.choice(TELLING_ZONES if dice.random() < 0.5 else ALL_ZONES)
    centre = random_day(dice, zone)
    today = midnight(local(centre, zone).date())
    records = random_records(dice, today)
    holidays = bodies(records, "holiday")
    # What holds at an instant began at most a day before it.
    window = today - 5 * DAY, today + 5 * DAY
    expected = {name: occurrences(body, holidays, *window) for name, body in bodies(records, "schedule").items()}
    instants = random_instants(dice, centre, zone, [one for found in expected.values() for one in found])
    for instant, (shown, named) in zip(instants, ask(directory, zone, records, instants)):
        clock = local(instant, zone)
        seen["instants"] += 1
        assert shown.timestamp() == instant.timestamp()
        if shown.utcoffset() != clock.utcoffset():
            seen["offsets differ"] += 1
            continue
        naive = clock.replace(tzinfo=None)
        seen["in a fold"] += clock.fold
        for name, found in expected.items():
            why = [(begin, reason) for begin, end, reason in found if begin <= naive < end]
            assert bool(why) == (name in named), f"{name} at {instant} ({clock}) in {zone}, held by {why}: {records}"
            seen["holds" if why else "does not hold"] += 1
            for begin, reason in why:
                seen[reason] += 1
                seen["began the day before"] += begin.date() < naive.date()
                seen["ends on no full minute"] += begin.second != 0


ALL_ZONES = sorted(zoneinfo.available_timezones() - {"localtime", "Factory"})


def test_schedules_agree_with_zoneinfo_and_dateutil(tmp_path):
    seen = collections.Counter()
    for number in range(CASES):
        play(random.Random(f"{SEED}/{number}"), tmp_path, seen)
    print(dict(seen))
    # The same release of the data on both sides (Cargo.lock, requirements.txt) leaves next to nothing.
    assert seen["offsets differ"] <= seen["instants"] // 100, seen
    # Cases that never come to the point would prove nothing.
    for what in ("holds", "does not hold", "weekly", "date", "holiday", "in a fold", "began the day before"):
        assert seen[what] >= 300, (what, seen)
    assert seen["ends on no full minute"] >= 300, seen


def test_both_sides_know_the_same_zones(tmp_path):
    offsets, instant = {}, datetime(2026, 7, 1, tzinfo=timezone.utc)
    for zone in random.Random(SEED).sample(ALL_ZONES, 60):
        shown, _ = ask(tmp_path, zone, [], [instant])[0]
        offsets[zone] = shown.utcoffset() - local(instant, zone).utcoffset()
    assert {zone for zone, difference in offsets.items() if difference} == set()


AHEAD = 9 * DAY


def test_schedules_begin_and_end_when_zoneinfo_and_dateutil_say(tmp_path):
    seen = collections.Counter()
    for number in range(CASES // 6):
        dice = random.Random(f"{SEED}/change/{number}")
        zone = dice.choice(TELLING_ZONES if dice.random() < 0.7 else ALL_ZONES)
        centre = random_day(dice, zone)
        today = midnight(local(centre, zone).date())
        records = random_records(dice, today)
        holidays = bodies(records, "holiday")
        window = today - 5 * DAY, today + 14 * DAY
        expected = {name: occurrences(body, holidays, *window) for name, body in bodies(records, "schedule").items()}
        instants = [centre + timedelta(seconds=dice.randint(-172_000, 90_000)) for _ in range(3)] + [centre]
        for instant, (shown, told) in zip(instants, ask(tmp_path, zone, records, instants, "--changes")):
            if shown.utcoffset() != local(instant, zone).utcoffset():
                seen["offsets differ"] += 1
                continue
            for name, (how, at) in ((n, t.split(":", 1) if ":" in t else (t, None)) for n, t in (w.split("=") for w in told)):
                due = next_change(expected[name], instant, instant + AHEAD, zone)
                said = at and datetime.fromisoformat(at)
                known = said if said and said < instant + AHEAD else None
                assert known == due, f"{name} at {instant} in {zone}: {how} {said}, not {due}: {records}"
                seen[how if known else "not soon"] += 1
                seen["at a change of the clocks"] += bool(known) and known in offset_changes(zone, known.year)
    print(dict(seen))
    assert seen["offsets differ"] <= CASES // 100, seen
    for what, least in {"until": 50, "from": 50, "not soon": 10, "at a change of the clocks": 1}.items():
        assert seen[what] >= least, (what, seen)


# ---- days that are known by heart ----


def held(directory, zone, schedule, first, hours):
    """For how many minutes of the hours from `first` on the schedule holds."""
    begin = datetime.fromisoformat(first)
    minutes = [begin + timedelta(minutes=minute) for minute in range(hours * 60)]
    records = [{"kind": "schedule", "id": "s", "body": schedule}]
    return sum("s" in names for _, names in ask(directory, zone, records, minutes))


def daily(begin, end):
    return {"weekly": [{"days": WEEKDAYS, "from": begin, "to": end}]}


@pytest.mark.parametrize(
    ("zone", "schedule", "first", "hours", "minutes"),
    [
        # The clocks of Morocco go back for Ramadan and forward after it, at 03:00 and 02:00.
        ("Africa/Casablanca", daily("02:00", "03:00"), "2026-02-14T12:00:00Z", 24, 120),
        ("Africa/Casablanca", daily("02:00", "03:00"), "2026-03-21T12:00:00Z", 24, 0),
        ("Africa/Casablanca", daily("02:00", "03:00"), "2026-03-22T12:00:00Z", 24, 60),
        # Lord Howe's half hour comes twice in April and not at all in October.
        ("Australia/Lord_Howe", daily("01:30", "02:00"), "2026-04-04T06:00:00Z", 24, 60),
        ("Australia/Lord_Howe", daily("02:00", "02:30"), "2026-10-03T06:00:00Z", 24, 0),
        # Samoa went to bed on 29 December 2011 and got up on the 31st.
        ("Pacific/Apia", {"dates": [{"date": "2011-12-30", "from": "00:00", "to": "24:00"}]}, "2011-12-28T00:00:00Z", 120, 0),
        ("Pacific/Apia", {"dates": [{"date": "2011-12-31", "from": "00:00", "to": "24:00"}]}, "2011-12-28T00:00:00Z", 120, 1440),
        # A night on which the clocks go back lasts an hour longer.
        ("America/New_York", daily("22:00", "06:00"), "2026-10-31T16:00:00-04:00", 24, 540),
        # 2100 is no leap year.
        ("Europe/Berlin", {"dates": [{"date": "2100-03-01", "from": "00:00", "to": "24:00"}]}, "2100-02-28T23:00:00Z", 24, 1440),
    ],
)
def test_days_that_are_known_by_heart(tmp_path, zone, schedule, first, hours, minutes):
    assert held(tmp_path, zone, schedule, first, hours) == minutes


def test_what_is_wrong_with_a_schedule_is_said(tmp_path):
    path = tmp_path / "records.json"
    path.write_text(json.dumps([{"kind": "schedule", "id": "s", "body": {"holidays": [{"holiday": "none"}]}}]))
    run = lambda *rest: subprocess.run([latchd_binary(), "schedule", "--records", str(path), *rest], capture_output=True, text=True)
    wrong = run("--zone", "Europe/Berlin", "2026-01-01T00:00:00Z")
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert "schedule s: holiday none does not exist" in wrong.stderr
    assert "no time zone `Europe/Berln`" in run("--zone", "Europe/Berln").stderr
