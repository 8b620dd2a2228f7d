# SPDX-License-Identifier: GPL-3.0-or-later
"""Edge hosts for tests: registered over HTTP as an agent does it, and a thread that reports what the plane asks for.

The hosts do nothing; they say at once that all is done. What real agents do is tested with the embedded agent.
"""

from __future__ import annotations

import contextlib
import dataclasses
import secrets
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Self

import httpx

from support.plane import RunningPlane
from support.project import Project
from support.runs import Api
from support.specs import Subject
from support.traffic import TEST_AGENT

#: Seconds between two looks of all hosts at what they are to do.
LOOK = 0.1


def make_token(tenant: Api, name: str, project_uid: str = "") -> str:
    """A registration token for a year; returns its secret value."""
    ends = (datetime.now(UTC) + timedelta(days=365)).strftime("%Y-%m-%dT%H:%M:%SZ")
    spec = {"expiry": ends, "defaultProjectUid": project_uid}
    uid = tenant.call("POST", "/v1/edgehosts/tokens", {"metadata": {"name": name}, "spec": spec})["uid"]
    secret: str = tenant.get(f"/v1/edgehosts/tokens/{uid}")["spec"]["token"]
    return secret


@dataclasses.dataclass
class Host:
    """A host and the credential that registration gave it."""

    uid: str
    client: httpx.Client
    known: str = ""
    observed: dict[str, Any] = dataclasses.field(default_factory=dict)
    kubeconfig_of: str = ""

    def heartbeat(self, state: str = "healthy", message: str = "") -> None:
        body = {"state": state, "message": message, "agentVersion": "4.8.5"}
        self.client.patch(f"/v1/edgehosts/{self.uid}/health", json=body).raise_for_status()


def register(
    plane: RunningPlane,
    token: str,
    uid: str,
    *,
    name: str = "",
    tags: Mapping[str, str] | None = None,
    architecture: str = "amd64",
    host_type: str = "agent-mode",
    address: str = "",
    project_uid: str = "",
    pairing_key: str = "",
) -> Host:
    """Registers a host and sends its first heartbeat."""
    number = secrets.randbelow(200) + 1
    address = address or f"192.0.2.{number}"
    host = {"hostAddress": address, "hostUid": uid, "macAddress": f"02:00:00:00:00:{number:02x}"}
    body = {
        "metadata": {"name": name or uid, "uid": uid, "labels": dict(tags or {})},
        "spec": {
            "type": "edge-native",
            "device": {
                "archType": architecture,
                "hostType": host_type,
                "hostState": "registration",
                "cpu": {"cores": 4},
                "memory": {"sizeInMB": 8192},
                "os": {"family": "debian", "version": "13"},
                "nics": [{"nicName": "eth0", "ip": address, "isDefault": True}],
            },
            "host": {**host, **({"hostPairingKey": pairing_key} if pairing_key else {})},
        },
        "status": {"health": {"agentVersion": "4.8.5"}},
    }
    headers = {"EdgeHostToken": token, "EdgeHostClaim": secrets.token_hex(16), "User-Agent": TEST_AGENT}
    if project_uid:
        headers["ProjectUid"] = project_uid
    client = plane.anonymous({"User-Agent": TEST_AGENT})
    answer = client.post("/v1/edgehosts/register", json=body, headers=headers)
    assert answer.status_code == 200, f"{uid}: {answer.status_code} {answer.text[:300]}"
    client.headers["Authorization"] = f"EdgeHost {uid}:{answer.json()['spec']['host']['hostAuthToken']}"
    made = Host(uid, client)
    made.heartbeat()
    return made


