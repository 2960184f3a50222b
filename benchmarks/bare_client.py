"""The bare ceiling of delivering: an aiohttp client loop, 64 at once, that does the same POSTs and no more.

python -m benchmarks.bare_client URL COUNT
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time

import aiohttp
import uvloop

from benchmarks.load import BODY

IN_FLIGHT = 64


async def main(url: str, count: int) -> dict[str, float]:
    left = count
    headers = {"Content-Type": "application/json"}
    connector = aiohttp.TCPConnector(limit=IN_FLIGHT)

    async with aiohttp.ClientSession(connector=connector) as session:

        async def sender() -> None:
            nonlocal left
            while left > 0:
                left -= 1
                async with session.post(url, data=BODY, headers=headers) as answer:
                    await answer.read()

        before = resource.getrusage(resource.RUSAGE_SELF)
        began = time.perf_counter()
        await asyncio.gather(*(sender() for _ in range(IN_FLIGHT)))
        elapsed = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"per_second": round(count / elapsed, 1), "cpu_us": round(cpu / count * 1e6, 1)}


if __name__ == "__main__":
    print(json.dumps(uvloop.run(main(sys.argv[1], int(sys.argv[2])))))
