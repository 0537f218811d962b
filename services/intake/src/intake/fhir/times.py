"""FHIR dates and dateTimes, which may be a year, a month, a day or an instant, as the last moment they cover."""

import calendar
from datetime import UTC, date, datetime, time

_OPEN_END = 2200
"""Senders write far years, such as 9999, for `no end`."""


def last_day(text: str | None) -> date | None:
    """The last day covered; None for no end."""
    moment = last_moment(text)
    return moment.date() if moment else None


def last_moment(text: str | None) -> datetime | None:
    """The last moment covered, in UTC where no zone is given; None for no end and for what is no date."""
    try:
        moment = _instant(text) if text and "T" in text else _end_of_day(text or "")
        return moment if moment.year < _OPEN_END else None
    except (ValueError, OverflowError):
        return None


def _instant(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _end_of_day(text: str) -> datetime:
    parts = [int(part) for part in text.split("-")]
    year, month = parts[0], parts[1] if len(parts) > 1 else 12
    day = parts[2] if len(parts) > 2 else calendar.monthrange(year, month)[1]
    return datetime.combine(date(year, month, day), time(23, 59, 59), UTC)
