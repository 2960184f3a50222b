"""The thread of one client, and what replaces a client that failed."""

from __future__ import annotations

import threading

from bufferproxy.clock import SystemClock
from bufferproxy.log.kafka import poller as module
from bufferproxy.log.kafka.engine import ClientFailed, Failure, Trouble
from bufferproxy.log.kafka.poller import Poller


class Driver:
    """Makes numbers for clients; `fails` says which of them cannot be used, and why."""

    name = "of a test"

    def __init__(self, fails: dict[int, Trouble]) -> None:
        self.fails = fails
        self.made = 0
        self.discarded: list[int] = []
        self.failures: list[str] = []
        self.seen: list[object] = []
        self.turned = threading.Event()

    def make(self) -> int:
        self.made += 1
        return self.made

    def turn(self, client: int) -> float:
        if client in self.fails:
            raise ClientFailed(Failure(self.fails[client], f"client {client}"))
        self.turned.set()
        return 60.0

    def failed(self, failure: Failure) -> None:
        self.failures.append(failure.text)

    def discard(self, client: int) -> None:
        self.discarded.append(client)


def ended(poller: Poller[int]) -> None:
    poller.stop()
    poller.join(5)
    assert not poller.is_alive()


def test_a_client_that_fails_is_replaced_after_a_while() -> None:
    driver = Driver({1: Trouble.FATAL})
    poller: Poller[int] = Poller(driver, SystemClock.now)
    began = SystemClock.now()
    poller.start()
    assert driver.turned.wait(10)
    assert SystemClock.now() - began >= module.FIRST_BACKOFF
    ended(poller)
    assert (driver.failures, driver.discarded) == (["client 1"], [1, 2])


def test_who_was_fenced_stays_out_and_stops_at_once_all_the_same() -> None:
    driver = Driver({1: Trouble.FENCED})
    poller: Poller[int] = Poller(driver, SystemClock.now)
    poller.start()
    assert not driver.turned.wait(2 * module.FIRST_BACKOFF)
    ended(poller)
    assert driver.made == 1


def test_what_is_told_is_done_between_two_turns_with_the_client_there_is() -> None:
    driver = Driver({})
    poller: Poller[int] = Poller(driver, SystemClock.now)
    poller.start()
    assert driver.turned.wait(5)
    done = threading.Event()
    poller.tell(driver.seen.append)
    poller.tell(lambda _: done.set())
    assert done.wait(5)
    ended(poller)
    assert driver.seen == [1]


def test_a_client_that_is_stuck_is_replaced_on_demand() -> None:
    driver = Driver({})
    poller: Poller[int] = Poller(driver, SystemClock.now)
    poller.start()
    assert driver.turned.wait(5)
    driver.turned.clear()
    poller.replace("nothing comes")
    assert driver.turned.wait(10)
    ended(poller)
    assert (driver.made, driver.failures) == (2, ["nothing comes"])
