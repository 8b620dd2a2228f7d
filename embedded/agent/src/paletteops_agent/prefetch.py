# SPDX-License-Identifier: GPL-3.0-or-later
"""Content on its way to the engine: fetched, verified and unpacked, then taken over.

A host that is in no cluster yet waits for it. A member goes on with its work: what it is to run next is fetched beside
that, in a thread of its own, and only the taking over, which is short, is left to the reconciler. One fetch goes on at
a time, and none of what it wrote counts before it is whole: unpacked content that nobody took over is found again
after a kill, and what was half done is removed at the start (``content.clean``).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from . import content
from .engine import Engine, EngineError
from .journal import Journal
from .site import Host, Site

log = logging.getLogger("palette-agent")

#: pack and version
Key = tuple[str, str]


class _Abandoned(Exception):
    """What is fetched is not wanted any more, or the agent is ending."""


class _Fetch:
    """A fetch in a thread of its own. Once ``done``, nothing is written any more, and one of the others says why."""

    def __init__(self, key: Key) -> None:
        self.key = key
        self.step = f"fetching {' '.join(key)}"
        self.abandoned = threading.Event()
        self.done = threading.Event()
        self.was_here = False
        self.ready: content.Unpacked | None = None
        self.error: Exception | None = None


class Payloads:
    """Brings content to one engine. All but the fetching is called by the reconciler's thread alone.

    ``failure``: why what is fetched ahead could not be had when it was tried last; None once it is there.
    """

    def __init__(
        self,
        engine: Engine,
        journal: Journal,
        site: Site,
        host: Host,
        wake: threading.Event,
        stopping: threading.Event,
    ) -> None:
        self._engine = engine
        self._journal = journal
        self._site = site
        self._host = host
        self._wake = wake
        self._stopping = stopping
        self._wanted: Key | None = None
        self._fetch: _Fetch | None = None
        self.failure: Exception | None = None

    def here(self, pack: str, version: str) -> bool:
        return not self._engine.needs_payload() or self._engine.holds(pack, version)

    def fetch(self, pack: str, version: str, report: Callable[[str], None]) -> content.Unpacked:
        """Find, verify and unpack a bundle; SiteError, ContentError."""
        host = self._host
        ready = content.unpacked(host.content, pack, version, host.architecture)
        if ready is not None:
            return ready
        file = self._site.bundle(pack, version, report)
        expected = pack, version
        try:
            ready = content.unpack(file, host.content, host.trust, host.architecture, self._in_use, expected, report)
        except content.ContentError as error:
            self._site.used(file, good=error.reason == "DiskFull")
            raise
        self._site.used(file, good=True)
        return ready

    def _in_use(self, pack: str, version: str) -> content.InUse:
        state = self._journal.state
        return content.InUse(state.version if state.member else "", state.serials.get(f"{pack} {version}", 0))

    def take_over(self, ready: content.Unpacked, report: Callable[[str], None]) -> None:
        """Give unpacked content to the engine, and remove it; EngineError. To be called within an action."""
        bundle = ready.bundle
        report(f"taking over {bundle.name} {bundle.version}")
        try:
            self._engine.payload(ready.folder, bundle, report)
        except EngineError as error:
            if error.reason.startswith("Bundle"):
                content.remove(ready)  # so that a bundle that was mended is fetched, and not this one used again
            raise
        if not self._engine.holds(bundle.name, bundle.version):
            raise EngineError("ContentMissing", f"{bundle.name} {bundle.version} is not whole after it was taken over")
        content.remove(ready)

    # --- ahead, in a thread of its own ---

    def only(self, wanted: Key | None) -> None:
        """Give up what is fetched ahead unless it is this: its thread ends as soon as it can, and its content goes."""
        if wanted != self._wanted:
            self._wanted, self.failure = wanted, None
        fetch = self._fetch
        if fetch is None or (fetch.key == wanted and not fetch.abandoned.is_set()):
            return
        fetch.abandoned.set()
        if fetch.done.is_set():
            if fetch.ready is not None and not fetch.was_here:
                content.remove(fetch.ready)
            self._fetch = None

    def ahead(self, pack: str, version: str) -> content.Unpacked | None:
        """What ``only`` was told last, once it is unpacked; None until then, and ``wake`` is set when there is news.

        Raises once what the fetch ended with; the next call begins anew. ``settle`` tells what came of the content.
        """
        fetch = self._fetch
        if fetch is None:
            fetch = self._fetch = _Fetch((pack, version))
            threading.Thread(target=self._run, args=(fetch,), name="prefetch", daemon=True).start()
        if not fetch.done.is_set() or fetch.abandoned.is_set():
            return None
        if fetch.error is not None:
            self.settle(fetch.error)
            raise fetch.error
        return fetch.ready

    def settle(self, failure: Exception | None = None) -> None:
        """What was fetched ahead is taken over, or could not be."""
        self._fetch, self.failure = None, failure

    @property
    def busy(self) -> bool:
        """Whether a thread still writes where content lies, be it wanted or not."""
        return self._fetch is not None and not self._fetch.done.is_set()

    @property
    def step(self) -> str:
        """What the thread is about, for people."""
        return self._fetch.step if self._fetch is not None else ""

    def _run(self, fetch: _Fetch) -> None:
        def report(step: str) -> None:
            if fetch.abandoned.is_set() or self._stopping.is_set():
                raise _Abandoned
            log.info("%s", step)
            fetch.step = step

        pack, version = fetch.key
        fetch.was_here = content.unpacked(self._host.content, pack, version, self._host.architecture) is not None
        try:
            fetch.ready = self.fetch(pack, version, report)
        except _Abandoned:
            log.info("%s %s is not fetched any further", pack, version)
        except Exception as error:
            fetch.error = error
        fetch.done.set()
        self._wake.set()
