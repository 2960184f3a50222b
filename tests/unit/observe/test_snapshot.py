from __future__ import annotations

from typing import TYPE_CHECKING

from bufferproxy.observe.events import Accepted, Events, Finished
from bufferproxy.observe.gauges import GaugeReading
from bufferproxy.observe.meters import Meters
from bufferproxy.observe.rates import RecentRates
from bufferproxy.observe.snapshot import Resting, Snapshots, Standing

if TYPE_CHECKING:
    from tests.unit.observe.conftest import HandClock

READING = GaugeReading(1, 0, 0, 10, 5.0, 1.0, 0, 50.0, 50.0, 50.0, 0, 0, 1)
STANDING = Standing(("http://auth",), 1, 20, False, Resting("connect", 9.0))


def test_a_snapshot_joins_what_is_set_what_lies_there_and_what_happened(clock: HandClock) -> None:
    meters, events = Meters(["auth", "mail"]), Events()
    meters.subscribe(events)
    snapshots = Snapshots(meters, RecentRates(meters, clock))
    snapshots.register("mail", lambda: STANDING, lambda: READING)
    snapshots.register("auth", lambda: STANDING, lambda: READING)
    events.emit(Accepted("auth", 1, 0.1))
    events.emit(Finished("auth", "delivered"))
    clock.time += 2
    auth, mail = snapshots.services()
    assert (auth.name, mail.name) == ("auth", "mail")
    assert (auth.accepted, auth.finished["delivered"], auth.rates.delivered) == (1, 1, 0.5)
    assert (auth.standing, auth.gauges) == (STANDING, READING)


def test_only_configured_and_registered_services_are_shown(clock: HandClock) -> None:
    meters = Meters(["auth", "mail"])
    snapshots = Snapshots(meters, RecentRates(meters, clock))
    snapshots.register("auth", lambda: STANDING, lambda: READING)
    snapshots.register("ghost", lambda: STANDING, lambda: READING)
    assert [snapshot.name for snapshot in snapshots.services()] == ["auth"]
    assert snapshots.service("ghost") is None
    snapshots.forget("auth")
    assert snapshots.services() == []
