"""How soon the first session must be, and how long silence may last.

Source: SAMHSA, Criteria for CCBHCs (2016), 2.B.1: emergency at once, urgent within 1 business day, routine within 10 business
days. The day after a crisis is the usual target of crisis programmes; unverified, so it is a setting.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

_SATURDAY = 5


@dataclass(frozen=True, slots=True)
class Clocks:
    """The limits of one deployment; business days are Monday to Friday in `zone`."""

    emergency: timedelta = timedelta(hours=24)
    urgent_business_days: int = 1
    routine_business_days: int = 10
    silence: timedelta = timedelta(days=14)
    zone: str = "UTC"

    def after(self, effects: Sequence[Any]) -> "Clocks":
        """Nothing a batch does changes the clocks."""
        return self

    def first_session_due(self, urgency: str, now: datetime) -> datetime:
        """The instant by which the first session must have been held."""
        if urgency == "emergency":
            return now + self.emergency
        days = self.urgent_business_days if urgency == "urgent" else self.routine_business_days
        return add_business_days(now, days, self.zone)


def add_business_days(start: datetime, days: int, zone: str) -> datetime:
    """The same time of day, so many business days later; from a weekend the count begins on Monday."""
    local = start.astimezone(ZoneInfo(zone))
    while days > 0:
        local += timedelta(days=1)
        days -= local.weekday() < _SATURDAY
    return local.astimezone(start.tzinfo)
