"""Assembles the steps into a running replica, and takes it down again. The only place that does.

up:    log -> topics -> services (worker, front) -> results -> admin plane -> data plane
down:  readiness off -> data plane closed -> held callers get their 202, long polls the state of the moment ->
       what is in flight finishes -> commit -> log closed -> admin plane last
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from functools import partial
from typing import Any, Literal

import structlog
import uvloop

from bufferproxy import __version__, descriptors, translate
from bufferproxy.accept.handler import Intake
from bufferproxy.accept.routing import Router
from bufferproxy.accept.status import Source, StatusBook
from bufferproxy.admin.app import admin_app
from bufferproxy.admin.auth import Access, Tokens
from bufferproxy.admin.contract import Check
from bufferproxy.admin.health import LOOK, Draining, LogWatch, Readiness, Starting, StorageWatch
from bufferproxy.admin.progress import ProgressWatch
from bufferproxy.admin.server import CONNECTIONS, AdminServer, AdminTls
from bufferproxy.clock import SystemClock, Ticker
from bufferproxy.config.addresses import SqliteLog
from bufferproxy.config.disk import disk_of, never_held
from bufferproxy.config.load import Loaded
from bufferproxy.config.not_yet import not_yet
from bufferproxy.config.show import rows
from bufferproxy.config.units import format_rate
from bufferproxy.dead import DeadLetters
from bufferproxy.drain.read_ahead import ReadAhead
from bufferproxy.errors import LogError, LogUnavailable
from bufferproxy.http1.endpoint import Endpoint, Room
from bufferproxy.http1.forwarding import pseudonym
from bufferproxy.http1.listener import Listener, Tls
from bufferproxy.http1.problems import Problem
from bufferproxy.log.contract import Log, LogTail
from bufferproxy.log.layout import Layouts
from bufferproxy.log.observed import ObservedLog
from bufferproxy.log.open import open_log
from bufferproxy.log.queues import check_queues
from bufferproxy.log.survey import Surveyor
from bufferproxy.observe.events import Events, Finished, Refused, TurnedAway
from bufferproxy.observe.lag import LoopLag
from bufferproxy.observe.logs import LogLines, configure
from bufferproxy.observe.meters import Meters
from bufferproxy.observe.metrics import Metrics
from bufferproxy.observe.rates import SAMPLE_EVERY, RecentRates
from bufferproxy.observe.snapshot import Snapshots
from bufferproxy.rate.talk import Talk
from bufferproxy.results.dead_view import DeadView
from bufferproxy.results.open import open_index
from bufferproxy.results.open_dead import open_dead_index
from bufferproxy.results.view import ResultsView
from bufferproxy.stand import Stand
from bufferproxy.standing import AdminRequests

logger = structlog.get_logger("bufferproxy")

SWITCH = 0.0005
"""Seconds after which a thread that wants the interpreter is given it. The log's threads ask for it often and
for a moment each; with Python's 5 ms each of these moments would begin with a wait while the loop is busy."""

COLLECT = (20_000, 20, 50)
"""When the cycle collector runs. What a request leaves behind is freed by its count of references; Python's
700 would walk through a full window dozens of times a second and find nothing."""

PATIENCE = 10.0
"""Seconds that a log may take to answer at the start, ..."""
LONG_PATIENCE = 90.0
"""... and to do what it is asked, while it answers a ping: a broker takes 10 ms to make a partition."""

Role = Literal["all", "proxy", "worker"]


def serve(loaded: Loaded, role: Role) -> int:
    """Run until SIGTERM or SIGINT; 0 when everything was finished in order. Raises BufferproxyError."""
    configure()
    sys.setswitchinterval(SWITCH)
    gc.freeze()  # what was imported stays: the collector need not look at it again and again
    gc.set_threshold(*COLLECT)
    for line in (*not_yet(loaded), *never_held(loaded.settings, disk_of(loaded.settings))):
        logger.warning(line)
    return uvloop.run(_run(loaded, role))


