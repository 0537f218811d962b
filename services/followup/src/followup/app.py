"""Followup's composition root."""

from collections.abc import Sequence
from typing import Any

from followup.api import add_api
from followup.consumer import ROUTES
from followup.domain.clocks import Clocks
from followup.settings import Settings
from messaging.service import Service


def build(settings: Settings) -> Service:
    """The service, ready to run; handlers get the clocks as their context."""
    clocks = settings.clocks()

    async def load(connection: Any, messages: Sequence[Any]) -> Clocks:
        return clocks

    return Service("followup", settings, ROUTES, load, add_api)
