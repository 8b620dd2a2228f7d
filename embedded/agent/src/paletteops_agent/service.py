# SPDX-License-Identifier: GPL-3.0-or-later
"""One host's agent, put together: who it is, its plane, its journal, its engine, and the three things that it does side
by side (wait for the desired state, work, report).
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import ipaddress
import json
import logging
import os
import subprocess
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from . import __version__, config, desired, files, hostinfo, identity
from .central import Central
from .engine import Engine, Surroundings, make_engine
from .hostsettings import HostSettings
from .journal import Journal
from .paths import Paths
from .plane_client import Plane, make_plane
from .reconcile import IDLE_PAUSE, Reconciler
from .site import Host
from .userdata import UserData, require_central

log = logging.getLogger("palette-agent")

#: the thread of an agent needs little, and a fleet has thousands
STACK = 256 << 10


class AlreadyRunning(Exception):
    """Another agent works on the same root."""


class Agent:
    """The agent of one host. ``durable`` off spares the disk where nothing need outlive a loss of power."""

    def __init__(
        self,
        paths: Paths,
        data: UserData,
        configuration: config.Configuration,
        *,
        durable: bool = True,
        plane: Plane | None = None,
        checkpoint: Callable[[str], None] | None = None,
        engine: Engine | None = None,
    ) -> None:
        require_central(data)
        files.make_folder(paths.state, 0o700)
        self.paths = paths
        self.data = data
        self.configuration = configuration
        self.stopping = threading.Event()
        self._durable = durable
        self.identity = identity.load(paths, data, durable)
        self.plane = plane or make_plane(data)
        simulated = configuration.engine == "simulated"
        speed = float(configuration.options.get("speed", 1.0)) if simulated else 1.0
        address = str(configuration.options.get("address") or simulated_address(self.identity.uid)) if simulated else ""
        self.engine = engine or make_engine(
            configuration.engine, Surroundings(paths.root, configuration.options, self.identity.uid)
        )
        self.journal = Journal(paths.journal, durable, checkpoint)
        self.central = Central(
            self.plane,
            paths,
            data,
            self.identity,
            durable=durable,
            speed=speed,
            collect_logs=self.collect_logs,
            in_cluster=lambda: self.journal.state.member,
            address=address,
        )
        host = Host(
            hostinfo.architecture(),
            configuration.trust,
            paths.content,
            hostinfo.boot_id(),
            HostSettings(paths),
        )
        self.reconciler = Reconciler(self.engine, self.journal, self.central, host, speed)
        self._restore()

    def _restore(self) -> None:
        """Go on with the last wanted state at once: the plane may be away for long."""
        if not self.central.registered.is_set():
            return
        try:
            content = files.read_json(self.paths.desired)
            if content is not None:
                self.reconciler.want(desired.read(content, self._vip_skip))
        except (ValueError, desired.DesiredError) as error:
            log.warning("the kept desired state is left aside: %s", error)

    @property
    def _vip_skip(self) -> bool:
        return bool(self.data.get("vip.skip", False))

    def take(self, content: Any) -> None:
        """A new desired state, as it came."""
        try:
            wanted = desired.read(content, self._vip_skip)
        except desired.DesiredError as error:
            log.error("the desired state cannot be read: %s", error)
            self.reconciler.refuse("DesiredStateUnreadable", str(error))
            return
        files.write_json(self.paths.desired, content, files.SECRET, self._durable)
        self.reconciler.want(wanted)
        self.central.look_up(wanted.cluster.uid if wanted.cluster else None)

    # --- the three things; each returns seconds until it is to be called again ---

    def poll(self) -> float:
        return self.central.poll(self.take)

    def work(self) -> float:
        return self.reconciler.work() if self.reconciler.wanted else IDLE_PAUSE

    def report(self) -> float:
        return self.central.report(self.reconciler.observed, self.reconciler.health)

    # --- running ---

    def run(self, stop: threading.Event) -> None:
        """Until ``stop`` is set. What is under way then is in the journal, and is gone on with at the next start."""
        threading.stack_size(STACK * 4)
        threads = [
            threading.Thread(target=target, args=arguments, name=name, daemon=True)
            for name, target, arguments in (
                ("poll", self._loop, (self.poll, self.stopping)),
                ("work", self._loop, (self.work, self.reconciler.wake)),
                ("report", self._loop, (self.report, self.central.report_wake)),
                ("engine", self.engine.serve, (self.stopping,)),
            )
        ]
        for thread in threads:
            thread.start()
        log.info("palette-agent %s, host %s, engine %s", __version__, self.identity.uid, self.engine.name)
        while not stop.wait(1.0):
            dead = [thread.name for thread in threads[:3] if not thread.is_alive()]
            if dead:
                self.stop()
                raise RuntimeError(f"the agent's part {dead[0]} ended; see above")
        self.stop()
        deadline = time.monotonic() + 5.0
        for thread in threads:
            thread.join(max(0.1, deadline - time.monotonic()))

    def stop(self) -> None:
        self.stopping.set()
        self.reconciler.stop()
        self.central.stop()

    def _loop(self, step: Callable[[], float], wake: threading.Event) -> None:
        while not self.stopping.is_set():
            if wake is not self.stopping:
                wake.clear()
            try:
                pause = step()
            except Exception:
                log.exception("unexpected")
                pause = 10.0
            if pause > 0:
                wake.wait(pause)

    # --- logs ---

    def collect_logs(self, target: Path) -> None:
        """What helps to see what happened here, without secrets: journal of the units, state, versions."""
        facts = {
            "agent": __version__,
            "uid": self.identity.uid,
            "engine": self.engine.name,
            "observed": self.reconciler.observed(),
            "device": hostinfo.device(),
            "warnings": list(self.data.warnings),
        }
        parts = {"facts.json": json.dumps(facts, indent=1, default=str).encode()}
        with suppress(OSError):
            parts["journal.json"] = self.paths.journal.read_bytes()
        if self.paths.is_system:
            for name, command in (
                ("units.log", ["journalctl", "--no-pager", "-n", "20000", "-u", "spectro*", "-u", "kubelet*"]),
                ("dmesg.log", ["dmesg"]),
                ("units.txt", ["systemctl", "--no-pager", "status", "spectro*"]),
                ("addresses.txt", ["ip", "address"]),
                ("routes.txt", ["ip", "route"]),
            ):
                with suppress(OSError, subprocess.SubprocessError):
                    done = subprocess.run(
                        command, capture_output=True, stdin=subprocess.DEVNULL, timeout=60, check=False
                    )
                    parts[name] = (done.stdout + done.stderr)[-(32 << 20) :]
        with tarfile.open(target, "w:gz") as archive:
            for name, content in parts.items():
                entry = tarfile.TarInfo(name)
                entry.size, entry.mode, entry.mtime = len(content), 0o600, int(time.time())
                archive.addfile(entry, io.BytesIO(content))


def simulated_address(uid: str) -> str:
    """An address of its own for a host that shares its machine with others; of the shared range 100.64.0.0/10."""
    number = int.from_bytes(hashlib.sha256(uid.encode()).digest()[:4], "big") % (1 << 22)
    return str(ipaddress.IPv4Address("100.64.0.0") + number)


@contextmanager
def only_one(paths: Paths) -> Iterator[None]:
    """Two agents on one root would work against each other."""
    files.make_folder(paths.state, 0o700)
    number = os.open(paths.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise AlreadyRunning(f"another agent runs on {paths.root}") from None
        yield
    finally:
        os.close(number)
