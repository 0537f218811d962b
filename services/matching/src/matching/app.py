"""Matching's composition root."""

from matching.api import add_api
from matching.consumer import ROUTES
from matching.settings import Settings
from matching.store import Store
from messaging.service import Service


def build(settings: Settings) -> Service:
    """The service, ready to run; handlers get the directory as their context."""
    store = Store(settings.terms())
    return Service("matching", settings, ROUTES, store.load, add_api, kept=store.keep)
