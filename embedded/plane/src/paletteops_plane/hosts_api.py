# SPDX-License-Identifier: GPL-3.0-or-later
"""What agents call beyond the management API, under ``/embedded/v1/hosts/{uid}/``.

Each call needs the credential of the host whose UID is in the path (``host_access``). A host that waits for its
desired state holds a connection and nothing else (``long_poll``).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, model_validator
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from paletteops_plane import content
from paletteops_plane.bodies import body_of, parse, plain
from paletteops_plane.errors import ApiError
from paletteops_plane.host_access import DIGEST, KIND, admit_host, is_host_credential
from paletteops_plane.long_poll import Waiters
from paletteops_plane.plane import Plane
from paletteops_plane.provisioner import hosts
from paletteops_plane.resources import edge_hosts, host_logs
from paletteops_plane.responses import answer_nobody, error_response, json_response, limit
from paletteops_plane.store import Document

#: Seconds that a host may wait for its desired state in one request.
LONGEST_WAIT = 300.0
#: Bytes of the largest body, but for logs.
LARGEST_BODY = 1024 * 1024
#: Bytes of the largest archive of logs.
LARGEST_LOGS = 256 * 1024 * 1024

#: The calls, each below ``/embedded/v1/hosts/{uid}/``.
CALLS = (
    "GET desired",
    "PUT observed",
    "POST events",
    "PUT join/{member_uid}",
    "GET join",
    "PUT kubeconfig",
    "GET content",
    "PUT logs/{request_id}",
)

_PATH = re.compile(r"/embedded/v1/hosts/(?P<uid>[^/]+)/(?P<rest>.+)")
_GZIP = b"\x1f\x8b"

Name = Annotated[str, Field(max_length=255)]
Phase = Literal[
    "idle", "preparing", "prepared", "bootstrapping", "joining", "running", "upgrading", "leaving", "failed"
]


class _Open(BaseModel):
    """What an agent sends: fields that this plane does not know are kept, since agents may be newer."""

    model_config = ConfigDict(extra="allow", hide_input_in_errors=True)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("is in no year from 1 to 9999") from None


Moment = Annotated[AwareDatetime, AfterValidator(_in_utc)]


class Problem(_Open):
    """What keeps a host from its desired state; it stays until it works."""

    reason: Name
    message: str


class Node(_Open):
    """The host as a node of its cluster."""

    name: Name
    ready: bool
    cordoned: bool = False
    kubernetes_version: str = ""
    pod_cidr: str | None = None


class TaskState(_Open):
    state: Literal["running", "done", "failed"]
    message: str = ""


class PackState(_Open):
    """A pack that the lead applies; ``digest`` as in the desired state."""

    profile_uid: str = ""
    name: Name
    digest: str = ""
    state: Literal["Pending", "Deploying", "Ready", "Error"]
    message: str = ""


class Certificate(_Open):
    name: Name
    expires_at: Moment


class Etcd(_Open):
    healthy: bool
    members: int


class Content(_Open):
    pack: Name
    version: Name


class Observed(_Open):
    """The observed state of a host, whole."""

    _plain = model_validator(mode="before")(plain)

    #: The last desired generation that is wholly applied.
    generation: str | None = None
    cluster_uid: str | None = None
    phase: Phase
    step: str = ""
    error: Problem | None = None
    node: Node | None = None
    tasks: dict[str, TaskState] = {}
    packs: list[PackState] = []
    certificates: list[Certificate] = []
    etcd: Etcd | None = None
    content: list[Content] = []
    reset_done: str | None = None
    boot_id: str = ""


class HostEvent(_Strict):
    _plain = model_validator(mode="before")(plain)
    at: Moment
    reason: Annotated[str, Field(min_length=1, max_length=128)]
    message: Annotated[str, Field(max_length=4096)]
    severity: Literal["Normal", "Error"] = "Normal"


class Material(_Strict):
    """What a member needs to join."""

    endpoint: Name
    token: Annotated[str, Field(min_length=1, repr=False)]
    ca_cert_hashes: Annotated[list[str], Field(min_length=1)]
    certificate_key: Annotated[str | None, Field(repr=False)] = None
    expires_at: Moment


class Kubeconfig(_Strict):
    content: Annotated[str, Field(min_length=1, repr=False)]


class HostsGate:
    """In front of the routes: limits, credentials, and the JSON of bodies, before anything else is looked at."""

    def __init__(self, app: ASGIApp, plane: Plane) -> None:
        self._app = app
        self._plane = plane

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        found = _PATH.fullmatch(scope["path"])
        request = Request(scope, receive)
        sent = b""
        try:
            if found is not None:
                limit(self._plane, request)
                with self._plane.store.transaction():
                    _caller(self._plane, request, found["uid"])
            if found is None or not found["rest"].startswith("logs/"):
                sent = await body_of(request).read(LARGEST_BODY, known=found is not None)
            if sent:
                parse(sent)
        except ApiError as error:
            await error_response(error)(scope, receive, send)
            return
        except ClientDisconnect as error:
            await (await answer_nobody(request, error))(scope, receive, send)
            return
        await self._app(scope, _with(sent, receive) if sent else receive, send)


def _with(sent: bytes, receive: Receive) -> Receive:
    """What the routes receive where the body was read already."""
    left: list[Message] = [{"type": "http.request", "body": sent, "more_body": False}]

    async def again() -> Message:
        return left.pop() if left else await receive()

    return again


def _caller(plane: Plane, request: Request, uid: str) -> Document:
    """The record of the host that calls, which is the one in the path; within a transaction. 401, 403."""
    sent = request.headers.get("authorization", "")
    if not is_host_credential(sent):
        raise ApiError("Unauthenticated", "send the header Authorization: EdgeHost UID:CREDENTIAL")
    host = admit_host(plane, sent)
    if host.uid != uid:
        raise ApiError("OperationForbidden", f"what is at {uid[:128]!r} is not for the host {host.uid!r}")
    return host


@contextmanager
def _turn(plane: Plane, request: Request, uid: str) -> Iterator[Document]:
    """One transaction on the record of the caller, with everything as it is by now."""
    with plane.store.transaction():
        for bring_up_to_date in plane.before_request:
            bring_up_to_date(plane)
    with plane.store.transaction():
        yield _caller(plane, request, uid)


def routes(plane: Plane) -> APIRouter:
    """The routes of one plane."""
    router = APIRouter(prefix="/hosts/{uid}", tags=["agents"])
    waiters = Waiters()
    plane.hosts_changed.append(waiters.changed)
    plane.ending.append(waiters.end)

    @router.get("/desired", response_model=None, responses={204: {"description": "nothing new within `wait`"}})
    async def desired(
        request: Request,
        uid: str,
        known: Annotated[str, Query(max_length=255)] = "",
        wait: Annotated[float, Query(ge=0, le=LONGEST_WAIT)] = 0.0,
    ) -> Response:
        """The desired state as soon as its generation is not the known one, for at most `wait` seconds."""
        waiter = waiters.enter(uid, wait, request.receive)
        try:
            while True:
                with _turn(plane, request, uid) as host:
                    state = hosts.desired_state(plane, host)
                if state["generation"] != known:
                    return json_response(state)
                if wait == 0 or await waiter.wait() != "changed":
                    return Response(status_code=204)
        finally:
            waiters.leave(uid, waiter)

    @router.put("/observed", status_code=204)
    async def observed(request: Request, uid: str, report: Observed) -> None:
        """The observed state, whole, on each change; what it leads to is decided before the answer."""
        with _turn(plane, request, uid) as host:
            edge_hosts.take_report(plane, host, report.model_dump(mode="json"))

    @router.post("/events", status_code=204)
    async def events(request: Request, uid: str, told: Annotated[list[HostEvent], Field(max_length=100)]) -> None:
        """What happened on the host; shown as events of it and of its cluster."""
        with _turn(plane, request, uid) as host:
            for event in told:
                hosts.add_host_event(plane, host, event.at, event.reason, event.message, event.severity)

    @router.put("/join/{member_uid}", status_code=204)
    async def give_join(request: Request, uid: str, member_uid: str, material: Material) -> None:
        """Join material for a member that is on its way in; kept in memory, for fifteen minutes at most."""
        with _turn(plane, request, uid):
            if not hosts.may_admit(plane, uid, member_uid):
                raise ApiError("OperationForbidden", f"the host {uid!r} is not to admit {member_uid[:128]!r} now")
            member = plane.store.get(KIND, member_uid)
            now, expires = plane.clock.now().timestamp(), material.expires_at.timestamp()
            if expires <= now:
                raise ApiError(
                    "InvalidValue",
                    f"expires_at is past: the clock of the host {uid!r} and the plane's are apart",
                    {"field": "expires_at"},
                )
            if member is None or DIGEST not in member.body:
                raise ApiError("OperationForbidden", f"the host {member_uid[:128]!r} has not registered")
            plane.join_material.put(member_uid, member.body[DIGEST], material.model_dump(mode="json"), now, expires)

    @router.get("/join", response_model=Material, responses={404: {"description": "there is none, or not any more"}})
    async def take_join(request: Request, uid: str) -> Response:
        """The join material of the caller; it is given once."""
        with _turn(plane, request, uid) as host:
            if not hosts.is_member(plane, uid):
                plane.join_material.forget(uid)
                material = None
            else:
                material = plane.join_material.take(uid, host.body[DIGEST], plane.clock.now().timestamp())
                if material is None:
                    hosts.join_missing(plane, host)
        if material is None:
            # After the transaction: that the lead was asked again is to stay.
            raise ApiError("ResourceNotFound", f"there is no join material for {uid!r}", {"uid": uid})
        return json_response(material, headers={"Cache-Control": "no-store"})

    @router.put("/kubeconfig", status_code=204)
    async def keep_kubeconfig(request: Request, uid: str, kubeconfig: Kubeconfig) -> None:
        """The kubeconfig of the cluster, from one of its control plane."""
        with _turn(plane, request, uid) as host:
            if not hosts.is_control_plane(plane, host):
                raise ApiError("OperationForbidden", f"the host {uid!r} is in no control plane")
            hosts.keep_kubeconfig(plane, host, kubeconfig.content)

    @router.get("/content", response_class=content.BundleResponse, responses={206: {"description": "a part"}})
    async def get_content(
        request: Request,
        uid: str,
        pack: Annotated[str, Query(max_length=128)],
        version: Annotated[str, Query(max_length=128)],
        architecture: Annotated[str, Query(max_length=16)],
    ) -> Response:
        """A content bundle, whole or in part."""
        return content.bundle_response(plane.settings.content, content.Bundle(pack, version, architecture))

    @router.put("/logs/{request_id}", status_code=204)
    async def put_logs(request: Request, uid: str, request_id: str) -> None:
        """The archive of logs (.tar.gz) that was asked for."""
        with _turn(plane, request, uid) as host:
            host_logs.check_wanted(host, request_id)
        temporary = content.prepare_log_folder(plane, request_id) / f".{uid}.{os.urandom(4).hex()}"
        try:
            await _receive(request, temporary)
            with _turn(plane, request, uid) as host:
                host_logs.keep(plane, host, request_id, temporary)
        finally:
            temporary.unlink(missing_ok=True)

    return router


async def _receive(request: Request, path: Path) -> None:
    """Write a body to a file; 400 for what is too large or no gzip."""
    size = 0
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
        async for part in request.stream():
            size += len(part)
            if size > LARGEST_LOGS:
                raise ApiError("InvalidRequest", f"the logs are larger than {LARGEST_LOGS} bytes")
            stream.write(part)
    with path.open("rb") as written:
        if written.read(2) != _GZIP:
            raise ApiError("InvalidRequest", "the body is no .tar.gz")
