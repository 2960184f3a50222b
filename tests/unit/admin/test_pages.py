from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from bufferproxy.admin.pages import PAGES

if TYPE_CHECKING:
    import httpx2


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_loads_nothing_from_elsewhere(client: httpx2.AsyncClient, path: str) -> None:
    answer = await client.get(path)
    assert answer.status_code == 200
    text = answer.text.replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https?://|//[a-z]+\.|@import|url\(", text)


@pytest.mark.parametrize("path", ["/", "/docs"])
async def test_a_page_keeps_to_its_own_policy(client: httpx2.AsyncClient, path: str) -> None:
    answer = await client.get(path)
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert not re.search(r"<style|<script(?![^>]*src=)|\son\w+=|\sstyle=", answer.text)


@pytest.mark.parametrize("path", ["/", "/docs"])
async def test_what_a_page_refers_to_is_there(client: httpx2.AsyncClient, path: str) -> None:
    for target in re.findall(r'(?:href|src)="([^"]+)"', (await client.get(path)).text):
        assert (await client.get(target)).status_code == 200, target


async def test_an_unchanged_page_is_not_sent_again(client: httpx2.AsyncClient) -> None:
    first = await client.get("/static/page.css")
    assert first.headers["content-type"].startswith("text/css")
    again = await client.get("/static/page.css", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


async def test_numbers_are_never_kept_by_a_cache(client: httpx2.AsyncClient) -> None:
    assert (await client.get("/api/v1/services")).headers["cache-control"] == "no-store"
