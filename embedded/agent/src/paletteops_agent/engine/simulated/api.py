# SPDX-License-Identifier: GPL-3.0-or-later
"""The read-only Kubernetes API of a simulated cluster, on a loopback port: enough for ``kubectl get`` and the Python
client. Nodes and namespaces are what the cluster's file says; pods, services and deployments are empty lists.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import socket
import ssl
import threading
import uuid
from collections.abc import Callable
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

Json = dict[str, Any]

#: group, version → plural: (kind, namespaced, short names)
RESOURCES: dict[tuple[str, str], dict[str, tuple[str, bool, list[str]]]] = {
    ("", "v1"): {
        "namespaces": ("Namespace", False, ["ns"]),
        "nodes": ("Node", False, ["no"]),
        "pods": ("Pod", True, ["po"]),
        "services": ("Service", True, ["svc"]),
        "configmaps": ("ConfigMap", True, ["cm"]),
    },
    ("apps", "v1"): {
        "deployments": ("Deployment", True, ["deploy"]),
        "daemonsets": ("DaemonSet", True, ["ds"]),
        "statefulsets": ("StatefulSet", True, ["sts"]),
    },
}
NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")
_CONTROL_PLANE = "node-role.kubernetes.io/control-plane"


class ApiServer:
    """One API server. ``read`` returns the cluster's file; with a certificate (and its key) it answers by HTTPS."""

    def __init__(self, read: Callable[[], Json], port: int, certificate: tuple[Path, Path] | None) -> None:
        handler = type("Handler", (_Handler,), {"read": staticmethod(read)})
        try:
            self._server = _Server(("127.0.0.1", port), handler)
        except OSError:  # somebody else has it by now
            self._server = _Server(("127.0.0.1", 0), handler)
        self.port = int(self._server.server_address[1])
        self.authority = ""
        scheme = "http"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
            self.authority = base64.b64encode(certificate[0].read_bytes()).decode()
            scheme = "https"
        self.url = f"{scheme}://127.0.0.1:{self.port}"
        # polls seldom, since a thousand of them may idle
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 5.0}, name="kube-api", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        threading.Thread(target=self._server.shutdown, daemon=True).start()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is nobody's error."""


