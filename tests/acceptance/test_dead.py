"""Dead letters, end to end: by the command line, on both logs."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from bufferproxy.testing.load import Load, Sent
from bufferproxy.testing.processes import wait_until
from bufferproxy.testing.promises import fullest, nothing_lost, over_ceiling, unchanged
from bufferproxy.testing.world import SERVICE

if TYPE_CHECKING:
    from collections.abc import Callable

    from bufferproxy.testing.promises import Arrival
    from bufferproxy.testing.world import World

pytestmark = pytest.mark.acceptance

DEAD = 200
RATE = 80
PACE = 50
CONCURRENCY = 10


def dead(world: World, command: str, *arguments: str, code: int = 0) -> Any:
    """`bufferproxy dead COMMAND`: what it prints as JSON. Blocks."""
    line = ["dead", command, SERVICE, *arguments, "-o", "json", "--admin", world.proxy.admin]
    ran = subprocess.run(
        [sys.executable, "-m", "bufferproxy", *line], capture_output=True, text=True, timeout=120
    )
    assert ran.returncode == code, ran.stderr
    return json.loads(ran.stdout) if ran.stdout else None


async def bury(world: World, count: int, **service: Any) -> dict[str, Sent]:
    """Requests that the service answers with a 500, dead after one attempt: id -> what was sent."""
    settings = {"rate": "unlimited", "concurrency": CONCURRENCY, "retry": {"attempts": 1}, **service}
    await asyncio.to_thread(world.start, **settings)
    world.recorder.mode(status=500)
    async with Load(world.proxy.url) as load:
        told = await load.send(Sent(b"/%d/n/%d" % (n % 2, n), b"%d" % n * 20) for n in range(count))
    sent = {answer.id: answer.sent for answer in told if answer.accepted}
    assert len(sent) == count
    await asyncio.to_thread(world.recorder.await_ids, list(sent))
    await asyncio.to_thread(
        wait_until, lambda: world.sum("dead_letters") == count, f"{count} dead letters", every=0.2
    )
    world.recorder.mode(status=200)
    world.recorder.forget()
    return sent


async def states(world: World, ids: list[str]) -> Counter[str]:
    async with Load(world.proxy.url) as load:
        asked = [Sent(b"/_bufferproxy/requests/" + id_.encode(), method=b"GET") for id_ in ids]
        return Counter(answer.json["state"] for answer in await load.send(asked))


def complaints(sent: dict[str, Sent], arrivals: list[Arrival]) -> list[str]:
    bodies = [(one.target.decode(), one.body) for one in sent.values()]
    return [*nothing_lost(sent, arrivals), *unchanged(bodies, arrivals)]


async def test_dead_letters_are_listed_tried_and_redriven_at_a_pace_within_the_rate(world: World) -> None:
    sent = await bury(world, DEAD, rate=f"{RATE}/s")

    rows = await asyncio.to_thread(dead, world, "list", "--limit", "1000")
    assert {row["id"] for row in rows} == set(sent)
    assert all(set(row) == set(rows[0]) for row in rows)
    assert rows[0] == {
        "service": SERVICE,
        "reason": "attempts",
        "attempts": 1,
        "status": 500,
        **{name: rows[0][name] for name in ("id", "accepted_at", "died_at")},
    }
    odd = {id_ for id_, one in sent.items() if one.target.startswith(b"/1/")}
    found = await asyncio.to_thread(dead, world, "list", "--where", "path=/1", "--limit", "1000")
    assert {row["id"] for row in found} == odd
    assert await asyncio.to_thread(dead, world, "list", "--where", "status=404") == []

    would = await asyncio.to_thread(dead, world, "redrive", "--all", "--where", "path=/1", "--dry-run")
    assert (would["count"], set(would["ids"])) == (DEAD // 2, odd)
    assert len(await asyncio.to_thread(dead, world, "list", "--limit", "1000")) == DEAD
    assert world.recorder.count() == 0

    work = await asyncio.to_thread(dead, world, "redrive", "--all", "--rate", f"{PACE}/s", "--yes")
    assert (work["state"], work["count"], work["done"], work["skipped"]) == ("done", DEAD, DEAD, 0)
    arrivals = await asyncio.to_thread(world.recorder.await_ids, list(sent))
    times = sorted(arrival.at for arrival in arrivals)
    assert complaints(sent, arrivals) == []
    assert Counter((arrival.id, arrival.attempt) for arrival in arrivals) == Counter((id_, 2) for id_ in sent)
    for window in (0.1, 1.0):
        assert over_ceiling(times, rate=RATE, burst=1, window=window) == []
    print(f"\n{DEAD} in {times[-1] - times[0]:.2f} s, at most {fullest(times, 1.0)} in one", end="")
    assert times[-1] - times[0] >= (DEAD - 1) / PACE - 0.5

    await asyncio.to_thread(world.await_settled)
    assert await asyncio.to_thread(dead, world, "list") == []
    assert await states(world, list(sent)) == {"delivered": DEAD}
    assert world.sum("dead_letters_redriven_total") == DEAD
    assert world.sum("requests_accepted_total") == world.sum("requests_finished_total") == 2 * DEAD
    await asyncio.to_thread(wait_until, lambda: world.sum("dead_letters") == 0, "no dead letters")


@pytest.mark.timeout(240)
async def test_a_redrive_that_kill_9_cuts_off_is_repeated_and_nothing_is_sent_twice(
    world: World, times: Callable[[int, int], int]
) -> None:
    sent, kills = await bury(world, DEAD), times(3, 12)
    on_their_own = world.place.kafka  # who delivers is not killed along with who redrives
    for _ in range(kills):
        before = world.recorder.count()
        running = asyncio.create_task(asyncio.to_thread(_redrive_and_lose, world))
        await asyncio.to_thread(world.recorder.await_count, before + DEAD // (3 * kills))
        world.proxy.kill()
        await running
        await asyncio.to_thread(world.proxy.start)
    work = await asyncio.to_thread(dead, world, "redrive", "--all", "--yes")
    assert work["state"] == "done"
    assert 0 < work["count"] < DEAD
    await asyncio.to_thread(world.recorder.await_ids, list(sent))
    await asyncio.to_thread(world.await_settled)
    arrivals = world.recorder.arrivals()
    repeated = len(arrivals) - DEAD
    print(f"\n{repeated} of {DEAD} arrived again after {kills} kills", end="")
    assert complaints(sent, arrivals) == []
    assert repeated <= (0 if on_their_own else kills * CONCURRENCY)
    assert await asyncio.to_thread(dead, world, "list") == []
    assert await states(world, list(sent)) == {"delivered": DEAD}


def _redrive_and_lose(world: World) -> None:
    line = ["dead", "redrive", SERVICE, "--all", "--rate", "20/s", "--yes", "--admin", world.proxy.admin]
    ran = subprocess.run([sys.executable, "-m", "bufferproxy", *line], capture_output=True, timeout=120)
    assert ran.returncode == 4, ran.stderr


async def test_what_dies_again_is_back_with_its_id_and_can_be_redriven_again(world: World) -> None:
    sent = await bury(world, 5)
    world.recorder.mode(status=500)
    for generation in (1, 2):
        work = await asyncio.to_thread(dead, world, "redrive", *sent)
        assert (work["state"], work["done"]) == ("done", 5)
        await asyncio.to_thread(world.recorder.await_count, 5 * generation)
        await asyncio.to_thread(world.await_settled)
        rows = await asyncio.to_thread(dead, world, "list")
        assert {row["id"] for row in rows} == set(sent)
        letter = await asyncio.to_thread(dead, world, "show", rows[0]["id"])
        assert (letter["generation"], letter["attempts"]) == (generation, 1)
        assert letter["request"]["body"]["text"].encode() == sent[letter["id"]].body
        assert letter["response"]["line"].startswith("HTTP/1.1 500")
        assert await states(world, list(sent)) == {"dead": 5}
    assert {arrival.attempt for arrival in world.recorder.arrivals()} == {2, 3}


async def test_a_rejected_request_is_a_dead_letter_and_opened_again_by_a_redrive(world: World) -> None:
    await asyncio.to_thread(world.start)
    world.recorder.mode(status=404)
    async with Load(world.proxy.url) as load:
        told = await load.one(Sent(b"/x"))
        held = await load.one(Sent(b"/y", headers=((b"Prefer", b"wait=20"),)))
        assert held.status == 404
    await asyncio.to_thread(wait_until, lambda: world.sum("dead_letters") == 1, "the copy")
    assert await states(world, [told.id]) == {"rejected": 1}
    world.recorder.mode(status=200, delay=3.0)
    await asyncio.to_thread(dead, world, "redrive", "--where", "reason=rejected", "--yes")
    assert set(await states(world, [told.id])) <= {"queued", "delivering"}
    await asyncio.to_thread(world.await_settled)
    assert await states(world, [told.id]) == {"delivered": 1}


async def test_what_is_purged_is_gone_and_its_end_stays(world: World) -> None:
    sent = await bury(world, 20)
    one, *rest = sent
    work = await asyncio.to_thread(dead, world, "purge", one, "--yes")
    assert (work["state"], work["done"]) == ("done", 1)
    assert {row["id"] for row in await asyncio.to_thread(dead, world, "list")} == set(rest)
    assert await asyncio.to_thread(dead, world, "show", one, code=6) is None
    assert await asyncio.to_thread(dead, world, "redrive", one, code=6) is None
    await asyncio.to_thread(dead, world, "purge", "--all", "--limit", "9", "--yes")
    assert len(await asyncio.to_thread(dead, world, "list")) == 10
    for process in world.processes:
        process.kill()
        await asyncio.to_thread(process.start)
    assert len(await asyncio.to_thread(dead, world, "list")) == 10
    assert await states(world, list(sent)) == {"dead": 20}
    assert world.recorder.count() == 0
