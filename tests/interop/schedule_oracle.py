"""What a schedule means, read once more from the contract and built on other people's calendars: dateutil's
recurrences say when its intervals begin, zoneinfo (with the pinned tzdata) what a clock on the wall shows.
"""

import zoneinfo
from datetime import datetime, time, timedelta, timezone

from dateutil import rrule

# The pinned data, never the machine's.
zoneinfo.reset_tzpath(to=())

WEEKDAYS = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
DAY = timedelta(days=1)


def time_of_day(text):
    """Since midnight; 24:00 is a whole day."""
    hours, minutes, *seconds = map(int, text.split(":"))
    return timedelta(hours=hours, minutes=minutes, seconds=seconds[0] if seconds else 0)


def lasting(interval):
    """When it begins after midnight, and how long it lasts on a clock that is never changed."""
    begin, end = time_of_day(interval["from"]), time_of_day(interval["to"])
    return begin, end - begin if end > begin else end + DAY - begin


def midnight(date):
    return datetime.combine(date, time())


def holiday_days(holiday, first, last):
    """The days from `first` to `last` on which a holiday record falls."""
    days = {datetime.fromisoformat(date) for date in holiday.get("dates", [])}
    for day in holiday.get("yearly", []):
        month, number = map(int, day.split("-"))
        # Eight years reach back to a leap year, also across 2100.
        begin = first.replace(year=first.year - 8, month=1, day=1)
        days |= set(rrule.rrule(rrule.YEARLY, bymonth=month, bymonthday=number, dtstart=begin, until=last))
    return {day for day in days if first <= day <= last}


def occurrences(schedule, holidays, first, last):
    """(begin, end, why) in civil time of every interval that begins on the days from `first` to `last`."""
    found, decided = [], set()
    for instead in schedule.get("holidays", []):
        # Of several that fall on one day, the first that is listed decides.
        days = holiday_days(holidays[instead["holiday"]], first, last) - decided
        decided |= days
        for begin, length in map(lasting, instead.get("intervals", [])):
            found += [(day + begin, day + begin + length, "holiday") for day in days]
    for weekly in schedule.get("weekly", []):
        begin, length = lasting(weekly)
        week = [WEEKDAYS.index(day) for day in weekly["days"]]
        days = rrule.rruleset()
        days.rrule(rrule.rrule(rrule.DAILY, byweekday=week, dtstart=first, until=last))
        for day in decided:
            days.exdate(day)
        found += [(day + begin, day + begin + length, "weekly") for day in days]
    for single in schedule.get("dates", []):
        day = datetime.fromisoformat(single["date"])
        begin, length = lasting(single)
        found += [(day + begin, day + begin + length, "date")] if first <= day <= last else []
    return found


def local(instant, zone):
    return instant.astimezone(zoneinfo.ZoneInfo(zone))


def offset_changes(zone, year):
    """The instants of one year at which the offset from UTC changes, to the second."""
    zone, found = zoneinfo.ZoneInfo(zone), []
    offset = lambda instant: instant.astimezone(zone).utcoffset()
    at = datetime(year, 1, 1, tzinfo=timezone.utc)
    end = datetime(year + 1, 1, 1, tzinfo=timezone.utc)
    while at < end:
        low, high = at, at + DAY
        at = high
        if offset(low) == offset(high):
            continue
        while high - low > timedelta(seconds=1):
            middle = low + timedelta(seconds=int((high - low).total_seconds()) // 2)
            low, high = (middle, high) if offset(middle) == offset(low) else (low, middle)
        found.append(high)
    return found


def instants_of(civil, zone):
    """When clocks in the zone show this: twice in a fold; in a gap, what either offset would make of it."""
    zone = zoneinfo.ZoneInfo(zone)
    return {civil.replace(tzinfo=zone, fold=fold).astimezone(timezone.utc) for fold in (0, 1)}


def next_change(found, after, until, zone):
    """The first instant from `after` to `until` at which the intervals begin or cease to hold."""
    held = lambda at: any(begin <= local(at, zone).replace(tzinfo=None) < end for begin, end, _ in found)
    candidates = {change for year in {after.year, until.year} for change in offset_changes(zone, year)}
    for begin, end, _ in found:
        candidates |= instants_of(begin, zone) | instants_of(end, zone)
    before = held(after)
    return next((at for at in sorted(candidates) if after < at < until and held(at) != before), None)
