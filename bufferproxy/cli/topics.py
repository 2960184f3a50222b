"""`bufferproxy topics create|describe`: Kafka topics with the right settings, or what is wrong with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from bufferproxy.cli.options import NeededFile, Output, OutputForm, UnusedAdmin, print_json, say

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from bufferproxy.config.settings import Settings
    from bufferproxy.log.contract import Topic
    from bufferproxy.log.kafka import KafkaLog

topics = typer.Typer(no_args_is_help=True, help="Kafka topics.", rich_markup_mode=None)


@topics.command()
def create(config: NeededFile, admin: UnusedAdmin = None) -> None:
    """Make the topics that are missing; `describe` says what is wrong with those that exist."""

    async def act(log: KafkaLog, wanted: Sequence[Topic]) -> None:
        await log.ensure(wanted, create=True)
        say(f"{len(wanted)} topics are there")

    _with_log(config, act)


@topics.command()
def describe(config: NeededFile, output: OutputForm = Output.TABLE, admin: UnusedAdmin = None) -> None:
    """Print what is wrong with the topics, a line each; exit 1 if anything is."""

    async def act(log: KafkaLog, wanted: Sequence[Topic]) -> None:
        wrong = list(await log.describe(wanted))
        if output is Output.JSON:
            print_json([dict(zip(("topic", "problem"), line.split(": ", 1), strict=True)) for line in wrong])
        else:
            print(*wrong, sep="\n", end="\n" if wrong else "")
        say(f"{len(wanted)} topics, {len(wrong)} problems")
        if wrong:
            raise typer.Exit(1)

    _with_log(config, act)


def _with_log(config: str, act: Callable[[KafkaLog, Sequence[Topic]], Awaitable[None]]) -> None:
    import asyncio
    from functools import partial

    from bufferproxy.config.checks import kafka_only
    from bufferproxy.config.load import load

    settings = load(config, checks=(partial(kafka_only, command="topics"),)).settings
    asyncio.run(_open_and(settings, act))


async def _open_and(settings: Settings, act: Callable[[KafkaLog, Sequence[Topic]], Awaitable[None]]) -> None:
    from bufferproxy import translate
    from bufferproxy.clock import SystemClock
    from bufferproxy.log.kafka import KafkaLog
    from bufferproxy.log.open import open_log

    log = await open_log(settings, SystemClock(), None)
    try:
        assert isinstance(log, KafkaLog)  # noqa: S101  (kafka_only has looked at the settings)
        await act(log, translate.topics(settings))
    finally:
        await log.close()
