"""Followup's composition root."""

from followup.api import add_api
from followup.consumer import ROUTES
from followup.settings import Settings
from messaging.service import Service


def build(settings: Settings) -> Service:
    """The service, ready to run; handlers get the clocks as their context."""
    return Service("followup", settings, ROUTES, settings.clocks(), add_api)
