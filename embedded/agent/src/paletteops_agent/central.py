# SPDX-License-Identifier: GPL-3.0-or-later
"""The management plane as the one who wants something of this host: registration, the long poll for the desired state,
heartbeats, reports, events, join material, content and logs.

Each call stands in ``README.md``'s table. Nothing here is urgent to the cluster: while the plane is away, the host goes
on with the last desired state.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import shutil
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from . import __version__, files, hostinfo, identity
from .content import RESERVE, SUFFIX, ContentError, bundle_name
from .engine import JoinMaterial
from .identity import Identity
from .paths import Paths
from .plane_client import Backoff, Connection, Plane, Refused, Unreachable, segment
from .reconcile import fingerprint
from .site import SiteError
from .userdata import UserData, is_word

log = logging.getLogger("palette-agent")

HEARTBEAT_SECONDS = 60.0
POLL_SECONDS = 280.0
#: a report follows the one before no sooner than this
REPORT_PAUSE = 1.0
#: a host's clock may be wrong by this before it is said
CLOCK_SECONDS = 120.0
MAX_EVENTS = 200
#: refusals that somebody must see to, so they are asked for again less often
SLOW_RETRY = 300.0
_PIECE = 1 << 18


class Central:
    """One host's dealings with its plane. ``poll`` is called by one thread, ``report`` by another, the rest by those
    that work; each call has a connection of its own while it lasts.
    """

    def __init__(
        self,
        plane: Plane,
        paths: Paths,
        data: UserData,
        who: Identity,
        *,
        durable: bool = True,
        speed: float = 1.0,
        collect_logs: Callable[[Path], None] | None = None,
        in_cluster: Callable[[], bool] = lambda: False,
        address: str = "",
    ) -> None:
        self.plane = plane
        self.paths = paths
        self.data = data
        self.identity = who
        self.report_wake = threading.Event()
        self.registered = threading.Event()
        self.stopping = threading.Event()
        self._durable = durable
        self._speed = max(speed, 1.0)
        self._collect_logs = collect_logs
        self._in_cluster = in_cluster
        self._address = address
        self._idle: list[Connection] = []
        self._busy: set[Connection] = set()
        self._lock = threading.Lock()
        self._known = ""
        self._poll_backoff = Backoff(1.0 / self._speed, 60.0)
        self._report_backoff = Backoff(1.0 / self._speed, 60.0)
        self._events: deque[dict[str, str]] = deque(maxlen=MAX_EVENTS)
        self._heartbeat_due = 0.0
        self._sent = self._sent_news = ""
        self._sent_packs = ""
        self._sent_at = 0.0
        self._said = ""
        self._warned_of_tunnel = False
        if who.credential and not who.refused:
            self.registered.set()

    # --- connections ---

    @contextlib.contextmanager
    def _connection(self) -> Iterator[Connection]:
        with self._lock:
            if self.stopping.is_set():
                raise Unreachable("the agent is ending")
            connection = self._idle.pop() if self._idle else Connection(self.plane)
            self._busy.add(connection)
        try:
            yield connection
        finally:
            with self._lock:
                self._busy.discard(connection)
                if len(self._idle) < 2 and not self.stopping.is_set():
                    self._idle.append(connection)
                else:
                    connection.close()

    def stop(self) -> None:
        """End all calls at once."""
        with self._lock:
            self.stopping.set()
            for connection in [*self._busy, *self._idle]:
                connection.abort()
        self.report_wake.set()

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"EdgeHost {self.identity.uid}:{self.identity.credential}"}

    def _path(self, rest: str) -> str:
        return f"/embedded/v1/hosts/{segment(self.identity.uid)}/{rest}"

    def _call(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        """A call by this host's credential. Refused for UnknownEdgeHost also ends the registration."""
        headers = {**self._headers(), **more.pop("headers", {})}
        with self._connection() as connection:
            try:
                return connection.request(method, path, body, headers, **more)
            except Refused as error:
                if error.status == 401 and error.code == "UnknownEdgeHost":
                    self._unknown()
                raise

    def _unknown(self) -> None:
        """The plane does not know this host's credential any more: its record was deleted."""
        if not self.identity.refused:
            self.identity.refused = True
            self.registered.clear()
            identity.save(self.paths, self.identity, self._durable)

    def _say_once(self, text: str, level: int = logging.ERROR) -> None:
        if text != self._said:
            self._said = text
            log.log(level, "%s", text)

    # --- registration ---

    def register(self) -> float:
        """Exchange the token for a credential; 0 when there is one, else seconds until the next try."""
        who = self.identity
        moved = who.endpoint != self.plane.endpoint or who.token_mark != identity.mark(self.data.token)
        if who.refused and not moved:
            self._say_once(
                f"the plane no longer knows this host {who.uid!r} (its record was deleted?): it stays as it is;"
                " run palette-agent install again, or give it another registration token, to register anew"
            )
            return SLOW_RETRY / self._speed
        if who.refused and self._in_cluster():
            self._say_once(
                "this host is in a cluster of a plane that does not know it any more, and does not register with"
                " another one before it has left: run palette-agent uninstall --force"
            )
            return SLOW_RETRY / self._speed
        try:
            body = self._registration()
        except identity.IdentityError as error:
            self._say_once(str(error))
            return 30.0 / self._speed
        if who.refused:
            who.claim, who.credential, who.refused = "", "", False
        identity.make_claim(self.paths, who, self._durable)
        headers = {"EdgeHostToken": self.data.token, "EdgeHostClaim": who.claim}
        for name, key in (("ProjectUid", "site.projectUid"), ("ProjectName", "site.projectName")):
            if self.data.get(key):
                headers[name] = str(self.data.get(key))
        try:
            with self._connection() as connection:
                answer = connection.request("POST", "/v1/edgehosts/register", body, headers)
                content = answer.json()
            credential = content["spec"]["host"]["hostAuthToken"]
            if not is_word(credential):
                raise Unreachable("the answer to the registration holds no credential")
        except (KeyError, TypeError):
            self._say_once("the answer to the registration holds no credential: is this address a management plane's?")
            return self._poll_backoff.next()
        except Unreachable as error:
            self._say_once(f"cannot register with {self.plane.endpoint}: {error}")
            return self._poll_backoff.next()
        except Refused as error:
            self._say_once(f"the plane refused to register this host {who.uid!r}: {_explained(error)}")
            return self._poll_backoff.next(error.retry_after or 0.0)
        who.credential, who.endpoint, who.token_mark = credential, self.plane.endpoint, identity.mark(self.data.token)
        identity.save(self.paths, who, self._durable)
        self._compare_clocks(answer.headers.get("date", ""))
        self._poll_backoff.reset()
        self._known = self._said = self._sent = ""
        self._heartbeat_due = 0.0
        self.registered.set()
        self.report_wake.set()
        log.info("registered with %s as %s", self.plane.endpoint, who.uid)
        return 0.0

    def _registration(self) -> dict[str, Any]:
        """The body: v1EdgeHostDevice."""
        uid = self.identity.uid
        host: dict[str, Any] = {
            "hostAddress": self._address or hostinfo.address(self.plane.endpoint),
            "hostUid": uid,
            "macAddress": hostinfo.mac_address(),
        }
        if self.data.get("site.disableAutoRegister"):
            host["disableAutoRegister"] = True
        return {
            "metadata": {
                "name": identity.host_name(self.data),
                "uid": uid,
                "labels": identity.tags(self.data, self.paths),
            },
            "spec": {"type": "edge-native", "device": hostinfo.device(), "host": host},
            "status": {"health": {"agentVersion": __version__}},
        }

    def _compare_clocks(self, date: str) -> None:
        try:
            away = abs(time.time() - parsedate_to_datetime(date).timestamp())
        except (TypeError, ValueError):
            return
        if away > CLOCK_SECONDS:
            text = f"the clocks of this host and of the plane differ by {away:.0f} seconds: set up time synchronisation"
            log.warning("%s", text)
            self.event("ClockSkew", text, error=True)

    # --- the desired state ---

    def poll(self, take: Callable[[Any], None]) -> float:
        """Wait for a desired state that is new, and give it away; seconds until it is to be called again."""
        if not self.registered.is_set():
            return self.register()
        query = urlencode({"known": self._known, "wait": f"{POLL_SECONDS:.0f}"})
        began = time.monotonic()
        try:
            answer = self._call("GET", self._path(f"desired?{query}"), wait=POLL_SECONDS)
            if answer.status == 204:
                content = None
            else:
                content = answer.json()
                if not isinstance(content, dict) or not isinstance(content.get("generation"), str):
                    raise Unreachable("the desired state is not readable")
        except Unreachable as error:
            if not self.stopping.is_set():
                self._say_once(f"the plane is away: {error}", logging.WARNING)
            return self._poll_backoff.next()
        except Refused as error:
            self._say_once(f"the plane refused the desired state: {_explained(error)}")
            return self._poll_backoff.next(error.retry_after or 0.0)
        if self._said:
            log.info("the plane answers again")
            self._said = ""
        if content is None and time.monotonic() - began < 1.0:
            return self._poll_backoff.next()  # a plane that is ending sends its hosts away
        self._poll_backoff.reset()
        if content is not None:
            self._known = content["generation"]
            take(content)
        return 0.0

    def look_up(self, cluster_uid: str | None) -> None:
        """What the management API itself tells a host: its configuration, and the definition of its cluster.

        Neither decides anything. A failure is no error; it is looked up again with the next desired state.
        """
        record = f"/v1/edgehosts/{segment(self.identity.uid)}"
        try:
            found = self._call("GET", f"{record}/config").json() or {}
            if (found.get("tunnelConfig") or {}).get("remoteSsh") == "enabled" and not self._warned_of_tunnel:
                self._warned_of_tunnel = True
                text = "remote SSH is enabled for this host, and this agent has none: use the host's own SSH"
                log.warning("%s", text)
                self.event("RemoteSshMissing", text, error=True)
            if cluster_uid is None:
                self.paths.cluster_definition.unlink(missing_ok=True)
            else:
                definition = self._call("GET", f"{record}/spc/download", headers={"Accept": "*/*"}).body
                files.write(self.paths.cluster_definition, definition, files.SECRET, self._durable)
        except (Refused, Unreachable, OSError, AttributeError) as error:
            log.debug("looking up the host's record: %s", error)

    # --- heartbeats and reports ---

    def report(self, observed: Callable[[], dict[str, Any]], health: Callable[[], tuple[bool, str]]) -> float:
        """Send what is due: a heartbeat, the observed state where it changed, events. Seconds until the next call."""
        if not self.registered.is_set():
            return HEARTBEAT_SECONDS
        now = time.monotonic()
        early = REPORT_PAUSE / self._speed - (now - self._sent_at)
        content = observed()
        mark = fingerprint(content)
        # what others wait for is sent at once, the words of a step not more often than they can be read
        news = fingerprint({**content, "step": ""})
        if mark != self._sent and news == self._sent_news and early > 0 and now < self._heartbeat_due:
            return early
        try:
            if mark != self._sent:
                self._sent_at = now
                self._call("PUT", self._path("observed"), content)
                self._send_packs(content["packs"])
                self._sent, self._sent_news = mark, news
            if now >= self._heartbeat_due:
                healthy, message = health()
                body = {
                    "state": "healthy" if healthy else "unhealthy",
                    "message": message,
                    "agentVersion": __version__,
                }
                self._call("PATCH", f"/v1/edgehosts/{segment(self.identity.uid)}/health", body)
                self._heartbeat_due = now + HEARTBEAT_SECONDS * random.uniform(0.9, 1.1)
            self._send_events()
        except Unreachable:
            return self._report_backoff.next()
        except Refused as error:
            if error.status != 429:
                log.warning("the plane refused a report: %s", _explained(error))
            return self._report_backoff.next(error.retry_after or 0.0)
        self._report_backoff.reset()
        return max(0.0, self._heartbeat_due - time.monotonic())

    def _send_packs(self, packs: list[dict[str, str]]) -> None:
        """The lead's packs once more, in the words of the management API."""
        mark = repr(packs)
        if packs and mark != self._sent_packs:
            body = {"packs": [_pack_status(pack) for pack in packs]}
            self._call("PATCH", f"/v1/edgehosts/{segment(self.identity.uid)}/packs/status", body)
        self._sent_packs = mark

    def _send_events(self) -> None:
        with self._lock:
            waiting = [self._events[place] for place in range(min(50, len(self._events)))]
        if waiting:
            self._call("POST", self._path("events"), waiting)
            with self._lock:
                for _ in waiting:
                    if self._events:
                        self._events.popleft()

    # --- what the reconciler asks for (Site) ---

    def event(self, reason: str, message: str, error: bool = False) -> None:
        now = datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        entry = {
            "at": now,
            "reason": reason,
            "message": message[:4000],
            "severity": "Error" if error else "Normal",
        }
        with self._lock:
            self._events.append(entry)
        self.report_wake.set()

    def changed(self) -> None:
        self.report_wake.set()

    def material(self) -> JoinMaterial | None:
        try:
            content = self._ask("GET", self._path("join"), accept=(404,))
        except SiteError:
            raise
        if content is None or "token" not in content:
            return None
        try:
            return JoinMaterial(
                endpoint=str(content["endpoint"]),
                token=str(content["token"]),
                ca_cert_hashes=[str(one) for one in content["ca_cert_hashes"]],
                certificate_key=content.get("certificate_key"),
                expires_at=str(content["expires_at"]),
            )
        except (KeyError, TypeError):
            raise SiteError("JoinMaterialWrong", "the join material lacks something") from None

    def hand_over(self, member_uid: str, material: JoinMaterial) -> None:
        body = {
            "endpoint": material.endpoint,
            "token": material.token,
            "ca_cert_hashes": list(material.ca_cert_hashes),
            "certificate_key": material.certificate_key,
            "expires_at": material.expires_at,
        }
        self._ask("PUT", self._path(f"join/{segment(member_uid)}"), body)

    def publish_kubeconfig(self, text: str) -> None:
        self._ask("PUT", self._path("kubeconfig"), {"content": text})

    def _ask(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        """A call whose failure is the reconciler's to try again."""
        try:
            return self._call(method, path, body, **more).json()
        except Unreachable as error:
            raise SiteError("PlaneUnreachable", str(error)) from None
        except Refused as error:
            raise SiteError(error.code, error.message) from None

    def send_logs(self, request: str) -> None:
        with tempfile.TemporaryDirectory(prefix=".logs-", dir=self.paths.state) as folder:
            archive = Path(folder, "logs.tar.gz")
            if self._collect_logs is None:
                return
            self._collect_logs(archive)
            size = archive.stat().st_size
            headers = {**self._headers(), "Content-Type": "application/gzip"}
            try:
                with archive.open("rb") as stream, self._connection() as connection:
                    connection.upload("PUT", self._path(f"logs/{segment(request)}"), stream, size, headers)
            except Unreachable as error:
                raise SiteError("PlaneUnreachable", str(error)) from None
            except Refused as error:
                if error.status in (404, 409, 410):  # nobody asks any more
                    log.warning("the plane does not take the logs: %s", error)
                    return
                raise SiteError(error.code, error.message) from None

    # --- content ---

    def bundle(self, pack: str, version: str, report: Callable[[str], None]) -> Path:
        """Download a bundle, going on where an earlier download was cut off."""
        folder = self.paths.content / "downloads"
        files.make_folder(folder)
        target = folder / (bundle_name(pack, version, hostinfo.architecture()) + SUFFIX)
        for other in folder.iterdir():
            if not other.name.startswith(target.name):
                other.unlink(missing_ok=True)  # of a download that was given up
        query = urlencode({"pack": pack, "version": version, "architecture": hostinfo.architecture()})
        try:
            self._download(self._path(f"content?{query}"), target, report)
        except Unreachable as error:
            raise SiteError("PlaneUnreachable", f"the content {target.name} did not come whole: {error}") from None
        except Refused as error:
            reason = "ContentMissing" if error.status == 404 else error.code
            raise SiteError(reason, error.message) from None
        except OSError as error:
            target.unlink(missing_ok=True)
            raise ContentError("DiskFull", f"{target}: {error.strerror}; what was downloaded is removed") from None
        return target

    def _download(self, path: str, target: Path, report: Callable[[str], None]) -> None:
        """Resume by ETag: what is there counts only for as long as the plane has the same file."""
        tag_file = target.with_name(target.name + ".etag")
        have = target.stat().st_size if target.exists() and tag_file.exists() else 0
        headers = {**self._headers(), "Accept": "*/*"}
        if have:
            headers.update({"Range": f"bytes={have}-", "If-Range": tag_file.read_text("utf-8").strip()})
        with self._connection() as connection, connection.download(path, headers, accept=(416,)) as (head, response):
            if head.status == 416:  # it was whole already, or is another one now
                whole = head.headers.get("content-range", "").rpartition("/")[2]
                if whole == str(have):
                    return
                target.unlink(missing_ok=True)
                raise Unreachable("the content changed while it was downloaded")
            resumed = head.status == 206
            size = int(head.headers.get("content-length") or 0)
            if size + RESERVE > shutil.disk_usage(target.parent).free:
                raise ContentError(
                    "DiskFull",
                    f"{target.name} has {size >> 20} MiB, and the disk of {target.parent} has no room for it",
                )
            if not resumed:
                have = 0
                tag_file.unlink(missing_ok=True)
            with open(target, "ab" if resumed else "wb") as out:
                tag = head.headers.get("etag", "")
                if tag and not tag.startswith("W/"):
                    tag_file.write_text(tag, "utf-8")
                total, said = have + size, 0.0
                while True:
                    piece = response.read(_PIECE)
                    if not piece:
                        break
                    out.write(piece)
                    have += len(piece)
                    if time.monotonic() - said > 2.0:
                        said = time.monotonic()
                        report(f"downloading {target.name}: {100 * have // max(total, 1)} %")
                out.flush()
                os.fsync(out.fileno())
            if have != total:
                raise Unreachable(f"{total - have} bytes are missing")

    def used(self, bundle: Path, good: bool) -> None:
        """A file that was unpacked, or that is not what it should be, goes."""
        bundle.unlink(missing_ok=True)
        bundle.with_name(bundle.name + ".etag").unlink(missing_ok=True)


def _pack_status(pack: dict[str, str]) -> dict[str, Any]:
    """v1SpectroClusterPackStatusEntity of a pack in the observed state."""
    kinds = {"Pending": "ReadyForInstall", "Deploying": "ReadyForInstall", "Ready": "Ready", "Error": "Error"}
    return {
        "name": pack["name"],
        "profileUid": pack["profile_uid"],
        "type": "manifest",
        "version": pack["version"],
        "condition": {
            "type": kinds[pack["state"]],
            "status": "True" if pack["state"] in ("Ready", "Error") else "False",
            "reason": pack["state"],
            "message": pack["message"],
        },
    }


def _explained(error: Refused) -> str:
    way_out = {
        "AlreadyRegisteredEdgeHostDevice": " (delete the record of this host on the plane; it is tried again)",
        "InvalidRegistrationToken": " (check stylus.site.edgeHostToken)",
        "ExpiredRegistrationToken": " (give the token another expiry on the plane, or use another one)",
        "InactiveRegistrationToken": " (activate the token on the plane, or use another one)",
    }
    return f"{error.code}: {error.message}{way_out.get(error.code, '')}"
