"""Times as Docker writes them: RFC 3339 with nanoseconds, and *5 seconds ago*.

Inside Onggi a time is nanoseconds since 1970, as an int; 0 is *never*. Docker's clients print the `Status` of a list
as it comes, so `status` makes it, to the letter. No I/O, and quick to import. Callers: the engine and the CLI.
"""

from __future__ import annotations

import re
import time
from calendar import timegm

from onggi.errors import Invalid

SECOND = 1_000_000_000
ZERO = "0001-01-01T00:00:00Z"
_RFC3339 = re.compile(r"(\d{4})-(\d\d)-(\d\d)(?:T(\d\d):(\d\d)(?::(\d\d)(?:\.(\d+))?)?)?(Z|[+-]\d\d:\d\d)?")
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h)")
_UNITS = {"ns": 1, "us": 1000, "µs": 1000, "ms": 10**6, "s": SECOND, "m": 60 * SECOND, "h": 3600 * SECOND}


def rfc3339(ns: int) -> str:
    """`2026-11-23T16:15:31.23Z`: as many digits as are needed; 0 is Go's zero time."""
    if not ns:
        return ZERO
    whole, rest = divmod(ns, SECOND)
    fraction = f".{rest:09d}".rstrip("0") if rest else ""
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(whole))}{fraction}Z"


def rfc3339_fixed(ns: int) -> str:
    """`2026-11-23T16:15:31.230000000Z`: always nine digits, as logs have them."""
    whole, rest = divmod(ns, SECOND)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(whole))}.{rest:09d}Z"


def parse_rfc3339(text: str) -> int:
    """Nanoseconds of an RFC 3339 time; a date alone and a time without a zone are in UTC. Go's zero time is 0."""
    found = _RFC3339.fullmatch(text)
    if found is None:
        raise Invalid("read", text, "not a time")
    if text == ZERO:
        return 0
    year, month, day, hour, minute, second, fraction, zone = found.groups()
    try:
        whole = timegm((int(year), int(month), int(day), int(hour or 0), int(minute or 0), int(second or 0)))
    except ValueError as error:
        raise Invalid("read", text, "not a time") from error
    if zone and zone != "Z":
        offset = int(zone[1:3]) * 3600 + int(zone[4:6]) * 60
        whole += offset if zone[0] == "-" else -offset
    return whole * SECOND + int((fraction or "").ljust(9, "0")[:9])


def parse_timestamp(text: str, now: int) -> int:
    """Nanoseconds of `since` and `until`: seconds since 1970 with a fraction, a time, or a duration before `now`."""
    seconds, _, fraction = text.partition(".")
    if seconds.removeprefix("-").isdecimal() and (not fraction or fraction.isdecimal()):
        return int(seconds) * SECOND + int(fraction.ljust(9, "0")[:9])
    if _RFC3339.fullmatch(text):
        return parse_rfc3339(text)
    return now - parse_duration(text)


def parse_duration(text: str) -> int:
    """Nanoseconds of a Go duration: `1h30m`, `1.5s`, `0`."""
    body, sign = (text[1:], -1) if text.startswith("-") else (text.removeprefix("+"), 1)
    if body == "0":
        return 0
    total, end = 0.0, 0
    for found in _DURATION.finditer(body):
        if found.start() != end:
            break
        total, end = total + float(found[1]) * _UNITS[found[2]], found.end()
    if not body or end != len(body):
        raise Invalid("read", text, f'time: invalid duration "{text}"', code="text")
    return sign * int(total)


def human_duration(ns: int) -> str:
    """`5 seconds`, `About an hour`, `3 weeks`: a length of time in Docker's words."""
    seconds = ns // SECOND if ns > 0 else 0
    minutes, hours = seconds // 60, int(ns / SECOND / 3600 + 0.5)
    if seconds < 1:
        return "Less than a second"
    if seconds == 1:
        return "1 second"
    if seconds < 60:
        return f"{seconds} seconds"
    if minutes == 1:
        return "About a minute"
    if minutes < 60:
        return f"{minutes} minutes"
    if hours == 1:
        return "About an hour"
    for below, per, unit in ((48, 1, "hours"), (336, 24, "days"), (1440, 168, "weeks"), (17520, 720, "months")):
        if hours < below:
            return f"{hours // per} {unit}"
    return f"{hours // 8760} years"


def status(
    state: str, *, now: int, started: int = 0, finished: int = 0, exit_code: int = 0, health: str = "none"
) -> str:
    """The `Status` of a container in the list: `Up 3 minutes (healthy)`, `Exited (0) 2 hours ago`."""
    if state in ("running", "paused"):
        note = "Paused" if state == "paused" else "health: starting" if health == "starting" else health
        up = f"Up {human_duration(now - started)}"
        return up if note == "none" else f"{up} ({note})"
    if state == "restarting":
        return f"Restarting ({exit_code}) {human_duration(now - finished)} ago"
    if state == "exited":
        return f"Exited ({exit_code}) {human_duration(now - finished)} ago"
    return {"created": "Created", "removing": "Removal In Progress", "dead": "Dead"}.get(state, "")
