# SPDX-License-Identifier: GPL-3.0-or-later
"""What an API server says that has just started, and what becomes of it."""

from __future__ import annotations

import json
import re
import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from paletteops_agent.engine import Cluster, Endpoint, EngineError, Member
from paletteops_agent.engine.kubeadm import engine
from paletteops_agent.engine.kubeadm.api import Api, ApiError

FORBIDDEN = 'nodes "h1" is forbidden: User "kubernetes-admin" cannot get resource "nodes"'
CLUSTER = Cluster("c", "shop", Endpoint("192.0.2.10"), "edge-k8s", "1.36.3", "10.244.0.0/16", "10.96.0.0/12")
MEMBER = Member("h1", "h1", True, "192.0.2.11", labels={"a": "1"})


class ApiServer:
    """Answers over TLS. It forbids everything, whether it is ready as well, for as many requests as a test says."""

    def __init__(self, folder: Path) -> None:
        self.pem = folder / "api.pem"
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        command += ["-days", "2", "-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1"]
        command += ["-keyout", str(folder / "key"), "-out", str(folder / "certificate")]
        subprocess.run(command, check=True, capture_output=True)
        self.pem.write_bytes((folder / "key").read_bytes() + (folder / "certificate").read_bytes())
        #: requests that are forbidden, and those after which it is ready; one that is ready may still forbid
        self.forbids = self.starts = 0
        self.requests: list[str] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, format: str, *args: Any) -> None:
                pass

            def do(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                status, content = server.answer(self.command, self.path)
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_PATCH = do

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.pem)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        self.api = Api("127.0.0.1", int(self._server.server_address[1]), self.pem, self.pem, self.pem)

    def answer(self, method: str, path: str) -> tuple[int, bytes]:
        self.requests.append(f"{method} {path}")
        if len(self.requests) <= self.forbids and (path != "/readyz" or len(self.requests) <= self.starts):
            return 403, json.dumps({"kind": "Status", "reason": "Forbidden", "message": FORBIDDEN}).encode()
        return 200, b"ok" if path == "/readyz" else b'{"metadata": {"name": "h1", "resourceVersion": "1"}}'

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ApiServer]:
    found = ApiServer(tmp_path)
    yield found
    found.close()


def test_what_is_forbidden_before_the_api_server_is_ready_is_no_answer(server: ApiServer) -> None:
    server.forbids = server.starts = 2
    with pytest.raises(ApiError, match="is not ready yet: nodes") as caught:
        server.api.node("h1")
    assert caught.value.status == 0
    assert server.api.node("h1")


def test_an_api_server_that_got_ready_meanwhile_is_asked_again(server: ApiServer) -> None:
    server.forbids = server.starts = 1
    assert server.api.node("h1")


def test_one_that_is_ready_and_forbids_means_it(server: ApiServer) -> None:
    server.forbids = 100
    with pytest.raises(ApiError, match="is forbidden") as caught:
        server.api.node("h1")
    assert caught.value.status == 403


@pytest.fixture
def here(tmp_path: Path, server: ApiServer, monkeypatch: pytest.MonkeyPatch) -> engine.KubeadmEngine:
    """An engine on a control-plane host whose API server is this one, with a kubectl of the test's."""
    found = engine.KubeadmEngine(tmp_path)
    found._keep(
        {"phase": "in", "cluster_uid": "c", "node_name": "h1", "control_plane": True, "address": "x", "bind_port": 1}
    )
    monkeypatch.setattr(found, "_api", lambda journal, timeout=10.0: server.api)
    return found


def kubectl(here: engine.KubeadmEngine, script: str) -> None:
    here.layout.bin.mkdir(parents=True)
    program = here.layout.bin / "kubectl"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def test_a_host_is_not_wrong_while_its_api_server_starts(here: engine.KubeadmEngine, server: ApiServer) -> None:
    server.forbids = server.starts = 2
    assert here._sync_nodes(CLUSTER, MEMBER) == []
    assert here._sync_nodes(CLUSTER, MEMBER) == []
    assert server.requests[-1] == "PATCH /api/v1/nodes/h1", "the next time does it"
    server.forbids, server.starts = 100, 0
    assert here._sync_nodes(CLUSTER, MEMBER) == [f"node h1: {FORBIDDEN}"]


def test_a_drain_waits_for_an_api_server_that_starts(here: engine.KubeadmEngine, server: ApiServer) -> None:
    kubectl(here, 'echo "$@" > "$HOME/asked"')
    server.forbids = server.starts = 4
    here.drain("h1", 300)
    assert " drain h1 " in (here.layout.state / "kubectl/asked").read_text()


def test_a_drain_that_its_time_was_too_short_for(here: engine.KubeadmEngine, server: ApiServer) -> None:
    server.forbids = server.starts = 1000
    with pytest.raises(EngineError, match="h1 was not drained within 1 s: the API server is not ready yet") as caught:
        here.drain("h1", 1)
    assert caught.value.reason == "DrainFailed"
    server.forbids = 0
    kubectl(here, "sleep 1; echo 'global timeout reached: 1s' >&2; exit 1")
    with pytest.raises(EngineError, match="h1 was not drained within 1 s: global timeout reached"):
        here.drain("h1", 1)


def test_a_drain_that_fails_before_its_time_says_why(here: engine.KubeadmEngine, server: ApiServer) -> None:
    kubectl(here, "echo 'cannot delete pods' >&2; exit 1")
    with pytest.raises(EngineError, match="h1 was not drained: cannot delete pods"):
        here.drain("h1", 300)
    server.forbids = 1000
    with pytest.raises(EngineError, match=re.escape(f"h1 was not drained: {FORBIDDEN}")):
        here.drain("h1", 300)


def test_a_node_that_is_not_there_is_drained(here: engine.KubeadmEngine) -> None:
    kubectl(here, """echo 'Error from server (NotFound): nodes "h1" not found' >&2; exit 1""")
    here.drain("h1", 300)
