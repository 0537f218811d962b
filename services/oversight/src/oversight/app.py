"""Oversight's composition root."""

from messaging.membership import Recording
from messaging.service import Service
from oversight.api import add_api
from oversight.consumer import ROUTES, TOPICS, Recorder
from oversight.settings import Settings


def build(settings: Settings) -> Service:
    """The service, ready to run; its consumer records instead of deciding."""

    def recording(service: Service) -> Recording:
        key = settings.secret_key.get_secret_value().encode()
        return Recording(TOPICS, Recorder(service.pool, key, service.meters).take)

    return Service("oversight", settings, ROUTES, add_api=add_api, recording=recording)
