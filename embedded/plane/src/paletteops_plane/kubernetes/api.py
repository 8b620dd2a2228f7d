# SPDX-License-Identifier: GPL-3.0-or-later
"""How a cluster's Kubernetes API answers.

Served are ``/version``, ``/livez`` and its kin, discovery (``/api``, ``/api/v1``, ``/apis``) and, to read, nodes,
namespaces and pods: lists (with selectors and paging) and single objects, as objects or as tables. There is no watch.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from paletteops_plane.kubernetes import objects
from paletteops_plane.kubernetes.kubeconfig import PREFIX, token_holds
from paletteops_plane.kubernetes.selectors import SelectorError, by_fields, by_labels
from paletteops_plane.kubernetes.tables import table
from paletteops_plane.plane import Plane
from paletteops_plane.resources import cluster_state as state
from paletteops_plane.store import Document

Object = dict[str, Any]


@dataclass(frozen=True)
class Resource:
    """What can be read of a cluster."""

    plural: str
    kind: str
    namespaced: bool
    short: tuple[str, ...]
    read: Callable[[Plane, Document], list[Object]]
    categories: tuple[str, ...] = ()

    def describe(self) -> Object:
        """As discovery tells of it (APIResource)."""
        described: Object = {
            "name": self.plural,
            "singularName": self.kind.lower(),
            "namespaced": self.namespaced,
            "kind": self.kind,
            "verbs": ["get", "list"],
            "shortNames": list(self.short),
        }
        if self.categories:
            described["categories"] = list(self.categories)
        return described


RESOURCES = {
    resource.plural: resource
    for resource in (
        Resource("namespaces", "Namespace", False, ("ns",), lambda _plane, cluster: objects.namespaces(cluster)),
        Resource("nodes", "Node", False, ("no",), objects.nodes),
        Resource("pods", "Pod", True, ("po",), objects.pods, ("all",)),
    )
}

_HEALTH = ("healthz", "livez", "readyz")


class Refusal(Exception):
    """An answer of the kind Status that is a failure."""

    def __init__(self, code: int, reason: str, message: str, details: Object | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.body = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": message,
            "reason": reason,
            "details": details or {},
            "code": code,
        }


def install(app: FastAPI, plane: Plane) -> None:
    """Serve the Kubernetes APIs of the plane's clusters."""
    app.mount(PREFIX, KubernetesApi(plane))


