"""What a server or a service says of itself when it is asked whether it is ready."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Health:
    """Ready when nothing is `missing`; `stopped` when it runs, and only a person can mend what is missing."""

    missing: str = ""
    stopped: bool = False

    @property
    def ready(self) -> bool:
        return not self.missing


READY = Health()
SILENT = Health("it does not answer")
