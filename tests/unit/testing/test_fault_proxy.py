"""Every toxic against real sockets: what was asked for happens, and healing ends it."""

from __future__ import annotations

import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest

from bufferproxy.testing.fault_proxy import FaultProxy, Toxics
from bufferproxy.testing.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

PATIENCE = 10.0


class Echo(threading.Thread):
    """Sends back what it gets; counts what it got, and the ends of streams and resets that it saw."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.got = b""
        self.ends = 0
        self.resets = 0

    def run(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def close(self) -> None:
        """Nobody listens any more: a `close` alone would wait for the `accept` of the other thread."""
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.join()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                while data := connection.recv(1 << 16):
                    self.got += data
                    connection.sendall(data)
                self.ends += 1
                connection.sendall(b"bye")
            except OSError:
                self.resets += 1


@pytest.fixture
def echo() -> Iterator[Echo]:
    echo = Echo()
    echo.start()
    yield echo
    if echo.is_alive():
        echo.close()


@pytest.fixture
def proxy(echo: Echo) -> Iterator[FaultProxy]:
    with FaultProxy(echo.port) as proxy:
        yield proxy


@pytest.fixture
def client(proxy: FaultProxy) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=PATIENCE) as client:
        yield client


def receive(client: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = client.recv(size - len(data))
        if not piece:
            break
        data += piece
    return data


def exchange(client: socket.socket, data: bytes) -> float:
    """Seconds until all of it is back."""
    began = time.monotonic()
    client.sendall(data)
    assert receive(client, len(data)) == data
    return time.monotonic() - began


def silent(client: socket.socket, seconds: float = 0.3) -> bool:
    client.settimeout(seconds)
    try:
        return client.recv(1) is None
    except TimeoutError:
        return True
    finally:
        client.settimeout(PATIENCE)


def test_a_sound_proxy_passes_everything_on_and_the_ends_of_streams(
    client: socket.socket, echo: Echo
) -> None:
    data = bytes(range(256)) * 4000
    sending = threading.Thread(target=client.sendall, args=(data,))
    sending.start()
    assert receive(client, len(data)) == data
    sending.join()
    client.shutdown(socket.SHUT_WR)
    assert receive(client, 4) == b"bye"
    assert (echo.ends, echo.resets) == (1, 0)


def test_latency_makes_each_piece_late_and_healing_ends_it(proxy: FaultProxy, client: socket.socket) -> None:
    proxy.down = Toxics(latency=0.2)
    assert exchange(client, b"x") >= 0.2
    proxy.up = Toxics(latency=0.2)
    assert exchange(client, b"x") >= 0.4
    proxy.heal()
    assert exchange(client, b"x") < 0.2


def test_latency_delays_all_alike_and_is_no_bandwidth(proxy: FaultProxy, client: socket.socket) -> None:
    proxy.up = Toxics(latency=0.2)
    began = time.monotonic()
    for _ in range(20):
        client.sendall(b"x")
        client.sendall(b"y")
    assert receive(client, 40) == b"xy" * 20
    assert time.monotonic() - began < 1.0


def test_jitter_varies_the_latency_and_keeps_the_order(proxy: FaultProxy, client: socket.socket) -> None:
    proxy.down = Toxics(latency=0.06, jitter=0.05)
    taken = [exchange(client, b"%d" % n) for n in range(10)]
    assert min(taken) >= 0.01
    assert max(taken) - min(taken) > 0.01


def test_bandwidth_is_kept(proxy: FaultProxy, client: socket.socket) -> None:
    proxy.down = Toxics(bandwidth=100_000)
    assert 0.4 <= exchange(client, b"x" * 50_000) < 2.0


def test_slices_are_small_and_paused_between(proxy: FaultProxy, client: socket.socket) -> None:
    proxy.down = Toxics(slice=2, pause=0.05)
    client.sendall(b"abcdefgh")
    pieces = [client.recv(100) for _ in range(4)]
    assert pieces == [b"ab", b"cd", b"ef", b"gh"]


def test_a_black_hole_swallows_and_what_it_swallowed_is_reset_when_it_is_healed(
    proxy: FaultProxy, client: socket.socket, echo: Echo
) -> None:
    proxy.down = Toxics(black_hole=True)
    client.sendall(b"lost answer")
    wait_until(lambda: echo.got == b"lost answer", "the request to arrive", every=0.01)
    assert silent(client)
    proxy.heal()
    with pytest.raises(ConnectionResetError):
        client.recv(1)


def test_what_is_forgotten_is_silent_for_good_and_new_connections_are_sound(
    proxy: FaultProxy, client: socket.socket, echo: Echo
) -> None:
    exchange(client, b"before")
    proxy.forget()
    client.sendall(b"lost")
    assert silent(client)
    proxy.heal()
    assert silent(client)
    assert echo.got == b"before"
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=PATIENCE) as another:
        exchange(another, b"sound")
        client.close()
        wait_until(lambda: proxy.connections == 1, "what was given up to be gone", every=0.01)


def test_a_stall_holds_everything_back_and_loses_nothing(
    proxy: FaultProxy, client: socket.socket, echo: Echo
) -> None:
    assert exchange(client, b"before") < PATIENCE
    proxy.partition()
    client.sendall(b"held back")
    assert silent(client)
    assert echo.got == b"before"
    proxy.heal()
    assert receive(client, 9) == b"held back"


def test_reset_is_seen_by_both_sides(proxy: FaultProxy, client: socket.socket, echo: Echo) -> None:
    exchange(client, b"x")
    proxy.reset()
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    wait_until(lambda: echo.resets == 1, "the server to see it", every=0.01)
    wait_until(lambda: proxy.connections == 0, "the proxy to forget it", every=0.01)


def test_reset_after_so_many_bytes_cuts_an_answer_in_the_middle(
    proxy: FaultProxy, client: socket.socket
) -> None:
    proxy.down = Toxics(reset_after=5)
    client.sendall(b"0123456789")
    with pytest.raises(ConnectionResetError):
        receive(client, 10)
    assert proxy.passed["up"] == 10


def test_half_close_ends_the_stream_for_the_receiver_only(
    proxy: FaultProxy, client: socket.socket, echo: Echo
) -> None:
    proxy.down = Toxics(half_close=True)
    client.sendall(b"one")
    assert receive(client, 100) == b"one"
    client.sendall(b"two")
    wait_until(lambda: echo.got == b"onetwo", "the server still to hear", every=0.01)
    assert (echo.ends, echo.resets) == (0, 0)


def test_refusing_resets_new_connections_only(proxy: FaultProxy, client: socket.socket) -> None:
    exchange(client, b"x")
    proxy.refusing = True
    with (
        pytest.raises(ConnectionResetError),
        socket.create_connection(("127.0.0.1", proxy.port), timeout=PATIENCE) as other,
    ):
        other.recv(1)
    exchange(client, b"y")
    proxy.heal()
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=PATIENCE) as other:
        exchange(other, b"z")


def test_a_dead_upstream_is_a_reset(proxy: FaultProxy, echo: Echo) -> None:
    echo.close()
    with (
        pytest.raises(ConnectionResetError),
        socket.create_connection(("127.0.0.1", proxy.port), timeout=PATIENCE) as client,
    ):
        client.recv(1)