class _Refusal(Exception):
    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.body = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": message,
            "reason": reason,
            "code": code,
        }
        self.code = code


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60
    read: Callable[[], Json]

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not logged."""

    def do_GET(self) -> None:
        try:
            parts = urlsplit(self.path)
            query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
            self._send(200, self._answer([part for part in parts.path.split("/") if part], query))
        except _Refusal as refusal:
            self._send(refusal.code, refusal.body)

    def _refuse(self) -> None:
        self.rfile.read(min(int(self.headers.get("Content-Length") or 0), 1 << 20))
        self._send(405, _Refusal(405, "MethodNotAllowed", "this API is simulated and only to be read").body)

    do_POST = do_PUT = do_PATCH = do_DELETE = _refuse

    def _send(self, code: int, body: Any) -> None:
        data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Type", "text/plain" if isinstance(body, str) else "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _answer(self, path: list[str], query: dict[str, str]) -> Any:
        cluster = type(self).read()
        token = str(self.headers.get("Authorization", "")).partition(" ")[2].strip()
        if not cluster.get("token") or not hmac.compare_digest(token.encode(), str(cluster["token"]).encode()):
            raise _Refusal(401, "Unauthorized", "Unauthorized")
        if path in (["healthz"], ["livez"], ["readyz"]):
            return "ok"
        if path == ["version"]:
            return _version(cluster["version"])
        if path == ["api"]:
            return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}
        if path == ["apis"]:
            return {
                "kind": "APIGroupList",
                "apiVersion": "v1",
                "groups": [_group(name) for name, _ in RESOURCES if name],
            }
        if len(path) == 2 and path[0] == "apis" and any(path[1] == name for name, _ in RESOURCES if name):
            return _group(path[1])
        group, rest = ("", path[1:]) if path[:1] == ["api"] else (path[1] if len(path) > 1 else "", path[2:])
        if rest and (group, rest[0]) in RESOURCES and path[0] in ("api", "apis"):
            return self._resource(cluster, (group, rest[0]), rest[1:], query)
        raise _Refusal(404, "NotFound", "the server could not find the requested resource")

    def _resource(self, cluster: Json, version: tuple[str, str], rest: list[str], query: dict[str, str]) -> Json:
        known = RESOURCES[version]
        name = "/".join(part for part in version if part)
        if not rest:
            return {
                "kind": "APIResourceList",
                "apiVersion": "v1",
                "groupVersion": name,
                "resources": [
                    {
                        "name": plural,
                        "singularName": kind.lower(),
                        "namespaced": namespaced,
                        "kind": kind,
                        "verbs": ["get", "list"],
                        "shortNames": short,
                    }
                    for plural, (kind, namespaced, short) in known.items()
                ],
            }
        if rest[0] == "namespaces" and len(rest) > 2:
            rest = rest[2:]
        if rest[0] not in known or len(rest) > 2:
            raise _Refusal(404, "NotFound", "the server could not find the requested resource")
        if query.get("watch") in ("1", "true"):
            raise _Refusal(405, "MethodNotAllowed", "watch is not served")
        kind = known[rest[0]][0]
        items = nodes(cluster) if kind == "Node" else namespaces(cluster) if kind == "Namespace" else []
        if len(rest) == 2:
            items = [item for item in items if item["metadata"]["name"] == rest[1]]
            if not items:
                raise _Refusal(404, "NotFound", f'{rest[0]} "{rest[1]}" not found')
        else:
            items = _selected(items, query.get("labelSelector", ""), query.get("fieldSelector", ""))
        if "as=Table" in self.headers.get("Accept", "").split(",")[0]:
            return _table(kind, items)
        if len(rest) == 2:
            return items[0]
        return {"kind": f"{kind}List", "apiVersion": name, "metadata": {"resourceVersion": "1"}, "items": items}


def _selected(items: list[Json], labels: str, fields: str) -> list[Json]:
    """Selectors by equality, by existence of a label, and metadata.name."""
    for term in [term for term in labels.split(",") if term]:
        name, equals, value = term.replace("==", "=").partition("=")
        if name.endswith("!"):
            items = [one for one in items if one["metadata"]["labels"].get(name[:-1]) != value]
        elif equals:
            items = [one for one in items if one["metadata"]["labels"].get(name) == value]
        elif name.startswith("!"):
            items = [one for one in items if name[1:] not in one["metadata"]["labels"]]
        else:
            items = [one for one in items if name in one["metadata"]["labels"]]
    for term in [term for term in fields.split(",") if term]:
        name, _, value = term.replace("==", "=").partition("=")
        if name != "metadata.name":
            raise _Refusal(400, "BadRequest", f"field label not supported: {name}")
        items = [one for one in items if one["metadata"]["name"] == value]
    return items


def _group(name: str) -> Json:
    version = next(version for group, version in RESOURCES if group == name)
    entry = {"groupVersion": f"{name}/{version}", "version": version}
    return {"kind": "APIGroup", "apiVersion": "v1", "name": name, "versions": [entry], "preferredVersion": entry}


def _version(text: str) -> Json:
    major, minor = (text.split(".") + ["0", "0"])[:2]
    return {
        "major": major,
        "minor": minor,
        "gitVersion": f"v{text}",
        "gitCommit": "0" * 40,
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "go1.24.0",
        "compiler": "gc",
        "platform": "linux/amd64",
    }


def _metadata(name: str, created: str, labels: dict[str, str]) -> Json:
    digest = hashlib.sha256(f"{name} {created}".encode()).digest()[:16]
    return {
        "name": name,
        "uid": str(uuid.UUID(bytes=digest)),
        "creationTimestamp": created,
        "resourceVersion": "1",
        "labels": labels,
        "annotations": {},
    }


def namespaces(cluster: Json) -> list[Json]:
    return [
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": _metadata(name, cluster["created_at"], {"kubernetes.io/metadata.name": name}),
            "spec": {"finalizers": ["kubernetes"]},
            "status": {"phase": "Active"},
        }
        for name in NAMESPACES
    ]


def nodes(cluster: Json) -> list[Json]:
    now = datetime.now(timezone.utc).timestamp()
    return [_node(name, node, now) for name, node in sorted(cluster["nodes"].items())]


def _node(name: str, node: Json, now: float) -> Json:
    labels = {
        "kubernetes.io/arch": "amd64",
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        **node["labels"],
    }
    taints = [{key: value for key, value in taint.items() if value} for taint in node["taints"]]
    if node["control_plane"]:
        labels[_CONTROL_PLANE] = ""
        if not node["schedulable"]:
            taints.append({"key": _CONTROL_PLANE, "effect": "NoSchedule"})
    spec: Json = {"providerID": f"simulated://{name}"}
    if node["pod_cidr"]:
        spec.update(podCIDR=node["pod_cidr"], podCIDRs=[node["pod_cidr"]])
    if node["cordoned"]:
        spec["unschedulable"] = True
        taints.append({"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"})
    if taints:
        spec["taints"] = taints
    ready = not node.get("gone") and now >= node["ready_at"]
    resources = {"cpu": "2", "memory": "4Gi", "pods": "110"}
    metadata = _metadata(name, node["created_at"], labels)
    metadata["annotations"] = dict(node["annotations"])
    conditions = [
        ("Ready", ready, "KubeletReady" if ready else "KubeletNotReady"),
        ("MemoryPressure", False, "KubeletHasSufficientMemory"),
        ("DiskPressure", False, "KubeletHasNoDiskPressure"),
        ("PIDPressure", False, "KubeletHasSufficientPID"),
    ]
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": metadata,
        "spec": spec,
        "status": {
            "addresses": [
                {"type": "InternalIP", "address": node["address"] or "127.0.0.1"},
                {"type": "Hostname", "address": name},
            ],
            "allocatable": resources,
            "capacity": resources,
            "conditions": [
                {
                    "type": kind,
                    "status": "True" if true else "False",
                    "reason": reason,
                    "message": "",
                    "lastHeartbeatTime": node["created_at"],
                    "lastTransitionTime": node["created_at"],
                }
                for kind, true, reason in conditions
            ],
            "nodeInfo": {
                "architecture": "amd64",
                "bootID": metadata["uid"],
                "containerRuntimeVersion": "simulated://1",
                "kernelVersion": "simulated",
                "kubeProxyVersion": f"v{node['version']}",
                "kubeletVersion": f"v{node['version']}",
                "machineID": "",  # many such hosts may be on one machine
                "operatingSystem": "linux",
                "osImage": "simulated",
                "systemUUID": metadata["uid"],
            },
        },
    }


def _table(kind: str, items: list[Json]) -> Json:
    columns = {"Node": ["Name", "Status", "Roles", "Age", "Version"], "Namespace": ["Name", "Status", "Age"]}
    names = columns.get(kind, ["Name", "Age"])
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {"resourceVersion": "1"},
        "columnDefinitions": [
            {
                "name": name,
                "type": "string",
                "format": "name" if name == "Name" else "",
                "description": "",
                "priority": 0,
            }
            for name in names
        ],
        "rows": [
            {
                "cells": [_cell(name, item) for name in names],
                "object": {
                    "kind": "PartialObjectMetadata",
                    "apiVersion": "meta.k8s.io/v1",
                    "metadata": item["metadata"],
                },
            }
            for item in items
        ],
    }


def _cell(column: str, item: Json) -> str:
    if column == "Name":
        return str(item["metadata"]["name"])
    if column == "Age":
        created = datetime.fromisoformat(item["metadata"]["creationTimestamp"].replace("Z", "+00:00"))
        seconds = int((datetime.now(timezone.utc) - created).total_seconds())
        return f"{seconds}s" if seconds < 120 else f"{seconds // 60}m" if seconds < 7200 else f"{seconds // 3600}h"
    if column == "Roles":
        return "control-plane" if _CONTROL_PLANE in item["metadata"]["labels"] else "<none>"
    if column == "Version":
        return str(item["status"]["nodeInfo"]["kubeletVersion"])
    if item["kind"] != "Node":
        return str(item["status"]["phase"])
    ready = next(one["status"] == "True" for one in item["status"]["conditions"] if one["type"] == "Ready")
    return ("Ready" if ready else "NotReady") + (",SchedulingDisabled" if item["spec"].get("unschedulable") else "")
