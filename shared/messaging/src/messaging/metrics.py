"""Every metric of a service, in one list; labels hold codes, never anything of a client."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class Meters:
    """The meters of one process, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.handled = Counter("handled", "messages that ended", ("outcome",), registry=self.registry)
        self.passed_over = Counter("passed_over", "records that are others' concern", registry=self.registry)
        self.relayed = Counter("relayed", "events acknowledged by the broker", registry=self.registry)
        self.troubles = Counter("troubles", "trouble of the infrastructure", ("kind",), registry=self.registry)
        self.conflicts = Counter("identity_conflicts", "same source and id with other content", registry=self.registry)
        self.gaps = Gauge("gaps_open", "subjects of which events are missing", registry=self.registry)
        self.gaps_found = Counter("gaps_found", "ranges of missing numbers", ("change",), registry=self.registry)
        self.aside = Gauge("set_aside", "records that wait for a person or their turn", ("outcome",), registry=self.registry)
        self.stopped = Gauge("topic_stopped", "1 while a topic is not read on", ("topic",), registry=self.registry)
        self.batch = Histogram(
            "batch_seconds", "one batch from read to commit", registry=self.registry,
            buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 5),
        )  # fmt: skip
        self.batch_size = Histogram(
            "batch_records", "records in a batch", registry=self.registry, buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500)
        )
        self.turn = Gauge("loop_turned_timestamp", "when the consumer loop last turned, unix seconds", registry=self.registry)
