# SPDX-License-Identifier: GPL-3.0-or-later
"""Agents as tests play them: they register and call with the credential that they got."""

from __future__ import annotations

from typing import Any

import httpx
from conftest import Api, InProcess

REGISTER = "/v1/edgehosts/register"


def make_token(tenant: Api, project: str = "", name: str = "t", **spec: Any) -> tuple[str, str]:
    """A registration token: its uid and itself."""
    if project:
        spec["defaultProjectUid"] = project
    uid = tenant.ok("POST", "/v1/edgehosts/tokens", {"metadata": {"name": name}, "spec": spec})["uid"]
    return uid, tenant.ok("GET", f"/v1/edgehosts/tokens/{uid}")["spec"]["token"]


def device(uid: str, **host: Any) -> dict[str, Any]:
    """What an agent sends to register."""
    number = sum(uid.encode()) % 250 + 1
    return {
        "metadata": {"name": f"name-of-{uid}", "uid": uid, "labels": {"site": "north"}},
        "spec": {
            "type": "edge-native",
            "device": {"archType": "amd64", "hostType": "agent-mode", "cpu": {"cores": 4}},
            "host": {"hostUid": uid, "hostAddress": f"192.0.2.{number}", "macAddress": "02:00:00:00:00:01", **host},
        },
        "status": {"health": {"agentVersion": "1.0.0"}},
    }


class Agent:
    """One host."""

    def __init__(self, client: InProcess, uid: str, token: str = "", claim: str = "") -> None:
        self.client = client
        self.uid = uid
        self.token = token
        self.claim = claim or f"claim-of-{uid.encode().hex()}"
        self.credential = ""

    def register(self, body: dict[str, Any] | None = None, **headers: str) -> httpx.Response:
        sent = {"EdgeHostToken": self.token, "EdgeHostClaim": self.claim, **headers}
        response = self.client.request("POST", REGISTER, headers=sent, json=body or device(self.uid))
        if response.status_code == 200:
            self.credential = response.json()["spec"]["host"]["hostAuthToken"]
        return response

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"EdgeHost {self.uid}:{self.credential}"}

    def call(self, method: str, path: str, body: Any = None, **options: Any) -> httpx.Response:
        headers = {**self.headers, **options.pop("headers", {})}
        if body is not None:
            options["json"] = body
        return self.client.request(method, path, headers=headers, **options)

    def v1(self, method: str, part: str, body: Any = None, **options: Any) -> httpx.Response:
        """A call at the host's own record in the management API."""
        return self.call(method, f"/v1/edgehosts/{self.uid}{part}", body, **options)

    def own(self, method: str, part: str, body: Any = None, **options: Any) -> httpx.Response:
        """A call under ``/embedded/v1/hosts/UID/``."""
        return self.call(method, f"/embedded/v1/hosts/{self.uid}/{part}", body, **options)

    def beat(self, **health: Any) -> None:
        response = self.v1("PATCH", "/health", {"state": "healthy", "agentVersion": "1.0.0", **health})
        assert response.status_code == 204, response.text

    def report(self, **observed: Any) -> None:
        response = self.own("PUT", "observed", {"phase": "idle", **observed})
        assert response.status_code == 204, response.text

    def desired(self, known: str = "") -> dict[str, Any]:
        response = self.own("GET", f"desired?known={known}")
        assert response.status_code == 200, response.text
        state: dict[str, Any] = response.json()
        return state

    def follow(self) -> dict[str, Any]:
        """Do at once what is desired, report it, and give the desired state that was followed."""
        state = self.desired()
        cluster = state["cluster"]
        if cluster is None or cluster["step"] == "leave":
            self.report(generation=state["generation"], reset_done=state["reset"])
            return state
        kubernetes = cluster["kubernetes"]
        done: dict[str, Any] = {"generation": state["generation"], "cluster_uid": cluster["uid"]}
        versions = filter(None, (kubernetes["version"], kubernetes["next_version"]))
        done["content"] = [{"pack": kubernetes["pack"], "version": version} for version in versions]
        done["fetches_ahead"] = True
        if cluster["step"] == "prepare":
            self.report(phase="prepared", **done)
            return state
        if cluster["step"] == "join":
            assert self.own("GET", "join").status_code == 200
        if cluster["member"]["control_plane"]:
            content = kubeconfig(f"https://{cluster['endpoint']['host']}:6443")
            assert self.own("PUT", "kubeconfig", {"content": content}).status_code == 204
        for task in cluster["tasks"]:
            if task["kind"] == "admit":
                response = self.own("PUT", f"join/{task['member_uid']}", MATERIAL)
                assert response.status_code == 204, response.text
        node = {
            "name": cluster["member"]["node_name"],
            "ready": True,
            "cordoned": False,
            "kubernetes_version": kubernetes["version"],
            "pod_cidr": None,
        }
        packs = [{key: pack[key] for key in ("profile_uid", "name", "digest")} for pack in cluster["packs"]]
        self.report(
            phase="running",
            node=node,
            tasks={task["id"]: {"state": "done"} for task in cluster["tasks"]},
            packs=[{**pack, "state": "Ready"} for pack in packs],
            etcd={"healthy": True, "members": 1} if cluster["member"]["control_plane"] else None,
            **done,
        )
        return state


def kubeconfig(server: str) -> str:
    """A kubeconfig as kubeadm writes it."""
    return f"""apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: Y2E=
    server: {server}
  name: shop
contexts:
- context:
    cluster: shop
    user: kubernetes-admin
  name: kubernetes-admin@shop
current-context: kubernetes-admin@shop
kind: Config
preferences: {{}}
users:
- name: kubernetes-admin
  user:
    client-certificate-data: Y2VydA==
    client-key-data: a2V5
"""


#: Join material that holds for longer than any test.
MATERIAL = {
    "endpoint": "192.0.2.100:6443",
    "token": "abcdef.0123456789abcdef",
    "ca_cert_hashes": ["sha256:" + "0" * 64],
    "certificate_key": None,
    "expires_at": "2030-01-01T00:00:00Z",
}
