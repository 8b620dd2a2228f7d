# SPDX-License-Identifier: GPL-3.0-or-later
"""Many simulated hosts in one process: ``python -m paletteops_agent.fleet --count 1000 …``.

Each host is a whole agent with its own root. What costs is shared: TLS settings, and the threads that work and report.
A host at rest is one thread that waits for its plane's answer, and an entry in a queue.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from . import masking
from .config import Configuration
from .paths import Paths
from .plane_client import Plane
from .service import STACK, Agent
from .userdata import parse

log = logging.getLogger("palette-agent")

#: registrations a second: below the limit that a plane has for one address
RATE = 8.0
WORKERS = 12


@dataclass(eq=False)
class _Job:
    """Something that is called again and again. ``due``: by the monotonic clock."""

    call: Callable[[], float]
    due: float = 0.0
    running: bool = False
    again: bool = False


class _Scheduler:
    """Calls jobs when they are due, in a few threads; a job never runs beside itself."""

    def __init__(self, workers: int) -> None:
        self._turn = threading.Condition()
        self._queue: list[tuple[float, int, _Job]] = []
        self._numbers = itertools.count()
        self._ended = False
        for _ in range(workers):
            threading.Thread(target=self._work, name="fleet", daemon=True).start()

    def ring(self, job: _Job) -> None:
        """Call a job now, or once more as soon as it has ended."""
        with self._turn:
            if job.running:
                job.again = True
            else:
                self._put(job, time.monotonic())

    def end(self) -> None:
        with self._turn:
            self._ended = True
            self._turn.notify_all()

    def _put(self, job: _Job, due: float) -> None:
        job.due = due
        heapq.heappush(self._queue, (due, next(self._numbers), job))
        self._turn.notify()

    def _take(self) -> _Job | None:
        with self._turn:
            while not self._ended:
                now = time.monotonic()
                while self._queue and (self._queue[0][2].running or self._queue[0][0] != self._queue[0][2].due):
                    heapq.heappop(self._queue)  # it was put in again since
                if self._queue and self._queue[0][0] <= now:
                    job = heapq.heappop(self._queue)[2]
                    job.running = True
                    job.due = -1.0
                    return job
                self._turn.wait(self._queue[0][0] - now if self._queue else None)
        return None

    def _work(self) -> None:
        while (job := self._take()) is not None:
            try:
                pause = job.call()
            except Exception:
                log.exception("unexpected")
                pause = 10.0
            with self._turn:
                job.running = False
                again, job.again = job.again, False
                self._put(job, time.monotonic() + (0.0 if again else pause))


class _Bell(threading.Event):
    """An event whose setting rings a job."""

    def __init__(self, ring: Callable[[], None]) -> None:
        super().__init__()
        self._ring = ring

    def set(self) -> None:
        super().set()
        self._ring()


@dataclass
class Fleet:
    """``count`` hosts named PREFIX-0001 and so on, each with its root below ``folder``."""

    endpoint: str
    token: str
    folder: Path
    count: int = 1
    prefix: str = "edge"
    speed: float = 1.0
    rate: float = RATE
    ca_certificates: Sequence[str] = ()
    options: dict[str, object] = field(default_factory=dict)
    agents: list[Agent] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._starter: threading.Thread | None = None

    def start(self) -> None:
        """Start all hosts, one after the other; returns at once."""
        threading.stack_size(STACK)
        self._scheduler = _Scheduler(WORKERS)
        self._starter = threading.Thread(target=self._start_all, name="fleet starter", daemon=True)
        self._starter.start()

    def _start_all(self) -> None:
        plane = Plane(self.endpoint, self.ca_certificates)
        options = {"speed": self.speed, "directory": str(self.folder / "world"), **self.options}
        configuration = Configuration("simulated", options=options)
        for number in range(1, self.count + 1):
            began = time.monotonic()
            name = f"{self.prefix}-{number:04}"
            data = parse(
                "#cloud-config\n"
                f"stylus: {{site: {{paletteEndpoint: {self.endpoint!r}, edgeHostToken: {self.token!r},"
                f" name: {name}, hostName: {name}}}}}\n"
            )
            agent = Agent(Paths(self.folder / name), data, configuration, durable=False, plane=plane)
            self._begin(agent)
            self.agents.append(agent)
            if self._stop.wait(max(0.0, 1.0 / self.rate - (time.monotonic() - began))):
                return

    def _begin(self, agent: Agent) -> None:
        work, report = _Job(agent.work), _Job(agent.report)
        agent.reconciler.wake = _Bell(lambda: self._scheduler.ring(work))
        agent.central.report_wake = _Bell(lambda: self._scheduler.ring(report))
        for job in (work, report):
            self._scheduler.ring(job)
        threading.Thread(target=self._poll, args=(agent,), name=agent.identity.uid, daemon=True).start()

    def _poll(self, agent: Agent) -> None:
        while not agent.stopping.is_set():
            try:
                pause = agent.poll()
            except Exception:
                log.exception("unexpected")
                pause = 10.0
            if pause > 0:
                agent.stopping.wait(pause)

    @property
    def registered(self) -> int:
        return sum(agent.central.registered.is_set() for agent in self.agents)

    def stop(self) -> None:
        self._stop.set()
        if self._starter is not None:
            self._starter.join(10)
            self._scheduler.end()
        for agent in self.agents:
            agent.stop()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m paletteops_agent.fleet", description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=10, help="hosts; default 10")
    parser.add_argument("--endpoint", required=True, metavar="URL", help="the plane")
    parser.add_argument("--token-file", required=True, type=Path, metavar="FILE", help="holds the registration token")
    parser.add_argument("--folder", required=True, type=Path, metavar="FOLDER", help="for the hosts' roots")
    parser.add_argument("--prefix", default="edge", help="names are PREFIX-0001 and so on; default edge")
    parser.add_argument("--speed", type=float, default=1.0, help="all durations are divided by it; default 1")
    parser.add_argument("--rate", type=float, default=RATE, help=f"registrations a second; default {RATE:.0f}")
    parser.add_argument("--ca-file", type=Path, metavar="FILE", help="certificates of the plane's authority, PEM")
    parser.add_argument("--no-api", action="store_true", help="no Kubernetes API of simulated clusters")
    options = parser.parse_args(arguments)
    logging.basicConfig(handlers=[masking.handler(sys.stderr)], level=logging.WARNING)
    fleet = Fleet(
        endpoint=options.endpoint.rstrip("/"),
        token=options.token_file.read_text("utf-8").strip(),
        folder=options.folder,
        count=options.count,
        prefix=options.prefix,
        speed=options.speed,
        rate=options.rate,
        ca_certificates=[options.ca_file.read_text("utf-8")] if options.ca_file else [],
        options={"api": not options.no_api},
    )
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    fleet.start()
    said = -1
    while not stop.wait(1.0):
        if fleet.registered != said:
            said = fleet.registered
            print(f"{said} of {options.count} hosts are registered", flush=True)
    fleet.stop()
    logging.shutdown()
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
