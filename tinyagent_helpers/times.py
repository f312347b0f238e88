"""The many ways people say a time, each with the time that is meant.

Conventions: "Friday" and "this Friday" are the first Friday after today; "next Friday" is the one in the week (Monday to
Sunday) after this one; "the 14th" is the first 14th after today. A date without a clock time is written as midnight.
"""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from random import Random

FORMAT = "%Y-%m-%d %H:%M:%S"
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
HOURS = ("twelve", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven")
DURATIONS = {
    15: ("15 minutes", "a quarter of an hour", "15 min"),
    20: ("20 minutes", "twenty minutes"),
    30: ("30 minutes", "half an hour", "30 min", "thirty minutes"),
    45: ("45 minutes", "45 min", "three quarters of an hour"),
    60: ("an hour", "one hour", "60 minutes", "1 hour"),
    75: ("75 minutes", "an hour and a quarter"),
    90: ("90 minutes", "an hour and a half", "1.5 hours"),
    120: ("two hours", "2 hours", "2h"),
    180: ("three hours", "3 hours"),
}


def moment_of(text: str) -> datetime:
    """A time in ISO format, to the second.

    Raises:
        ValueError: it is none, or of a year that calendars do not show.
    """
    moment = datetime.fromisoformat(text).replace(tzinfo=None, microsecond=0)
    if not 1900 <= moment.year < 3000:
        raise ValueError(f"the year of {text!r} is not between 1900 and 2999")
    return moment


@dataclass(frozen=True)
class Moment:
    """What was said, and what it means; `end` is set for a span of time."""

    say: str
    start: datetime
    end: datetime | None = None


def draw_now(rng: Random) -> datetime:
    """A minute of the working day in 2024 to 2026, when a request may be made."""
    day = date(2024, 1, 1) + timedelta(days=rng.randrange(3 * 365))
    return datetime.combine(day, time(rng.randrange(7, 21), rng.randrange(60)))


def draw_duration(rng: Random) -> tuple[str, int]:
    """A duration as said, and in minutes."""
    minutes = rng.choice(list(DURATIONS))
    return rng.choice(DURATIONS[minutes]), minutes


def draw_when(rng: Random, now: datetime) -> Moment:
    """A day and a clock time, or a time from now; always in the future."""
    if rng.random() < 0.12:
        return _from_now(rng, now)
    while True:
        said, day = _day(rng, now.date(), evening=True)
        clock = time(rng.randrange(18, 22) if said == "tonight" else rng.randrange(7, 22), _minute(rng))
        moment = datetime.combine(day, clock)
        if moment > now:
            return Moment(_order(rng, said, _clock(rng, clock)), moment)


def draw_day(rng: Random, now: datetime) -> Moment:
    """A day without a clock time, after today."""
    said, day = _day(rng, now.date(), evening=False)
    return Moment(said, datetime.combine(day, time()))


def draw_span(rng: Random, now: datetime) -> Moment:
    """A stretch of one day, such as "tomorrow from 2 pm to 3:30 pm"."""
    while True:
        said, day = _day(rng, now.date(), evening=False)
        start = datetime.combine(day, time(rng.randrange(8, 19), rng.choice((0, 0, 0, 30, 15))))
        end = start + timedelta(minutes=rng.choice((30, 45, 60, 90, 90, 120, 120, 150, 180)))
        if start > now:
            return Moment(_span(rng, said, start.time(), end.time()), start, end)


def _from_now(rng: Random, now: datetime) -> Moment:
    say, minutes = rng.choice(
        [(f"in {n} minutes", n) for n in (5, 10, 15, 20, 30, 40, 45, 90)]
        + [(f"in {n} hours", 60 * n) for n in (2, 3, 4, 5)]
        + [
            ("in an hour", 60),
            ("in half an hour", 30),
            ("an hour from now", 60),
            ("two hours from now", 120),
            ("in one hour", 60),
        ]
    )
    return Moment(say, now + timedelta(minutes=minutes))


def _minute(rng: Random) -> int:
    return rng.choice((0, 0, 0, 0, 30, 30, 15, 45, 10, 20, 40, 50, 5, 25, 35, 55))


def _day(rng: Random, today: date, evening: bool) -> tuple[str, date]:
    """A day as said. Today and tonight only where a clock time follows (`evening`)."""
    kind = rng.choice(
        ["tomorrow"] * 4 + ["weekday"] * 4 + ["date"] * 3 + ["next"] * 2 + ["days", "ordinal"] + ["today"] * 3 * evening
    )
    if kind == "today":
        return rng.choice(("today", "today", "tonight")), today
    if kind == "tomorrow":
        return "tomorrow", today + timedelta(days=1)
    if kind == "weekday":
        day = today + timedelta(days=rng.randrange(1, 8))
        name = WEEKDAYS[day.weekday()]
        return rng.choice((f"on {name}", f"this {name}", f"on {name}", f"on {name[:3]}")), day
    if kind == "next":
        day = today + timedelta(days=7 - today.weekday() + rng.randrange(7))
        return f"next {WEEKDAYS[day.weekday()]}", day
    if kind == "days":
        say, days = rng.choice(
            (
                ("the day after tomorrow", 2),
                ("in three days", 3),
                ("in 3 days", 3),
                ("in two days", 2),
                ("a week from today", 7),
                ("in 4 days", 4),
            )
        )
        return say, today + timedelta(days=days)
    day = today + timedelta(days=rng.randrange(2, 27 if kind == "ordinal" else 120))
    return (f"on the {_ordinal(day.day)}" if kind == "ordinal" else _date(rng, day)), day


def _date(rng: Random, day: date) -> str:
    month, number = MONTHS[day.month - 1], day.day
    return rng.choice(
        (
            f"on {month} {number}",
            f"on {month} {_ordinal(number)}",
            f"on {number} {month}",
            f"on {month[:3]} {number}",
            f"on {month} {number}, {day.year}",
            f"on {day.isoformat()}",
            f"on the {_ordinal(number)} of {month}",
        )
    )


def _ordinal(n: int) -> str:
    return f"{n}{'th' if 10 <= n % 100 <= 20 else {1: 'st', 2: 'nd', 3: 'rd'}.get(n % 10, 'th')}"


def _clock(rng: Random, t: time) -> str:
    """A clock time as said: 3pm, 15:30, half past three in the afternoon."""
    half, hour = ("am", "pm")[t.hour >= 12], t.hour % 12 or 12
    part = "in the morning" if t.hour < 12 else "in the afternoon" if t.hour < 18 else "in the evening"
    forms = [
        f"{t.hour}:{t.minute:02}",
        f"{hour}:{t.minute:02} {half}",
        f"{hour}:{t.minute:02}{half}",
        f"{hour}:{t.minute:02} {half.upper()}",
    ]
    if t.minute == 0:
        forms = forms[:1] + [
            f"{hour}{half}",
            f"{hour} {half}",
            f"{hour} {half.upper()}",
            f"{hour} {half}",
            f"{hour}{half.upper()}",
        ]
        forms += (
            ["noon", "12 noon"]
            if t.hour == 12
            else [f"{hour} {part}", f"{hour} o'clock {part}", f"{HOURS[t.hour % 12]} {part}"]
        )
    elif t.minute in (15, 30, 45) and t.hour != 12:
        words = {15: "quarter past", 30: "half past", 45: "quarter to"}[t.minute]
        named = (t.hour + (t.minute == 45)) % 12
        if not (t.minute == 45 and t.hour in (11, 17)):
            forms += [f"{words} {HOURS[named]} {part}", f"{words} {named} {half}"]
    return rng.choice(forms)


def _order(rng: Random, day: str, clock: str) -> str:
    bare = day.removeprefix("on ")
    return rng.choice(
        (
            f"{day} at {clock}",
            f"{day} at {clock}",
            f"at {clock} {day}",
            f"at {clock} {day}",
            f"{bare} {clock}",
            f"{clock} {bare}",
        )
    )


def _span(rng: Random, day: str, start: time, end: time) -> str:
    bare = day.removeprefix("on ")
    first, last = rng.choice(
        (
            (f"{start.hour}:{start.minute:02}", f"{end.hour}:{end.minute:02}"),
            (_short(start), _short(end)),
            (
                _short(start).replace("pm", " pm").replace("am", " am"),
                _short(end).replace("pm", " pm").replace("am", " am"),
            ),
            (_short(start).upper(), _short(end).upper()),
        )
    )
    return rng.choice(
        (
            f"{day} from {first} to {last}",
            f"from {first} to {last} {day}",
            f"{day} between {first} and {last}",
            f"{bare} {first}-{last}",
            f"{bare}, {first} until {last}",
        )
    )


def _short(t: time) -> str:
    minutes = f":{t.minute:02}" if t.minute else ""
    return f"{t.hour % 12 or 12}{minutes}{('am', 'pm')[t.hour >= 12]}"