class Fleet:
    """Hosts that report at once whatever the plane asks of them, from a thread of its own while the block lasts."""

    def __init__(self, hosts: Iterable[Host] = ()) -> None:
        self.hosts = list(hosts)
        self.silent: set[str] = set()  #: uids of hosts that do not answer
        self.errors: list[str] = []
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._end.set()
        self._thread.join(30)
        for host in self.hosts:
            host.client.close()

    def _run(self) -> None:
        while not self._end.wait(LOOK):
            for host in list(self.hosts):
                if host.uid not in self.silent:
                    try:
                        self.look(host)
                    except (httpx.HTTPError, KeyError) as error:
                        self.errors.append(f"{host.uid}: {type(error).__name__}: {error}")

    def look(self, host: Host) -> None:
        """One look of a host at its desired state, and its report where that has changed."""
        path = f"/embedded/v1/hosts/{host.uid}"
        answer = host.client.get(f"{path}/desired", params={"known": host.known, "wait": 0})
        if answer.status_code == 401:  # its record was deleted
            self.hosts.remove(host)
            return
        answer.raise_for_status()
        if answer.status_code != 200:
            return
        desired = answer.json()
        observed = self.reported(host, desired, path)
        if observed is None:
            return
        host.observed = observed
        host.client.put(f"{path}/observed", json=observed).raise_for_status()
        host.known = desired["generation"]

    def reported(self, host: Host, desired: dict[str, Any], path: str) -> dict[str, Any] | None:
        """What the host says of this desired state; None where it must wait for another host."""
        observed: dict[str, Any] = {
            "generation": desired["generation"],
            "cluster_uid": None,
            "phase": "idle",
            "step": "",
            "error": None,
            "node": None,
            "tasks": {},
            "certificates": [],
            "etcd": None,
            "content": [],
            "packs": [],
            "reset_done": desired.get("reset") or host.observed.get("reset_done"),
            "boot_id": "0f0f0f0f",
        }
        cluster = desired.get("cluster")
        if not cluster or cluster["step"] == "leave":
            return observed
        kubernetes, member = cluster["kubernetes"], cluster["member"]
        observed["cluster_uid"] = cluster["uid"]
        observed["content"] = [{"pack": kubernetes["pack"], "version": kubernetes["version"]}]
        if cluster["step"] == "prepare":
            return {**observed, "phase": "prepared"}
        if cluster["step"] == "join" and host.observed.get("phase") != "running":
            answer = host.client.get(f"{path}/join")
            if answer.status_code == 404:
                return None
            answer.raise_for_status()
        observed["phase"] = "running"
        observed["node"] = {
            "name": member["node_name"],
            "ready": True,
            "cordoned": False,
            "kubernetes_version": kubernetes["version"],
            "pod_cidr": "10.244.1.0/24",
        }
        ends = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 600))
        for task in cluster.get("tasks") or []:
            if task["kind"] == "admit":
                material = {
                    "endpoint": "192.0.2.254:6443",
                    "token": "abcdef.0123456789abcdef",
                    "ca_cert_hashes": ["sha256:" + "0" * 64],
                    "certificate_key": "0" * 64 if task.get("control_plane") else None,
                    "expires_at": ends,
                }
                host.client.put(f"{path}/join/{task['member_uid']}", json=material).raise_for_status()
            observed["tasks"][task["id"]] = {"state": "done", "message": ""}
        if member["control_plane"]:
            observed["etcd"] = {"healthy": True, "members": 1}
        if cluster.get("lead"):
            observed["packs"] = [
                {key: pack[key] for key in ("profile_uid", "name", "digest")} | {"state": "Ready", "message": ""}
                for pack in cluster.get("packs") or []
            ]
            if host.kubeconfig_of != cluster["uid"]:
                content = "apiVersion: v1\nkind: Config\nclusters: []\ncontexts: []\nusers: []\n"
                host.client.put(f"{path}/kubeconfig", json={"content": content}).raise_for_status()
                host.kubeconfig_of = cluster["uid"]
        return observed


@contextlib.contextmanager
def hosts_for(project: Project, subject: Subject, names: Iterable[str]) -> Iterator[Fleet | None]:
    """The hosts that objects of a subject need, each its own, for the length of the block."""
    if not subject.hosts:
        yield None
        return
    token = make_token(project.tenant, project.name, project.uid)
    made = [
        register(project.plane, token, f"{name}-{suffix}", address=f"192.0.2.{61 + number}")
        for name in names
        for number, suffix in enumerate(subject.hosts)
    ]
    with Fleet(made) as fleet:
        yield fleet


def until(condition: Any, seconds: float = 30.0) -> None:
    """Waits until the condition holds; fails when it does not come to that."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        with contextlib.suppress(InterruptedError):
            time.sleep(0.05)
