# SPDX-License-Identifier: GPL-3.0-or-later
"""What several tests need: hosts in folders, waiting, and a small plane that does as a test says."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeVar

from paletteops_agent.config import Configuration
from paletteops_agent.paths import Paths
from paletteops_agent.service import Agent
from paletteops_agent.userdata import parse

Json = dict[str, Any]
Found = TypeVar("Found")


def until(look: Callable[[], Found], seconds: float = 20.0, what: Any = "") -> Found:
    """What ``look`` returns, as soon as it is true."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:.0f} s: {what or look}; the last was {found!r}")
        time.sleep(0.02)


def user_data(endpoint: str, token: str = "token", uid: str = "host-1", **site: Any) -> str:
    content = {
        "managementMode": "central",
        "site": {"paletteEndpoint": endpoint, "edgeHostToken": token, "name": uid, "hostName": uid, **site},
    }
    return "#cloud-config\n" + json.dumps({"stylus": content})


def simulated(folder: Path, speed: float = 1000.0, **options: Any) -> Configuration:
    return Configuration("simulated", options={"speed": speed, "directory": str(folder / "world"), **options})


class RunningAgent:
    """An agent in this process, with its threads."""

    def __init__(self, root: Path, text: str, configuration: Configuration, **more: Any) -> None:
        self.agent = Agent(Paths(root), parse(text), configuration, durable=False, **more)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self.agent.run, args=(self._stop,), daemon=True)

    def __enter__(self) -> RunningAgent:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(15)
        assert not self._thread.is_alive()


def desired(generation: str = "g1", step: str = "", **parts: Any) -> Json:
    """A desired state; without a step, of a host that is to be in no cluster."""
    content: Json = {"generation": generation, "reset": parts.pop("reset", None), "logs": parts.pop("logs", None)}
    if not step:
        return {**content, "cluster": None}
    uid = parts.pop("uid", "host-1")
    cluster: Json = {
        "uid": "cluster-1",
        "name": "shop",
        "lead": False,
        "step": step,
        "member": {"uid": uid, "node_name": uid, "control_plane": True, "schedulable": True, "address": "192.0.2.11"},
        "endpoint": {"host": "192.0.2.10", "port": 6443, "type": "VIP"},
        "kubernetes": {
            "pack": "edge-k8s",
            "version": parts.pop("version", "1.35.4"),
            "pod_cidr": "10.244.0.0/16",
            "service_cidr": "10.96.0.0/12",
            "kubeadm_override": "",
        },
        "network": {"pack": "cni-bridge", "version": "1.9.1", "manifests": []},
        "peers": [],
        "packs": [],
        "tasks": [],
        "ntp_servers": [],
        "ssh_keys": [],
    }
    cluster["member"].update(parts.pop("member", {}))
    return {**content, "cluster": {**cluster, **parts}}


class FakePlane:
    """A real HTTP server that answers as a plane would, and badly where a test asks for it.

    It is no plane: it only keeps what agents send. ``say`` sets the desired state; ``answers`` is asked first and may
    answer anything: a function of (method, path, headers, body) that returns (status, headers, body) or None.
    """

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, Json, Any]] = []
        self.answers: Callable[[str, str, Json, Any], tuple[int, Json, bytes] | None] = lambda *_: None
        self.observed: Json = {}
        self.events: list[Json] = []
        self.material: Json | None = None
        self.handed_over: dict[str, Json] = {}
        self.kubeconfig = ""
        self.config: Json = {"tunnelConfig": {"remoteSsh": "disabled"}, "clusterUids": []}
        self.heartbeats: list[Json] = []
        self.registrations = 0
        self.content: bytes | None = None
        self._desired = desired("g0")
        self._changed = threading.Condition()
        plane = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: Any) -> None:
                pass

            def do(self) -> None:
                size = int(self.headers.get("Content-Length") or 0)
                raw = self.rfile.read(size)
                if len(raw) < size:  # whoever sent it was killed on the way: nothing was said
                    self.close_connection = True
                    return
                is_json = self.headers.get("Content-Type") == "application/json"
                body = json.loads(raw) if raw and is_json else raw
                headers = {name.lower(): value for name, value in self.headers.items()}
                plane.requests.append((self.command, self.path, headers, body))
                status, more, content = plane.answers(self.command, self.path, headers, body) or plane.answer(
                    self.command, self.path, headers, body
                )
                self.send_response(status)
                more = {"Content-Length": str(len(content)), **more}
                for name, value in more.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)
                if more.get("Connection") == "close":
                    self.close_connection = True

            do_GET = do_POST = do_PUT = do_PATCH = do

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            allow_reuse_address = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                pass

        self._make = lambda port: Server(("127.0.0.1", port), Handler)
        self._server: ThreadingHTTPServer = self._make(0)
        self.port = int(self._server.server_address[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self._serve()

    def _serve(self) -> None:
        server = self._server
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        with self._changed:
            self._changed.notify_all()

    def again(self) -> None:
        """Come back on the same port after ``close``."""
        self._server = self._make(self.port)
        self._serve()

    def say(self, content: Json) -> None:
        with self._changed:
            self._desired = content
            self._changed.notify_all()

    def of(self, method: str, part: str) -> list[tuple[str, str, Json, Any]]:
        return [one for one in self.requests if one[0] == method and part in one[1]]

    def answer(self, method: str, path: str, headers: Json, body: Any) -> tuple[int, Json, bytes]:
        plain, _, query = path.partition("?")
        if plain == "/v1/edgehosts/register":
            self.registrations += 1
            body["spec"]["host"]["hostAuthToken"] = f"credential-{self.registrations}"
            return 200, {}, json.dumps(body).encode()
        if plain.endswith("/desired"):
            known = query.partition("known=")[2].partition("&")[0]
            with self._changed:
                self._changed.wait_for(lambda: self._desired["generation"] != known, 5.0)
                if self._desired["generation"] == known:
                    return 204, {}, b""
                return 200, {}, json.dumps(self._desired).encode()
        if plain.endswith("/observed"):
            self.observed = body
        elif plain.endswith("/events"):
            self.events += body
        elif plain.endswith("/health"):
            self.heartbeats.append(body)
        elif plain.endswith("/config"):
            return 200, {}, json.dumps(self.config).encode()
        elif plain.endswith("/spc/download"):
            return 200, {}, b"the definition"
        elif plain.endswith("/kubeconfig"):
            self.kubeconfig = body["content"]
        elif plain.endswith("/join") and method == "GET":
            material, self.material = self.material, None
            if material is None:
                return refusal(404, "ResourceNotFound", "no join material")
            return 200, {}, json.dumps(material).encode()
        elif "/join/" in plain:
            self.handed_over[plain.rpartition("/")[2]] = body
        return 204, {}, b""


def refusal(status: int, code: str, message: str = "no", **headers: str) -> tuple[int, Json, bytes]:
    return status, headers, json.dumps({"code": code, "message": message, "details": {}, "ref": "1"}).encode()
