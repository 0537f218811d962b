#!/bin/sh
# create-topics.sh BOOTSTRAP: the topics of topics.yaml (a test holds the two together), for docker-compose.
set -eu
create() {
    name=$1 partitions=$2
    shift 2
    /opt/kafka/bin/kafka-topics.sh --bootstrap-server "$bootstrap" --create --if-not-exists \
        --topic "$name" --partitions "$partitions" --replication-factor 1 "$@"
}
bootstrap=$1
create referrals.inbound.v1 12 --config retention.ms=604800000 --config message.timestamp.type=LogAppendTime
create therapists.inbound.v1 12 --config cleanup.policy=compact --config message.timestamp.type=LogAppendTime
create clinical.inbound.v1 12 --config message.timestamp.type=LogAppendTime
create intake.events.v1 12
create matching.events.v1 12
create followup.events.v1 12
create oversight.events.v1 12
create oversight.checkpoints.v1 1 --config retention.ms=-1 --config retention.bytes=-1
create intake.parked.v1 12
create matching.parked.v1 12
create followup.parked.v1 12
create oversight.parked.v1 12
