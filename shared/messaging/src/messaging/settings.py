"""What every service is told from outside; each service adds its own and sets its prefix."""

from datetime import timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


def _plain_seconds(value: Any) -> Any:
    return float(value) if isinstance(value, str) and value.replace(".", "", 1).isdigit() else value


Seconds = Annotated[timedelta, BeforeValidator(_plain_seconds), Field(gt=timedelta(0), description="seconds, or ISO 8601")]


class KitSettings(BaseSettings):
    """Frozen and checked at start, so that a mistake is a sentence at boot and not a surprise at night."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore")

    postgres_dsn: SecretStr = Field(description="DSN of the runtime role")
    owner_dsn: SecretStr | None = Field(default=None, description="DSN of the owner role, for `migrate` only")
    kafka_bootstrap: str = Field(description="host:port[,host:port]")
    secret_key: SecretStr = Field(min_length=16, description="keys the digests of what may identify a client")
    http_host: str = "127.0.0.1"
    http_port: int = Field(default=8080, ge=0, le=65535)
    max_batch: int = Field(default=500, ge=1, le=5000, description="records decided together")
    poll_idle: Seconds = timedelta(milliseconds=20)
    early_limit: Seconds = Field(default=timedelta(hours=24), description="how long an early event waits")
    faults: int = Field(default=50, ge=1, description="records of a topic parked by faults of ours that stop its consumer")
    faults_within: Seconds = Field(default=timedelta(minutes=10), description="so many within this time")
    timer_attempts: int = Field(default=10, ge=1, description="failures after which a timer waits for a person")
    stop_within: Seconds = Field(default=timedelta(seconds=10), description="to finish a batch and drain the relay")
    position_every: Seconds = Field(default=timedelta(seconds=5), description="how often OutboxPosition is published, at most")
    outbox_kept: Seconds = Field(
        default=timedelta(days=7), description="how long events stay in the outbox after they were sent"
    )
    inbox_kept: Seconds = Field(default=timedelta(days=30), description="how long a claim stays; longer than any topic is kept")
    log_level: str = "info"
