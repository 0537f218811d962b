"""Intake's composition root."""

from collections.abc import Sequence
from typing import Any

from intake.api import add_api
from intake.consumer import ROUTES
from intake.doors import Doors
from intake.fhir_api import add_fhir_api
from intake.handlers import Context
from intake.keyed import Keys
from intake.settings import Settings
from messaging.service import Service


def build(settings: Settings) -> Service:
    """The service, ready to run; handlers get the keys, the clocks and the desks as their context."""
    keys = Keys(settings.secret_key.get_secret_value())
    context = Context(keys.content, keys.came_by_door, settings.clocks(), settings.escalation_desks)

    async def load(connection: Any, messages: Sequence[Any]) -> Context:
        return context

    def add_doors(app: Any, service: Service) -> None:
        doors = Doors(service, keys, context)
        add_api(app, doors)
        add_fhir_api(app, doors)

    return Service("intake", settings, ROUTES, load, add_doors)
