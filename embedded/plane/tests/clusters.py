# SPDX-License-Identifier: GPL-3.0-or-later
"""What tests of clusters need: bodies, and clusters that are there."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

from conftest import Api

from paletteops_plane.plane import Plane

CLUSTERS = "/v1/spectroclusters"

LAYERS = {
    "aws": ("ubuntu-aws", "kubernetes", "cni-calico", "csi-aws-ebs"),
    "vsphere": ("ubuntu-vsphere", "kubernetes", "cni-calico", "csi-vsphere-csi"),
}
CLOUD_CONFIG: dict[str, dict[str, Any]] = {
    "aws": {"region": "eu-central-1", "sshKeyName": "ops"},
    "vsphere": {
        "placement": {"datacenter": "dc1", "folder": "spectro"},
        "sshKeys": ["ssh-ed25519 AAAA"],
        "ntpServers": [],
        "staticIp": False,
        "controlPlaneEndpoint": {"type": "VIP", "host": "192.0.2.10"},
    },
}
POOL: dict[str, dict[str, Any]] = {
    "aws": {"instanceType": "m6i.large"},
    "vsphere": {
        "instanceType": {"diskGiB": 60, "memoryMiB": 8192, "numCPUs": 4},
        "placements": [
            {"cluster": "c1", "datastore": "ds1", "resourcePool": "rp", "network": {"networkName": "VM Network"}}
        ],
    },
}
ACCOUNT: dict[str, dict[str, Any]] = {
    "aws": {"credentialType": "secret", "accessKey": "AKIA", "secretKey": "s"},
    "vsphere": {"vcenterServer": "vc.example.invalid", "username": "u", "password": "p", "insecure": True},
}


def pool(cloud: str, name: str, size: int, *, control_plane: bool = False, **common: Any) -> dict[str, Any]:
    """A pool as it is sent; what is for the cloud is named in ``cloud_config``."""
    own = {**copy.deepcopy(POOL[cloud]), **common.pop("cloud_config", {})}
    label = "control-plane" if control_plane else "worker"
    return {
        "cloudConfig": own,
        "poolConfig": {"name": name, "size": size, "isControlPlane": control_plane, "labels": [label], **common},
    }


def infra(name: str = "base", cloud: str = "aws", kubernetes: str = "1.31.x", **spec: Any) -> dict[str, Any]:
    packs = [{"name": pack, **({"tag": kubernetes} if pack == "kubernetes" else {})} for pack in LAYERS[cloud]]
    template = {"type": "cluster", "cloudType": cloud, "packs": packs}
    return {"metadata": {"name": name}, "spec": {"template": template, **spec}}


def addon(name: str = "extras", content: str = "kind: Namespace", **spec: Any) -> dict[str, Any]:
    pack = {
        "name": "settings",
        "type": "manifest",
        "uid": "spectro-manifest-pack",
        "manifests": [{"name": "first", "content": content}],
    }
    template = {"type": "add-on", "cloudType": "all", "packs": [pack]}
    return {"metadata": {"name": name}, "spec": {"template": template, **spec}}


def profile(api: Api, body: dict[str, Any]) -> str:
    uid: str = api.ok("POST", "/v1/clusterprofiles?publish=true", body)["uid"]
    return uid


def account(api: Api, cloud: str = "aws", name: str = "acc", **spec: Any) -> str:
    metadata: dict[str, Any] = {"name": name}
    if cloud == "vsphere":
        gateway = api.ok("GET", "/v1/overlords")["items"][0]["metadata"]["uid"]
        metadata["annotations"] = {"overlordUid": gateway}
    body = {"metadata": metadata, "spec": {**ACCOUNT[cloud], **spec}}
    uid: str = api.ok("POST", f"/v1/cloudaccounts/{cloud}", body)["uid"]
    return uid


@dataclass
class World:
    """A project with an account and an infrastructure profile, in which clusters can be made."""

    api: Api
    plane: Plane
    cloud: str
    account: str
    infra: str

    def body(self, name: str = "shop", **spec: Any) -> dict[str, Any]:
        return {
            "metadata": {"name": name},
            "spec": {
                "cloudType": self.cloud,
                "cloudAccountUid": self.account,
                "cloudConfig": copy.deepcopy(CLOUD_CONFIG[self.cloud]),
                "machinepoolconfig": [pool(self.cloud, "cp", 1, control_plane=True), pool(self.cloud, "w", 2)],
                "profiles": [{"uid": self.infra}],
                **spec,
            },
        }

    def create(self, name: str = "shop", **spec: Any) -> str:
        uid: str = self.api.ok("POST", f"{CLUSTERS}/{self.cloud}", self.body(name, **spec))["uid"]
        return uid

    def running(self, name: str = "shop", **spec: Any) -> str:
        """The uid of a cluster that is there and healthy."""
        uid = self.create(name, **spec)
        self.settle()
        assert self.state(uid) == ("Running", "Healthy")
        return uid

    def settle(self, seconds: float = 3600) -> None:
        self.plane.clock.advance(seconds)

    def get(self, uid: str) -> dict[str, Any]:
        found: dict[str, Any] = self.api.ok("GET", f"{CLUSTERS}/{uid}")
        return found

    def config(self, uid: str) -> dict[str, Any]:
        config = self.get(uid)["spec"]["cloudConfigRef"]["uid"]
        found: dict[str, Any] = self.api.ok("GET", self.config_path(config))
        return found

    def config_path(self, config_uid: str) -> str:
        return f"/v1/cloudconfigs/{self.cloud}/{config_uid}"

    def pools_path(self, uid: str) -> str:
        return self.config_path(self.get(uid)["spec"]["cloudConfigRef"]["uid"]) + "/machinePools"

    def machines(self, uid: str, pool: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.api.ok("GET", f"{self.pools_path(uid)}/{pool}/machines")["items"]
        return found

    def state(self, uid: str) -> tuple[str, str]:
        """State and health as the plane has them by now."""
        state: str = self.get(uid)["status"]["state"]
        stored = self.plane.store.get("cluster", uid)
        assert stored is not None
        return state, stored.body.get("_health", {}).get("state", "")

    def condition(self, uid: str, kind: str) -> dict[str, Any]:
        return next(item for item in self.get(uid)["status"]["conditions"] if item["type"] == kind)

    def reasons(self, uid: str) -> list[str]:
        """What events give as their reasons, newest first."""
        found: list[str] = []
        mark = ""
        while True:
            path = f"/v1/events/components/spectrocluster/{uid}?continue={mark}"
            answer = self.api.ok("GET", path)
            found += [event["reason"] for event in answer["items"]]
            mark = answer["listmeta"]["continue"]
            if not mark:
                return found


def world(api: Api, plane: Plane, cloud: str = "aws") -> World:
    return World(api, plane, cloud, account(api, cloud), profile(api, infra(cloud=cloud)))