async def _run(loaded: Loaded, role: Role) -> int:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    # Settings are read at the start only, for now; an operator who asks for more must not end the process.
    loop.add_signal_handler(
        signal.SIGHUP,
        lambda: logger.warning("settings are not reloaded yet: restart to apply a changed file"),
    )
    async with Replica(loaded, role).up() as replica:
        waiting = asyncio.ensure_future(stopping.wait())
        await asyncio.wait((waiting, replica.failed), return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if replica.failed.done():
            replica.failed.result()
    return 0


class Replica:
    """One process of bufferproxy: `proxy` accepts, `worker` drains, `all` does both."""

    def __init__(self, loaded: Loaded, role: Role) -> None:
        self.loaded = loaded
        self.settings = loaded.settings
        self.accepts = role != "worker"
        self.drains = role != "proxy"
        self.clock = SystemClock()
        self.events = Events()
        self.meters = Meters(self.settings.services)
        self.meters.subscribe(self.events)
        LogLines(self.clock).subscribe(self.events)
        self.metrics = Metrics(self.meters, __version__)
        self.rates = RecentRates(self.meters, self.clock)
        self.snapshots = Snapshots(self.meters, self.rates)
        self.starting = Starting()
        self.draining = Draining()
        self.progress = ProgressWatch(self.clock)
        self.stands: list[Stand] = []
        self.ticker = Ticker(self.clock)
        self.log: Log
        self.talk: Talk | None = None
        self._stop_by = self.clock.now() + self.settings.grace
        """By when what is in flight must have ended: set anew when the end begins."""
        self.book: StatusBook | None = None
        self.dead = DeadLetters()
        services = translate.connections(self.settings) if self.drains else 0
        self.shares = descriptors.share(descriptors.raise_limit(), CONNECTIONS, services)
        self.endpoint: Endpoint | None = None
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @contextlib.asynccontextmanager
    async def up(self) -> AsyncIterator[Replica]:
        """Everything started, in order; taken down in the reverse on the way out."""
        async with AsyncExitStack() as stack:
            log = await self._open_log(stack)
            self.metrics.kafka_client = log.library
            watch = LogWatch(log, self.clock)
            checks = (
                self.starting.check,
                watch.check,
                StorageWatch(log).check,
                self.draining.check,
                self.progress.check,
                self._room,
            )
            readiness = Readiness(checks, self.events.emit)
            for background in (watch, LoopLag(self.clock, self.events.emit), self.ticker):
                self._spawn(background.run(), stack)
            self.ticker.every(SAMPLE_EVERY, self.rates.sample)
            admin = await self._start_admin(stack, readiness)
            dead = await self._start_dead(stack, log)
            await self._start_services(stack, log, dead)
            view = await self._start_results(stack, log) if self.accepts else None
            data = await self._start_data_plane(stack, log, view, dead) if view is not None else None
            self.starting.over()
            readiness.look()
            self.ticker.every(LOOK, readiness.look)
            stack.callback(self._begin_the_end)
            self._say_what_is_short()
            logger.info(
                "ready",
                version=__version__,
                data=None if data is None else f"{data.host}:{data.port}",
                admin=f"{self.settings.admin.listen.host}:{admin.port}",
                log=str(self.settings.log),
                durable=log.durability,
                client=None if log.library is None else " ".join(log.library),
                services={
                    name: format_rate(service.rate) for name, service in self.settings.services.items()
                },
            )
            yield self

    async def _open_log(self, stack: AsyncExitStack) -> Log:
        settings = self.settings
        named = self.loaded.origin("worker.id").kind != "default"
        instance = settings.worker.id if self.drains else None
        opened = await open_log(settings, self.clock, instance, shared=not named)
        self.log = log = ObservedLog(opened, self.clock, self.events.emit)
        stack.push_async_callback(log.close)
        await log.ensure(translate.topics(settings), create=settings.kafka.create_topics)
        return log

    async def _start_dead(self, stack: AsyncExitStack, log: Log) -> DeadView:
        settings = self.settings
        index = await open_dead_index(settings, self.clock)
        stack.push_async_callback(index.close)
        services = {
            name: (translate.names(settings, name), service.dead.keep)
            for name, service in settings.services.items()
        }
        view = DeadView(log, index, services, self.clock)
        self._spawn(view.run(await self._tail_of(view, stack)), stack)
        return view

    async def _tail_of(self, view: ResultsView | DeadView, stack: AsyncExitStack) -> LogTail:
        tails: list[LogTail] = []

        async def start() -> None:
            tails.append(await view.start())

        await self._insist(start)
        stack.push_async_callback(tails[0].close)
        return tails[0]

    async def _start_services(self, stack: AsyncExitStack, log: Log, dead: DeadView) -> None:
        local = isinstance(self.settings.log, SqliteLog)
        talk = None if local or not self.drains else self._talk(log)
        names = [translate.names(self.settings, name) for name in self.settings.services]
        await self._insist(partial(check_queues, names, log))
        layouts = self._layouts(log)
        await self._insist(layouts.read)
        surveyor = Surveyor(log, self.clock, every=0.5 if local else 1.0)
        ahead = ReadAhead(self.settings.memory)
        for name in self.settings.services:
            stand = Stand(name, self.settings, log, self.clock, self.events, dead, talk, ahead)
            self.stands.append(stand)
            surveyor.surveys.append(stand.survey)
            self.metrics.register(name, stand.gauges)
            self.snapshots.register(name, stand.standing, stand.gauges)
        await self._insist(surveyor.look)
        for stand in self.stands:
            layout = translate.layout(self.settings.services[stand.name])
            layouts.judge(stand.name, stand.survey.names, *layout, stand.survey.measured().open)
        await self._insist(layouts.store)
        self._count_ends()
        self._spawn(surveyor.run(), stack)
        for stand in self.stands:
            name = stand.name
            self.ticker.every(Ticker.TICK, stand.look)
            if self.drains:
                stack.push_async_callback(stand.close)
                self._spawn(await stand.start_draining(log), stack)
                self.progress.register(name, stand.seen, self.settings.services[name].timeout)
        if talk is not None:
            self.talk = talk
            tail = await talk.open()
            stack.push_async_callback(tail.close)
            self._spawn(talk.run(tail), stack)
        stack.push_async_callback(self._stop_draining)
        self.dead.open(dead, log, {stand.name: stand.redriver for stand in self.stands})
        stack.push_async_callback(self.dead.close)

    def _count_ends(self) -> None:
        """From here on what comes and goes is counted: what was there before is known."""
        stands = {stand.name: stand for stand in self.stands}
        for stand in self.stands:
            stand.begin_counting()
        self.events.subscribe(Finished, lambda event: stands[event.service].finished())

    async def _start_results(self, stack: AsyncExitStack, log: Log) -> ResultsView:
        settings = self.settings
        index = await open_index(settings, self.clock)
        stack.push_async_callback(index.close)
        services = [
            (translate.names(settings, name), service.results.keep)
            for name, service in settings.services.items()
        ]
        view = ResultsView(log, index, services, self.clock)
        self._spawn(view.run(await self._tail_of(view, stack)), stack)
        return view

    async def _start_data_plane(
        self, stack: AsyncExitStack, log: Log, view: ResultsView, dead: DeadView
    ) -> Listener:
        settings = self.settings
        routes = [(translate.match(settings.services[stand.name]), stand.front) for stand in self.stands]
        via = pseudonym(self.clock.nonce()[:8])
        intake = Intake(Router(routes), log, view.watchers, via, self.clock, self.events.emit)
        sources = {
            stand.front.number: Source(stand.front, settings.services[stand.name].results.keep, stand.survey)
            for stand in self.stands
        }
        book = self.book = StatusBook(sources, view, dead, log, self.clock, self._flying)
        intake.own = book
        intake.prefix = book.prefix = settings.path_prefix
        intake.max_wait = book.max_wait = settings.max_wait
        intake.proxies = translate.proxies(settings)

        def refused(problem: Problem) -> None:
            self.events.emit(Refused(None, problem.slug))

        room = self._room_for("data", self.shares.data)
        endpoint = Endpoint(intake, translate.receive(settings), self.clock, refused, room)
        self.endpoint = endpoint
        tls = settings.tls
        files = None if tls.cert_file is None else Tls(tls.cert_file, tls.key_file or "", tls.client_ca_file)
        listener = Listener(settings.listen.host, settings.listen.port, endpoint, files)
        await listener.start()

        async def close() -> None:
            intake.refusing = Problem("draining", "This proxy is stopping.", retry_after=1.0)
            listener.stop_accepting()
            intake.release_all()
            book.release_all()
            await listener.close(settings.grace / 2)  # the rest is for what is in flight

        stack.push_async_callback(close)
        return listener

    async def _start_admin(self, stack: AsyncExitStack, readiness: Readiness) -> AdminServer:
        admin = self.settings.admin
        tokens = Tokens.read(admin.token_file, admin.viewer_token_file)
        app = admin_app(
            snapshot=self.snapshots,
            health=readiness,
            requests=AdminRequests(lambda: self.book, self.settings.path_prefix),
            dead=self.dead,
            wall=self.clock.wall,
            settings=lambda: rows(self.loaded),
            render=self.metrics.scrape,
            access=Access.for_host(admin.listen.host, tokens),
        )
        tls = admin.tls
        files = None if tls.cert_file is None else AdminTls(tls.cert_file, tls.key_file, tls.client_ca_file)
        server = AdminServer(
            app,
            admin.listen.host,
            admin.listen.port,
            files,
            limits=translate.receive(self.settings),
            clock=self.clock,
            room=self._room_for("admin", self.shares.admin)._replace(evicts=True),
        )
        await server.start()
        stack.push_async_callback(server.stop)
        return server

    def _room_for(self, plane: str, most: int) -> Room:
        return Room(most, lambda: self.events.emit(TurnedAway(plane, most)))

    def _room(self) -> Check:
        """No reason not to be ready: who is connected is served, and who is turned away comes again."""
        endpoint = self.endpoint
        if endpoint is None or not endpoint.full:
            return Check("connections", ok=True)
        return Check(
            "connections", ok=True, detail=f"all {self.shares.data} are taken: callers are turned away"
        )

    async def _insist(self, work: Callable[[], Awaitable[None]]) -> None:
        """A new Kafka makes its own topics when it is first asked: give it time before giving up."""
        began = self.clock.now()
        told = False
        while True:
            try:
                return await work()
            except LogUnavailable as error:
                waited = self.clock.now() - began
                if waited > LONG_PATIENCE or (waited > PATIENCE and not await self._answers()):
                    raise
                if waited > PATIENCE and not told:
                    told = True
                    logger.warning("the start waits for the log, which is slow", why=str(error))
                await self.clock.sleep(0.2)

    async def _answers(self) -> bool:
        """The log is there."""
        try:
            await self.log.ping()
        except LogError:
            return False
        return True

    def _say_what_is_short(self) -> None:
        if self.shares.short:
            logger.warning(
                "too few file descriptors for the concurrency of all services: raise the limit (ulimit -n)",
                missing=self.shares.short,
                callers=self.shares.data,
            )

    def _begin_the_end(self) -> None:
        self.draining.begin()
        self._stop_by = self.clock.now() + self.settings.grace

    async def _stop_draining(self) -> None:
        """All services at once: `grace` is for the whole replica. None is cut short because another fails."""
        left = max(0.0, self._stop_by - self.clock.now())
        stopping = [asyncio.ensure_future(stand.stop_draining(left)) for stand in self.stands]
        await asyncio.sleep(0)  # from here on nothing is sent
        if self.talk is not None:
            stopping.append(asyncio.ensure_future(self.talk.stop()))
        for failure in await asyncio.gather(*stopping, return_exceptions=True):
            if failure is not None:
                raise failure
        if self.talk is not None:
            await self.talk.stop()

    def _talk(self, log: Log) -> Talk:
        life = f"{self.settings.worker.id}/{self.clock.nonce().hex()}"
        return Talk(log, translate.control(self.settings).name, life, self.clock)

    def _layouts(self, log: Log) -> Layouts:
        sets = not isinstance(self.settings.log, SqliteLog)
        sets = sets and self.loaded.origin("kafka.partitions").kind != "default"
        return Layouts(
            log,
            translate.state(self.settings).name,
            partitions=self.settings.kafka.partitions if sets else None,
            accepts=self.accepts,
        )

    def _flying(self, id_: str) -> bool:
        return any(stand.worker is not None and stand.worker.flies(id_) for stand in self.stands)

    def _spawn(self, work: Coroutine[Any, Any, None], stack: AsyncExitStack) -> None:
        """Runs until the stack unwinds to here; if it ends by itself, the replica has failed."""
        task = asyncio.get_running_loop().create_task(work)

        def over(task: asyncio.Task[None]) -> None:
            if not task.cancelled() and task.exception() is not None and not self.failed.done():
                self.failed.set_exception(task.exception() or RuntimeError())

        task.add_done_callback(over)

        async def stop() -> None:
            task.cancel()
            await asyncio.wait((task,))

        stack.push_async_callback(stop)
