# SPDX-License-Identifier: GPL-3.0-or-later
"""From a wanted state to the next action, and from what came of it to the observed state.

``Reconciler.work`` is called again and again, by one thread: it compares what is wanted with the journal, carries out
the next action by the engine, and says when it wants to be called again. Tasks of a lead (admit, drain, …) run beside
it in a thread of their own, and so does the fetching of what a member is to run next (``prefetch``), so that routes and
schedules are seen to in the meantime. It does not know who asks: what it needs of them is in ``Site``.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from . import content
from .desired import Task, Wanted
from .engine import Certificate, Cluster, Engine, EngineError, Member, NodeStatus, PackStatus
from .journal import ENTERING, Journal
from .masking import masked
from .prefetch import Key, Payloads
from .site import Host, Site, SiteError

log = logging.getLogger("palette-agent")

#: seconds between two looks at a host that runs, and at one with nothing to do
RUNNING_PAUSE = 30.0
IDLE_PAUSE = 300.0
#: seconds until the next look while something comes by itself (a node that gets ready, packs)
SOON = 1.0
#: also for hosts that are simulated
SHORTEST_PAUSE = 0.05
MATERIAL_PAUSE = 2.0
CERTIFICATES_PAUSE = 600.0
#: packs that are ready are applied again after this time, which mends what was changed in the cluster
PACKS_PAUSE = 600.0
MATERIAL_SECONDS = 900
#: for so long a preflight that found nothing holds
PREFLIGHT_SECONDS = 120.0
TASK_TRIES = 3
TASK_PAUSE = 5.0


class Rest(NamedTuple):
    """What a pass ended with: seconds until the next one, what the host waits for meanwhile, what failed before and is
    tried again beside that, and the generation of the wanted state that the host is in now.
    """

    pause: float
    phase: str = ""
    step: str = ""
    failure: Exception | None = None
    applied: str | None = None


class Stopped(Exception):
    """The agent is ending."""


class Reconciler:
    """Brings one host to what is wanted of it. ``speed`` divides all pauses, for hosts that are simulated."""

    def __init__(self, engine: Engine, journal: Journal, site: Site, host: Host, speed: float = 1.0) -> None:
        self.engine = engine
        self.journal = journal
        self.site = site
        self.host = host
        self.wake = threading.Event()
        self.stopping = threading.Event()
        self._speed = max(speed, 1.0)
        self._lock = threading.Lock()
        # held by what must not run beside anything else of the engine
        self._exclusive = threading.Lock()
        self._payloads = Payloads(engine, journal, site, host, self.wake, self.stopping)
        self._tasks_thread: threading.Thread | None = None
        self._task_tries: dict[str, int] = {}
        self._wanted: Wanted | None = None
        self._failures = 0
        self._retry_at = 0.0
        self._looked_after = False
        self._error: dict[str, str] | None = None
        self._unreadable: dict[str, str] | None = None
        self._phase = ""
        self._step = ""
        self._node: NodeStatus | None = None
        self._etcd: dict[str, Any] | None = None
        self._healthy: tuple[bool, str] = (True, "")
        self._in_order_for: tuple[Cluster, Member] | None = None
        self._in_order_at = 0.0
        self._packs: list[PackStatus] = []
        self._packs_for: tuple[tuple[str, str, str], ...] | None = None
        self._packs_at = 0.0
        self._certificates: list[Certificate] = []
        self._certificates_at: float | None = None
        self._kubeconfig = ""
        self._applied: str | None = None
        content.clean(host.content)

    # --- what is wanted, and what is so ---

    def want(self, wanted: Wanted) -> None:
        """Take over a new wanted state; what failed is tried at once."""
        with self._lock:
            self._wanted = wanted
            self._unreadable = None
            self._failures = 0
            self._retry_at = 0.0
        state, cluster = self.journal.state, wanted.cluster
        if state.member and cluster is not None and cluster.uid == state.cluster_uid and not wanted.reset:
            self._start_tasks(wanted)  # others wait for them, so they do not wait for what goes on here
        self.wake.set()

    @property
    def wanted(self) -> Wanted | None:
        with self._lock:
            return self._wanted

    def refuse(self, reason: str, message: str) -> None:
        """Say that a wanted state cannot be read; the one before stays in force."""
        self._set(unreadable={"reason": reason, "message": message})

    def health(self) -> tuple[bool, str]:
        """Whether the host is well, and what is not."""
        with self._lock:
            if self._error and self.journal.state.member:
                return True, f"{self._error['reason']}: {self._error['message']}"
            return self._healthy

    def observed(self) -> dict[str, Any]:
        """The observed state, in its wire form."""
        state = self.journal.state
        with self._lock:
            node = self._node
            packs = self._wanted.packs if self._wanted else ()
            versions = {(pack.profile_uid, pack.name): pack.version for pack in packs}
            return {
                "generation": self._applied,
                "cluster_uid": state.cluster_uid,
                "phase": self._phase or self._resting_phase(),
                "step": self._step,
                "error": self._unreadable or self._error,
                "node": None
                if node is None
                else {
                    "name": node.name,
                    "ready": node.ready,
                    "cordoned": node.cordoned,
                    "kubernetes_version": node.kubernetes_version.lstrip("v"),
                    "pod_cidr": node.pod_cidr,
                },
                "tasks": state.tasks,
                "packs": [
                    {
                        "profile_uid": pack.profile_uid,
                        "name": pack.name,
                        "version": versions.get((pack.profile_uid, pack.name), ""),
                        "digest": pack.digest,
                        "state": pack.state,
                        "message": pack.message,
                    }
                    for pack in self._packs
                ],
                "certificates": [
                    {"name": one.name, "expires_at": one.expires_at, "authority": one.authority}
                    if one.authority
                    else {"name": one.name, "expires_at": one.expires_at}
                    for one in self._certificates
                ],
                "etcd": self._etcd,
                "content": [{"pack": pack, "version": version} for pack, version in self.engine.contents()],
                # that it brings the content of a next version, which may be waited for
                "fetches_ahead": self.engine.needs_payload(),
                "reset_done": state.reset_done,
                "boot_id": self.host.boot_id,
            }

    def _resting_phase(self) -> str:
        state = self.journal.state
        if self._error and not state.member and state.cluster_uid:
            return "failed"
        if state.member:
            return "running"
        return "prepared" if state.cluster_uid and self._is_prepared() else "preparing" if state.cluster_uid else "idle"

    def _is_prepared(self) -> bool:
        cluster = self._wanted.cluster if self._wanted else None
        return cluster is not None and self.engine.holds(cluster.pack, cluster.version)

    def _set(self, **facts: Any) -> None:
        changed = False
        with self._lock:
            for name, value in facts.items():
                if getattr(self, f"_{name}") != value:
                    setattr(self, f"_{name}", value)
                    changed = True
        if changed:
            self.site.changed()

    def _report(self, step: str) -> None:
        if self.stopping.is_set():
            raise Stopped
        log.info("%s", step)
        self._set(step=step)

    # --- working ---

    def work(self) -> float:
        """Do what is next; seconds until it is to be called again, unless ``wake`` is set before."""
        wanted = self.wanted
        if wanted is None:
            return IDLE_PAUSE
        now = time.monotonic()
        if now < self._retry_at and self.journal.state.member:
            self._look_after_meanwhile(wanted)
            return self._pause(min(RUNNING_PAUSE / self._speed, self._retry_at - now))
        try:
            self._looked_after = False
            rest = self._pass(wanted)
        except Stopped:
            return IDLE_PAUSE
        except Exception as error:
            if not isinstance(error, (EngineError, SiteError, content.ContentError)):
                log.exception("unexpected")
            pause = self._failed(_worded(error), getattr(error, "retry", True))
        else:
            if rest.failure is None:
                self._failures = 0
            # in one step: no report says that a state is reached, and beside it what kept the host from it before
            self._set(
                error=rest.failure and _worded(rest.failure),
                phase=rest.phase,
                step=rest.step,
                applied=rest.applied or self._applied,
            )
            return self._pause(rest.pause / self._speed)
        if self.journal.state.member:
            # what failed is tried again later, and the host serves until then
            self._retry_at = time.monotonic() + pause if self.wanted is wanted else 0.0
            if not self._looked_after:
                self._look_after_meanwhile(wanted)
            pause = min(pause, RUNNING_PAUSE / self._speed)
        return self._pause(pause)

    @staticmethod
    def _pause(seconds: float) -> float:
        return max(SHORTEST_PAUSE, seconds)

    def _failed(self, error: dict[str, str], retry: bool) -> float:
        first = self._error != error
        self._failures += 1
        self._set(error=error, phase="", step="")
        if first:
            log.error("%(reason)s: %(message)s", error)
            self.site.event(**error, error=True)
        return (min(300.0, 5.0 * 2 ** min(self._failures - 1, 10)) if retry else IDLE_PAUSE) / self._speed

    def _look_after_meanwhile(self, wanted: Wanted) -> None:
        """See to a member with the version that it runs, while something else failed or waits."""
        state, cluster, member = self.journal.state, wanted.cluster, wanted.member
        if cluster is None or member is None or not state.member or cluster.uid != state.cluster_uid:
            return
        try:
            self._look_after(wanted, replace(cluster, version=state.version), member)
        except Stopped:
            return
        except (EngineError, SiteError, content.ContentError) as error:
            log.warning("%s", error)
        self._set(phase="", step="")

    @contextlib.contextmanager
    def _action(self, kind: str, phase: str, cluster_uid: str | None) -> Iterator[None]:
        """An action that nothing else may run beside; noted in the journal before it begins."""
        if not self._exclusive.acquire(blocking=False):
            raise _Busy
        try:
            self.journal.begin(kind, cluster_uid)
            self._set(phase=phase, step=kind)
            yield
        finally:
            self._exclusive.release()

    def _pass(self, wanted: Wanted) -> Rest:
        try:
            return self._next(wanted)
        except _Busy:
            self._look_after_meanwhile(wanted)
            return Rest(SOON, step=self._payloads.step, failure=self._payloads.failure)

    def _next(self, wanted: Wanted) -> Rest:
        state = self.journal.state
        if wanted.logs and wanted.logs != state.logs_done:
            self.site.send_logs(wanted.logs)
            self.journal.note(logs_done=wanted.logs)
        self._payloads.only(self._wants_ahead(wanted))
        if wanted.reset:
            if wanted.reset != state.reset_done:
                self._leave(force=True, reset_done=wanted.reset)
            # whatever else is wanted was so before the reset
            return Rest(IDLE_PAUSE, applied=wanted.generation)
        cluster, member = wanted.cluster, wanted.member
        if wanted.step == "leave" or cluster is None or member is None:
            if state.cluster_uid or state.member or state.unfinished:
                self._leave(force=cluster is None)
            self.host.settings(None)
            return Rest(IDLE_PAUSE, applied=wanted.generation)
        if state.cluster_uid not in (None, cluster.uid) or self._must_undo(wanted, cluster):
            self._leave(force=True)
        self.journal.note(cluster_uid=cluster.uid, cluster_name=cluster.name)
        self.journal.keep_tasks({task.id for task in wanted.tasks})
        changes_version = self._changes_version(cluster)
        if not state.member:
            self._prepare(cluster, member)
        elif not self._has_what_comes(wanted):
            rest = self._look_after(wanted, replace(cluster, version=state.version), member)
            return rest._replace(step=self._payloads.step, failure=self._payloads.failure)
        if wanted.step == "prepare" and not state.member:
            return Rest(IDLE_PAUSE, applied=wanted.generation)
        if not state.member and not self._enter(wanted.step, cluster, member):
            return Rest(MATERIAL_PAUSE, "joining", "waiting for join material")
        if changes_version:
            self._upgrade(cluster, member)
        return self._look_after(wanted, cluster, member)

    def _changes_version(self, cluster: Cluster) -> bool:
        """Whether a member is to get another version, or is half on its way to one."""
        state = self.journal.state
        begun = state.unfinished is not None and state.unfinished.kind == "upgrade"
        return state.member and (begun or content.version_key(state.version) != content.version_key(cluster.version))

    def _must_undo(self, wanted: Wanted, cluster: Cluster) -> bool:
        """Whether something was begun that is not what is wanted now."""
        begun = self.journal.state.unfinished
        if begun is None:
            return False
        if begun.kind == "leave":
            return True
        if begun.cluster_uid not in (None, cluster.uid):
            return True
        return begun.kind in ENTERING and wanted.step in ENTERING and begun.kind != wanted.step

    # --- actions ---

    def _leave(self, force: bool, **facts: Any) -> None:
        state = self.journal.state
        with self._action("leave", "leaving", state.cluster_uid):
            try:
                self.engine.leave(force, self._report)
            except EngineError as error:
                if force:
                    raise
                log.warning("leaving by force, since it does not go otherwise: %s", error)
                self.engine.leave(True, self._report)
            self.host.settings(None)
            name = state.cluster_name
            self.journal.end(
                cluster_uid=None,
                cluster_name="",
                member=False,
                control_plane=False,
                node_name="",
                version="",
                tasks={},
                **facts,
            )
        self._kubeconfig = ""
        self._packs_for = self._in_order_for = None
        self._certificates_at = None
        self._set(node=None, etcd=None, packs=[], certificates=[], healthy=(True, ""), phase="", step="")
        if name:
            self.site.event("Left", f"left the cluster {name}")

    def _prepare(self, cluster: Cluster, member: Member) -> None:
        """Bring the content here that a host needs to become a member, before anything is changed for it."""
        begun = self.journal.state.unfinished
        if not begun or begun.kind not in ENTERING:
            self._look_first(cluster, member)
        if self._payloads.here(cluster.pack, cluster.version):
            return
        if self._payloads.busy:
            raise _Busy  # one that is given up has not ended yet
        with self._action("prefetch", "preparing", cluster.uid):
            ready = self._payloads.fetch(cluster.pack, cluster.version, self._report)
            self._take_over(ready)

    def _wants_ahead(self, wanted: Wanted) -> Key | None:
        """The content of the version that a member is to get, be it at once or later."""
        state, cluster = self.journal.state, wanted.cluster
        if cluster is None or not state.member or wanted.reset or wanted.step == "leave":
            return None
        version = cluster.version if self._changes_version(cluster) else cluster.next_version
        return (cluster.pack, version) if version and cluster.uid == state.cluster_uid else None

    def _has_what_comes(self, wanted: Wanted) -> bool:
        """Whether a member holds what it is to run next. It is fetched while the host serves with what it has."""
        ahead, here = self._wants_ahead(wanted), self.journal.state
        if ahead is None:
            return True
        if here.version:
            _refuse_skew(here.version, ahead[1])
        if self._payloads.here(*ahead):
            return True
        ready = self._payloads.ahead(*ahead)
        if ready is None:
            return False
        with self._action("prefetch", "", here.cluster_uid):
            try:
                self._take_over(ready)
            except Exception as error:
                self._payloads.settle(error)
                raise
        self._payloads.settle()
        return True

    def _take_over(self, ready: content.Unpacked) -> None:
        """The end of the action that brings content."""
        self._payloads.take_over(ready, self._report)
        bundle, serials = ready.bundle, self.journal.state.serials
        key = f"{bundle.name} {bundle.version}"
        self.journal.end(serials={**serials, key: max(bundle.serial, serials.get(key, 0))})
        self._set(phase="", step="")
        self.site.event("ContentReady", f"{key} is here and verified")

    def _look_first(self, cluster: Cluster, member: Member) -> None:
        """The engine's preflight, unless the same was in order a moment ago."""
        asked = replace(cluster, peers=()), replace(member, lead=False)
        if asked == self._in_order_for and time.monotonic() - self._in_order_at < PREFLIGHT_SECONDS:
            return
        findings = self.engine.preflight(cluster, member)
        if findings:
            text = "; ".join(f"{finding.check}: {finding.message}" for finding in findings)
            raise EngineError("PreflightFailed", text)
        self._in_order_for, self._in_order_at = asked, time.monotonic()

    def _enter(self, step: str, cluster: Cluster, member: Member) -> bool:
        """Become a member; False while there is nothing to join by."""
        if step == "run":
            raise EngineError("NotAMember", f"this host is in no cluster, and is to run in {cluster.name}")
        material = None
        if step == "join":
            material = self.site.material()
            if material is None:
                return False
        with self._action(step, "bootstrapping" if step == "bootstrap" else "joining", cluster.uid):
            self.site.event("Entering", f"{step} of {cluster.name} begins")
            if material is None:
                self.engine.bootstrap(cluster, member, self._report)
            else:
                self.engine.join(cluster, member, material, self._report)
            self.journal.end(
                member=True, control_plane=member.control_plane, node_name=member.node_name, version=cluster.version
            )
        self._set(phase="", step="")
        self.site.event("Entered", f"the host is a member of {cluster.name}, with Kubernetes {cluster.version}")
        return True

    def _upgrade(self, cluster: Cluster, member: Member) -> None:
        before = self.journal.state.version
        with self._action("upgrade", "upgrading", cluster.uid):
            self.site.event("Upgrading", f"from Kubernetes {before} to {cluster.version}")
            self.engine.upgrade(cluster, member, self._report)
            self.journal.end(version=cluster.version)
        self._certificates_at = None
        self._set(phase="", step="")
        self.site.event("Upgraded", f"the host runs Kubernetes {cluster.version}")

    # --- a member ---

    def _look_after(self, wanted: Wanted, cluster: Cluster, member: Member) -> Rest:
        """What is seen to again and again on a host that is a member."""
        self._looked_after = True
        self.host.settings(cluster)
        self._set(node=self.engine.node())
        tasks_left = self._start_tasks(wanted)
        self.engine.configure(cluster, member, self._report)
        health = self.engine.health()
        etcd = health.etcd
        self._set(
            node=self.engine.node(),
            healthy=(health.healthy, health.message),
            etcd=None if etcd is None else {"healthy": etcd.healthy, "members": etcd.members},
        )
        self._look_at_certificates()
        packs_left = False
        if member.lead:
            self._publish()
            packs_left = self._apply(wanted)
        elif self._packs:
            self._packs_for = None
            self._set(packs=[])
        ready = self._node is not None and self._node.ready and health.healthy
        if tasks_left or packs_left:
            return Rest(SOON)
        return Rest(RUNNING_PAUSE if ready else SOON, applied=wanted.generation if cluster is wanted.cluster else None)

    def _look_at_certificates(self) -> None:
        now = time.monotonic()
        if self._certificates_at is None or now - self._certificates_at > CERTIFICATES_PAUSE:
            self._set(certificates=list(self.engine.certificates()))
            self._certificates_at = now

    def _publish(self) -> None:
        text = self.engine.kubeconfig()
        if text != self._kubeconfig:
            with contextlib.suppress(SiteError):  # the next look tries again
                self.site.publish_kubeconfig(text)
                self._kubeconfig = text

    def _apply(self, wanted: Wanted) -> bool:
        """Apply the packs where they changed, or where one is not ready; whether one is not ready yet."""
        key = tuple((pack.profile_uid, pack.name, pack.digest) for pack in wanted.packs)
        now = time.monotonic()
        settled = all(pack.state == "Ready" for pack in self._packs)
        if key != self._packs_for or not settled or now - self._packs_at > PACKS_PAUSE:
            self._set(packs=self.engine.apply(wanted.packs, self._report), step="")
            self._packs_for = key
            self._packs_at = now
        return any(pack.state != "Ready" for pack in self._packs)

    # --- tasks ---

    def _start_tasks(self, wanted: Wanted) -> bool:
        """Start what is open, where nothing runs; whether something is open."""
        open_tasks = [task for task in wanted.tasks if self._is_open(task)]
        with self._lock:
            runs = self._tasks_thread is not None and self._tasks_thread.is_alive()
            if open_tasks and not runs and not self.stopping.is_set():
                worker = threading.Thread(target=self._run_tasks, args=(open_tasks,), name="tasks", daemon=True)
                worker.start()
                self._tasks_thread = worker
        return bool(open_tasks)

    def _is_open(self, task: Task) -> bool:
        return self.journal.state.tasks.get(task.id, {}).get("state") not in ("done", "failed")

    def _run_tasks(self, tasks: Sequence[Task]) -> None:
        for task in tasks:
            wanted = self.wanted
            if self.stopping.is_set() or wanted is None or task not in wanted.tasks:
                continue
            with self._exclusive:
                self.journal.task(task.id, "running")
                self.site.changed()
                try:
                    self._run_task(task)
                except Stopped:
                    return
                except (EngineError, SiteError) as error:
                    self._task_failed(task, error)
                except Exception as error:
                    log.exception("unexpected, in the task %s", task.kind)
                    self._task_failed(task, EngineError(**_worded(error), retry=False))
                else:
                    self.journal.task(task.id, "done")
            self.site.changed()
        self.wake.set()

    def _task_failed(self, task: Task, error: EngineError | SiteError) -> None:
        tries = self._task_tries[task.id] = self._task_tries.get(task.id, 0) + 1
        log.warning("the task %s failed: %s", task.kind, error)
        # one that cannot be handed over is tried again: the one who asked is away, so nobody waits for an answer
        if tries >= TASK_TRIES or not getattr(error, "retry", True):
            self.journal.task(task.id, "failed", str(error))
            self.site.event(error.reason, f"{task.kind}: {error.message}", error=True)
        else:
            self.stopping.wait(TASK_PAUSE * tries / self._speed)

    def _run_task(self, task: Task) -> None:
        engine = self.engine
        if task.kind == "admit":
            material = engine.admit(task.control_plane, MATERIAL_SECONDS, self._say)
            self.site.hand_over(task.member_uid, material)
        elif task.kind == "drain":
            engine.drain(task.node_name, task.timeout, self._say)
        elif task.kind == "uncordon":
            engine.uncordon(task.node_name)
        elif task.kind == "forget":
            engine.forget(task.node_name, task.control_plane, task.address, self._say)
        else:
            engine.renew_certificates(self._say)
            self._certificates_at = None

    def _say(self, step: str) -> None:
        """Progress of a task: in the log only, since the host's own step is another one."""
        if self.stopping.is_set():
            raise Stopped
        log.info("%s", step)

    def stop(self) -> None:
        self.stopping.set()
        self.wake.set()


class _Busy(Exception):
    """A task holds the engine."""


def _refuse_skew(here: str, there: str) -> None:
    """Kubernetes' rule: never back, and never over a minor version."""
    old, new = content.version_key(here), content.version_key(there)
    if new < old:
        raise EngineError(
            "DowngradeRefused", f"this host runs Kubernetes {here}, and cannot go back to {there}", retry=False
        )
    if new[0] != old[0] or new[1] - old[1] > 1:
        raise EngineError(
            "VersionSkew", f"from Kubernetes {here} the next minor version comes first, not {there}", retry=False
        )


def _worded(error: Exception) -> dict[str, str]:
    """An error in its wire form."""
    if isinstance(error, (EngineError, SiteError, content.ContentError)):
        return {"reason": error.reason, "message": error.message}
    return {"reason": "AgentFailed", "message": masked(f"{type(error).__name__}: {error}")}


def fingerprint(observed: Mapping[str, Any]) -> str:
    """Tells whether an observed state is the one that was sent last."""
    return hashlib.sha256(repr(sorted(observed.items())).encode()).hexdigest()
