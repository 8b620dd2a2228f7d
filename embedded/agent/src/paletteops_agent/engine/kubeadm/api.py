# SPDX-License-Identifier: GPL-3.0-or-later
"""A small client of the Kubernetes API: JSON over TLS with a client certificate that lies on the host anyway.

On a control-plane host it speaks to the host's own API server, so that what it says about health is about this host
and an endpoint that is away does not matter. On a worker it has the kubelet's rights, that is its own Node.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from . import files
from .layout import ADMIN_CONF, ADMIN_PEM, KUBELET_CLIENT, PKI_DIR

Json = dict[str, Any]
STRATEGIC = "application/strategic-merge-patch+json"
MERGE = "application/merge-patch+json"


class ApiError(Exception):
    """An answer that is no success (``status``), or no answer at all (``status`` 0)."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message

    @property
    def passing(self) -> bool:
        """Whether it is about the server, which is away, starting or overloaded, and not about the request."""
        return self.status in (0, 429) or self.status >= 500


@dataclass(frozen=True)
class Api:
    host: str
    port: int
    ca: Path
    cert: Path
    key: Path
    timeout: float = 10.0
    # puts the certificate in its place
    provide: Callable[[], None] | None = None

    def request(
        self,
        method: str,
        path: str,
        body: Json | None = None,
        *,
        content_type: str = "application/json",
        timeout: float | None = None,
    ) -> Json:
        text = self.text(method, path, body, content_type=content_type, timeout=timeout)
        try:
            value = json.loads(text)
        except ValueError as error:
            raise ApiError(0, "NoJSON", f"{method} {path}: the answer is not JSON") from error
        return value if isinstance(value, dict) else {}

    def text(
        self,
        method: str,
        path: str,
        body: Json | None = None,
        *,
        content_type: str = "application/json",
        timeout: float | None = None,
    ) -> str:
        """The answer. An API server that has just started knows nobody's rights, and forbids before it is ready: that
        counts as no answer.
        """
        try:
            return self._text(method, path, body, content_type, timeout)
        except ApiError as error:
            if error.status != 403:
                raise
            if not self.ready():
                raise ApiError(0, "Starting", f"the API server is not ready yet: {error.message}") from error
        return self._text(method, path, body, content_type, timeout)  # it has got ready meanwhile, or it means it

    def _text(self, method: str, path: str, body: Json | None, content_type: str, timeout: float | None) -> str:
        connection: http.client.HTTPSConnection | None = None
        try:
            # files are read anew each time: they are renewed while the process lives
            if self.provide:
                self.provide()
            context = ssl.create_default_context(cafile=str(self.ca))
            context.load_cert_chain(str(self.cert), str(self.key))
            connection = http.client.HTTPSConnection(
                self.host, self.port, timeout=timeout or self.timeout, context=context
            )
            data = json.dumps(body).encode() if body is not None else None
            headers = {"Accept": "application/json"}
            if data is not None:
                headers["Content-Type"] = content_type
            connection.request(method, path, body=data, headers=headers)
            answer = connection.getresponse()
            text = answer.read().decode("utf-8", "replace")
        except (OSError, http.client.HTTPException) as error:
            raise ApiError(0, "NoAnswer", f"{self.host}:{self.port}: {error or type(error).__name__}") from error
        finally:
            if connection is not None:
                connection.close()
        if answer.status >= 400:
            reason, message = str(answer.status), text.strip()[:500]
            with contextlib.suppress(ValueError):
                status = json.loads(text)
                if isinstance(status, dict):
                    reason, message = str(status.get("reason") or reason), str(status.get("message") or message)
            raise ApiError(answer.status, reason, message)
        return text

    def find(self, path: str) -> Json | None:
        """The object, or None when it does not exist."""
        try:
            return self.request("GET", path)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def ready(self, timeout: float = 3.0) -> bool:
        try:
            return self._text("GET", "/readyz", None, "", timeout).strip() == "ok"
        except ApiError:
            return False

    def node(self, name: str) -> Json | None:
        return self.find(f"/api/v1/nodes/{quote(name)}")

    def nodes(self) -> list[Json]:
        return list(self.request("GET", "/api/v1/nodes").get("items") or [])


def control_plane_api(address: str, port: int, timeout: float = 10.0) -> Api:
    """This host's own API server, as kubeadm's administrator."""
    return Api(address, port, PKI_DIR / "ca.crt", ADMIN_PEM, ADMIN_PEM, timeout, provide_admin)


def provide_admin() -> None:
    """The administrator's certificate and key out of kubeadm's kubeconfig, for a library that reads files only.

    They lie in memory (``/run``), readable by root alone. OSError when the host has no such kubeconfig.
    """
    text = ADMIN_CONF.read_text(encoding="utf-8")
    found = [re.search(rf"(?m)^\s*client-{part}-data:\s*(\S+)", text) for part in ("certificate", "key")]
    pem = "".join(base64.b64decode(match.group(1)).decode() for match in found if match)
    files.private_dir(ADMIN_PEM.parent)
    files.write(ADMIN_PEM, pem, 0o600)


def kubelet_api(endpoint: str, port: int, timeout: float = 10.0) -> Api:
    """The cluster's endpoint, as this host's kubelet."""
    return Api(endpoint, port, PKI_DIR / "ca.crt", KUBELET_CLIENT, KUBELET_CLIENT, timeout)


def node_ready(node: Json) -> bool:
    for condition in (node.get("status") or {}).get("conditions") or []:
        if condition.get("type") == "Ready":
            return bool(condition.get("status") == "True")
    return False