class KubernetesApi:
    """The Kubernetes APIs of all clusters, each under its cluster's uid."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        request = Request(scope, receive)
        with self._plane.store.transaction():
            for bring_up_to_date in self._plane.before_request:
                bring_up_to_date(self._plane)
        try:
            with self._plane.store.transaction():
                response = self._answer(request)
        except Refusal as refusal:
            response = _json(refusal.body, refusal.code)
        await response(scope, receive, send)

    def _answer(self, request: Request) -> Response:
        path = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
        uid, *parts = [part for part in path.split("/") if part] or [""]
        self._authenticate(request, uid)
        cluster = self._cluster(uid)
        if request.method not in ("GET", "HEAD"):
            raise Refusal(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
        match parts:
            case [word] if word in _HEALTH:
                return PlainTextResponse("ok")
            case ["version"]:
                return _json(_version(objects.version(self._plane, cluster)))
            case ["api"]:
                return _json({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []})
            case ["apis"]:
                return _json({"kind": "APIGroupList", "apiVersion": "v1", "groups": []})
            case ["api", "v1"]:
                resources = [resource.describe() for resource in RESOURCES.values()]
                return _json({"kind": "APIResourceList", "groupVersion": "v1", "resources": resources})
            case ["api", "v1", "namespaces", namespace, plural, *rest] if _is(plural, namespaced=True):
                return self._read(request, cluster, RESOURCES[plural], namespace, rest)
            case ["api", "v1", plural, *rest] if plural in RESOURCES and not (rest and RESOURCES[plural].namespaced):
                return self._read(request, cluster, RESOURCES[plural], "", rest)
        raise Refusal(404, "NotFound", "the server could not find the requested resource")

    def _authenticate(self, request: Request, uid: str) -> None:
        kind, _, sent = request.headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or not token_holds(self._plane, uid, sent.strip()):
            raise Refusal(401, "Unauthorized", "Unauthorized")

    def _cluster(self, uid: str) -> Document:
        cluster = self._plane.store.get(state.CLUSTER, uid)
        if cluster is None or not state.answers_kubernetes(cluster):
            raise Refusal(503, "ServiceUnavailable", "the API server of this cluster is not up")
        return cluster

    def _read(
        self, request: Request, cluster: Document, resource: Resource, namespace: str, rest: list[str]
    ) -> Response:
        query = request.query_params
        if query.get("watch", "").lower() in ("true", "1"):
            raise Refusal(405, "MethodNotAllowed", f"watch is not served: list {resource.plural} again instead")
        items = resource.read(self._plane, cluster)
        if namespace:
            items = [item for item in items if item["metadata"]["namespace"] == namespace]
        metadata: Object = {"resourceVersion": str(int(self._plane.clock.now().timestamp() * 1000))}
        if len(rest) == 1:
            items = [item for item in items if item["metadata"]["name"] == rest[0]]
            if not items:
                details = {"name": rest[0], "kind": resource.plural}
                raise Refusal(404, "NotFound", f'{resource.plural} "{rest[0]}" not found', details)
        elif rest:
            raise Refusal(404, "NotFound", "the server could not find the requested resource")
        else:
            items = _selected(items, resource, query.get("labelSelector", ""), query.get("fieldSelector", ""))
            items = _page(items, query.get("limit", ""), query.get("continue", ""), metadata)
        if _wants_table(request.headers.get("accept", "")):
            include = query.get("includeObject", "Metadata")
            return _json(table(resource.kind, items, metadata, self._plane.clock.now(), include))
        if rest:
            return _json(items[0])
        return _json({"kind": f"{resource.kind}List", "apiVersion": "v1", "metadata": metadata, "items": items})


def _is(plural: str, *, namespaced: bool) -> bool:
    return plural in RESOURCES and RESOURCES[plural].namespaced == namespaced


def _selected(items: list[Object], resource: Resource, labels: str, fields: str) -> list[Object]:
    try:
        selectors = by_labels(labels) + by_fields(fields, resource.kind)
    except SelectorError as error:
        raise Refusal(400, "BadRequest", str(error)) from None
    return [item for item in items if all(selector(item) for selector in selectors)]


def _page(items: list[Object], limit: str, mark: str, metadata: Object) -> list[Object]:
    """The items that ``limit`` and ``continue`` ask for; the metadata is told where to go on."""
    try:
        start = int(base64.urlsafe_b64decode(mark).decode()) if mark else 0
        size = int(limit or 0)
        if start < 0 or size < 0:
            raise ValueError
    except ValueError:
        raise Refusal(400, "BadRequest", "limit or continue is not valid") from None
    end = start + size if size else len(items)
    if end < len(items):
        metadata["continue"] = base64.urlsafe_b64encode(str(end).encode()).decode()
        metadata["remainingItemCount"] = len(items) - end
    return items[start:end]


def _wants_table(accept: str) -> bool:
    """Whether the first of what is accepted, and served, is a table."""
    for offer in accept.split(","):
        kind, *parameters = [part.strip() for part in offer.split(";")]
        if kind not in ("application/json", "*/*", "application/*"):
            continue
        given = dict(parameter.partition("=")[::2] for parameter in parameters)
        if given.get("as") == "Table":
            return given.get("v") == "v1"
        if "as" not in given:
            return False
    return False


def _version(text: str) -> Object:
    found = re.match(r"v(\d+)\.(\d+)", text)
    major, minor = found.groups() if found else ("0", "0")
    return {
        "major": major,
        "minor": minor,
        "gitVersion": text,
        "gitCommit": "0" * 40,
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "go1.23.0",
        "compiler": "gc",
        "platform": "linux/amd64",
    }


def _json(body: Object, status: int = 200) -> Response:
    return Response(json.dumps(body, separators=(",", ":")), status, media_type="application/json")
