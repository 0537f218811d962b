"""Everything that is said through the portal is heard: it has an effect, be it a refusal, or it is set aside."""

from tests.faults.history import History, Told, Unknown
from tests.faults.promises.parked import place_of
from tests.faults.verdict import Checked

from contracts.parked import RecordParked
from contracts.topics import CLINICAL


def check(history: History, told: Told) -> Checked:
    """Of each record that somebody reads, something of ours says that it is its cause."""
    checked = Checked("everything said is heard")
    caused = {one.envelope.causationid for one in history.ours()}
    parked = {place_of(one) for one in history.all(RecordParked)}
    for one in history.said:
        if one.place.topic == CLINICAL and not isinstance(one.event, Unknown):
            checked.items += 1
            if one.envelope.id not in caused and one.place not in parked:
                checked.broken(f"{type(one.event).__name__} was said, and nobody answered", [one])
    return checked
