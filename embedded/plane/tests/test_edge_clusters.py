# SPDX-License-Identifier: GPL-3.0-or-later
"""Clusters on hosts by the API, with agents that do as they are told: rules one by one, and the way through."""

from __future__ import annotations

import copy
import gzip
import io
import json
import tarfile
from dataclasses import dataclass, field
from typing import Any

import pytest
from agents import Agent, device, kubeconfig, make_token
from clusters import CLUSTERS, addon, profile
from conftest import NOW, Api, InProcess

from paletteops_plane.app import create_app
from paletteops_plane.plane import Plane, Settings

CREATE = f"{CLUSTERS}/edge-native"
OLD, NEW = "1.35.4", "1.36.3"
MANIFEST = {"name": "first", "content": "kind: Namespace"}


def infra(name: str = "edge", version: str = "1.0.0", kubernetes: str = OLD, **values: str) -> dict[str, Any]:
    """An infrastructure profile; ``values`` by layer."""
    packs = [
        {"name": "edge-native-byoi", "values": values.get("os", "")},
        {"name": "edge-k8s", "tag": kubernetes, "values": values.get("k8s", "")},
        {"name": values.get("network", "cni-bridge")},
    ]
    template = {"type": "infra", "cloudType": "edge-native", "packs": packs}
    return {"metadata": {"name": name}, "spec": {"version": version, "template": template}}


def ranges(pods: str, services: str) -> str:
    networking = {"podSubnet": pods, "serviceSubnet": services}
    return json.dumps({"cluster": {"config": {"clusterConfiguration": {"networking": networking}}}})


def pool(name: str, *hosts: str | dict[str, Any], control_plane: bool = False, **common: Any) -> dict[str, Any]:
    entries = [{"hostUid": host} if isinstance(host, str) else host for host in hosts]
    label = "control-plane" if control_plane else "worker"
    head = {"name": name, "size": len(entries), "isControlPlane": control_plane, "labels": [label]}
    return {"cloudConfig": {"edgeHosts": entries}, "poolConfig": {**head, **common}}


@dataclass
class Site:
    """A project with hosts."""

    tenant: Api
    api: Api
    plane: Plane
    token: str
    agents: dict[str, Agent] = field(default_factory=dict)

    def host(self, uid: str, address: str = "", project: str = "", **parts: Any) -> Agent:
        """Register a host that is healthy; ``parts`` are of its device."""
        agent = Agent(self.api.client, uid, self.token)
        body = device(uid, **({"hostAddress": address} if address else {}))
        body["metadata"]["name"] = uid
        body["spec"]["device"] |= parts
        response = agent.register(body, **({"ProjectUid": project} if project else {}))
        assert response.status_code == 200, response.text
        agent.beat()
        agent.report()
        self.agents[uid] = agent
        return agent

    def hosts(self, *uids: str) -> None:
        for number, uid in enumerate(uids, len(self.agents) + 1):
            self.host(uid, f"192.0.2.{10 + number}")

    def body(self, *pools: dict[str, Any], name: str = "shop", profiles: Any = None, **config: Any) -> dict[str, Any]:
        cloud = {"controlPlaneEndpoint": {"type": "VIP", "host": "192.0.2.200"}, **config}
        uids = profiles or [self.profile()]
        return {
            "metadata": {"name": name},
            "spec": {
                "cloudConfig": cloud,
                "machinepoolconfig": list(pools),
                "profiles": [item if isinstance(item, dict) else {"uid": item} for item in uids],
            },
        }

    def profile(self, body: dict[str, Any] | None = None) -> str:
        sent = body or infra()
        found = self.api.ok("GET", "/v1/dashboard/clusterprofiles/metadata")["items"]
        for item in found:
            named = item["metadata"]["name"], item["spec"]["version"]
            if named == (sent["metadata"]["name"], sent["spec"].get("version", "1.0.0")):
                uid: str = item["metadata"]["uid"]
                return uid
        return profile(self.api, sent)

    def create(self, *pools: dict[str, Any], **options: Any) -> str:
        uid: str = self.api.ok("POST", CREATE, self.body(*pools, **options))["uid"]
        return uid

    def settle(self, *but: str, rounds: int = 12) -> None:
        """Let every host do as it is told, but those."""
        for _ in range(rounds):
            for uid, agent in self.agents.items():
                if uid not in but:
                    agent.follow()

    def running(self, *pools: dict[str, Any], **options: Any) -> str:
        uid = self.create(*pools, **options)
        self.settle()
        assert self.state(uid) == ("Running", "Healthy")
        return uid

    def get(self, uid: str) -> dict[str, Any]:
        found: dict[str, Any] = self.api.ok("GET", f"{CLUSTERS}/{uid}")
        return found

    def state(self, uid: str) -> tuple[str, str]:
        health = self.api.ok("GET", f"/v1/dashboard/spectroclusters/{uid}/overview")["status"].get("health", {})
        return self.get(uid)["status"]["state"], health.get("state", "")

    def config_path(self, uid: str) -> str:
        return f"/v1/cloudconfigs/edge-native/{self.get(uid)['spec']['cloudConfigRef']['uid']}"

    def pools(self, uid: str) -> dict[str, list[str]]:
        """The hosts of each pool."""
        found = self.api.ok("GET", self.config_path(uid))["spec"]["machinePoolConfig"]
        return {item["name"]: [host["hostUid"] for host in item["hosts"]] for item in found}

    def machines(self, uid: str, pool: str) -> dict[str, dict[str, Any]]:
        """The machines of a pool by the uid of their host."""
        found = self.api.ok("GET", f"{self.config_path(uid)}/machinePools/{pool}/machines")["items"]
        return {item["spec"]["edgeHostUid"]: item for item in found}

    def delete_machine(self, uid: str, pool: str, host: str) -> None:
        machine = self.machines(uid, pool)[host]["metadata"]["uid"]
        self.api.ok("DELETE", f"{self.config_path(uid)}/machinePools/{pool}/machines/{machine}")

    def record(self, uid: str) -> dict[str, Any]:
        found: dict[str, Any] = self.api.ok("GET", f"/v1/edgehosts/{uid}")
        return found

    def refused(self, status: int, *pools: dict[str, Any], **options: Any) -> str:
        """The message with which a cluster is refused; nothing of it is there then."""
        response = self.api.call("POST", CREATE, self.body(*pools, **options))
        assert response.status_code == status, response.text
        assert self.plane.store.list("cluster") == []
        message: str = response.json()["message"]
        return message


@pytest.fixture
def site(tenant: Api, project: Api, plane: Plane) -> Site:
    _, token = make_token(tenant, project.project)
    return Site(tenant, project, plane, token)


CP = pool("cp", "a", control_plane=True)


# The way through


def test_a_cluster_of_three_hosts_comes_up(site: Site) -> None:
    site.hosts("a", "b", "c")
    workers = pool(
        "w", "b", "c", additionalLabels={"tier": "web"}, taints=[{"key": "k", "value": "v", "effect": "NoSchedule"}]
    )
    uid = site.create(CP, workers, ntpServers=["ntp.example.com"], sshKeys=["ssh-ed25519 AAAA ops"])
    desired = site.agents["b"].desired()["cluster"]
    assert (desired["uid"], desired["step"], desired["lead"]) == (uid, "prepare", False)
    assert desired["member"] == {
        "uid": "b",
        "node_name": "b",
        "control_plane": False,
        "schedulable": True,
        "pool": "w",
        "labels": {"tier": "web"},
        "annotations": {},
        "taints": [{"key": "k", "value": "v", "effect": "NoSchedule"}],
        "address": "192.0.2.12",
    }
    assert desired["endpoint"] == {"host": "192.0.2.200", "port": 6443, "type": "VIP"}
    assert desired["kubernetes"] == {
        "pack": "edge-k8s",
        "version": OLD,
        "next_version": None,
        "pod_cidr": "10.244.0.0/16",
        "service_cidr": "10.96.0.0/12",
        "kubeadm_override": "",
    }
    assert desired["network"] == {"pack": "cni-bridge", "version": "1.9.1", "manifests": []}
    assert (desired["ntp_servers"], desired["ssh_keys"]) == (["ntp.example.com"], ["ssh-ed25519 AAAA ops"])
    assert site.agents["a"].desired()["cluster"]["member"]["schedulable"] is False

    site.settle()
    assert site.state(uid) == ("Running", "Healthy")
    cluster = site.get(uid)
    assert cluster["status"]["apiEndpoints"] == [{"host": "192.0.2.200", "port": 6443}]
    assert {item["status"] for item in cluster["status"]["conditions"]} == {"True"}
    published = site.api.call("GET", f"{CLUSTERS}/{uid}/assets/adminKubeconfig")
    assert published.text == kubeconfig("https://192.0.2.200:6443")
    machines = site.machines(uid, "w")
    assert set(machines) == {"b", "c"} and machines["b"]["metadata"]["name"] == "b"
    assert machines["b"]["status"]["ready"] and machines["b"]["status"]["instanceState"] == "Running"
    assert machines["b"]["spec"]["nics"][0]["privateIPs"] == ["192.0.2.12"]
    overview = site.api.ok("GET", f"/v1/dashboard/spectroclusters/{uid}/overview")
    assert overview["spec"]["archTypes"] == ["amd64"] and overview["spec"]["cloudaccount"] == {"name": "", "uid": ""}
    lead = site.agents["a"].desired()["cluster"]
    assert lead["lead"] and {peer["uid"] for peer in lead["peers"]} == {"b", "c"}


def test_hosts_say_whose_they_are(site: Site) -> None:
    site.hosts("a", "b")
    assert site.record("a")["status"]["state"] == "ready"
    uid = site.create(CP)
    record = site.record("a")
    assert record["status"]["state"] == "in-use" and record["spec"]["device"]["hostState"] == "cluster"
    assert record["status"]["inUseClusters"] == [{"uid": uid, "name": "shop"}]
    assert site.record("b")["status"]["state"] == "ready"
    items = site.api.ok("GET", f"{CLUSTERS}/{uid}/edge-native/edgeHosts")["items"]
    assert [item["metadata"]["uid"] for item in items] == ["a"]
    site.settle()
    site.api.ok("DELETE", f"{CLUSTERS}/{uid}")
    site.settle()
    assert site.get(uid)["status"]["state"] == "Deleted"
    record = site.record("a")
    assert record["status"]["state"] == "ready" and record["status"]["inUseClusters"] == []
    assert site.agents["a"].desired()["cluster"] is None


def test_only_what_changes_makes_another_generation(site: Site) -> None:
    site.hosts("a", "b")
    site.running(CP, pool("w", "b"))
    first = site.agents["a"].desired()["generation"]
    site.agents["b"].beat()
    site.settle()
    assert site.agents["a"].own("GET", f"desired?known={first}").status_code == 204


def test_add_ons_go_to_the_lead_with_variables_resolved(site: Site) -> None:
    site.hosts("a", "b")
    variable = {"name": "space", "defaultValue": "shop"}
    extras = profile(site.api, addon(content="name: '{{.spectro.var.space}}'", variables=[variable]))
    uid = site.create(CP, pool("w", "b"), profiles=[site.profile(), extras])
    site.settle()
    assert site.state(uid) == ("Running", "Healthy")
    (pack,) = site.agents["a"].desired()["cluster"]["packs"]
    assert pack["type"] == "manifest" and pack["manifests"] == [{"name": "first", "content": "name: 'shop'"}]
    assert site.agents["b"].desired()["cluster"]["packs"] == []


def test_the_state_of_packs_may_come_apart_from_reports(site: Site) -> None:
    site.hosts("a")
    uid = site.create(CP, profiles=[site.profile(), profile(site.api, addon())])
    site.settle(rounds=3)
    agent = site.agents["a"]
    (pack,) = agent.desired()["cluster"]["packs"]
    said = {"name": pack["name"], "profileUid": pack["profile_uid"], "version": pack["version"], "type": "manifest"}
    report = copy.deepcopy(site.plane.store.get("edgehost", "a").body["_observed"])  # type: ignore[union-attr]
    agent.report(**{**report, "packs": []})
    for reason, health in (("Deploying", "Progressing"), ("Error", "Unhealthy"), ("Ready", "Healthy")):
        condition = {"reason": reason, "message": "said so"}
        assert agent.v1("PATCH", "/packs/status", {"packs": [{**said, "condition": condition}]}).status_code == 204
        assert site.state(uid) == ("Running", health)


def test_a_restart_of_the_plane_goes_on(site: Site, settings: Settings) -> None:
    site.hosts("a", "b", "c")
    uid = site.create(CP, pool("w", "b", "c"))
    site.settle(rounds=2)
    again = Plane.open(settings)
    again.clock.freeze(True)
    client = InProcess(create_app(again))
    try:
        for agent in site.agents.values():
            agent.client = client
        site.api = Api(client, site.api.key, site.api.project)
        # Join material was in memory alone, so it is made anew.
        for _ in range(12):
            for agent in site.agents.values():
                cluster = agent.desired()["cluster"]
                if cluster["step"] == "join" and agent.own("GET", "join").status_code == 404:
                    continue
                if cluster["step"] == "join":
                    state = agent.desired()
                    node = {"name": agent.uid, "ready": True, "kubernetes_version": OLD}
                    agent.report(phase="running", node=node, cluster_uid=uid, generation=state["generation"])
                    continue
                agent.follow()
        assert site.state(uid) == ("Running", "Healthy")
    finally:
        client.close()
        again.close()


# Hosts that cannot be had


def test_an_unknown_host_is_refused(site: Site) -> None:
    site.hosts("a")
    assert "'nobody'" in site.refused(422, CP, pool("w", "nobody"))


def test_a_host_of_another_project_is_refused_as_unknown(site: Site) -> None:
    site.hosts("a")
    other = site.tenant.ok("POST", "/v1/projects", {"metadata": {"name": "other"}, "spec": {}})["uid"]
    site.host("far", project=other)
    assert "no edge host with the uid 'far' in this project" in site.refused(422, CP, pool("w", "far"))


def test_a_host_that_is_in_use_is_refused(site: Site) -> None:
    site.hosts("a", "b")
    site.create(CP)
    second = site.body(pool("cp", "b", control_plane=True), pool("w", "a"), name="second")
    error = site.api.refused(409, "ResourceInUse", "POST", CREATE, second)
    assert "'a'" in error["message"] and "'shop'" in error["message"]


def test_a_host_that_is_not_healthy_is_refused(site: Site) -> None:
    site.hosts("a", "b")
    site.plane.clock.advance(181)
    site.agents["a"].beat()
    assert "not healthy" in site.refused(409, CP, pool("w", "b"))
    site.agents["b"].beat(state="unhealthy", message="the disk is full")
    assert "the disk is full" in site.refused(409, CP, pool("w", "b"))


def test_a_host_that_has_not_registered_is_refused(site: Site) -> None:
    site.hosts("a")
    site.api.ok("POST", "/v1/edgehosts", {"metadata": {"uid": "later", "name": "later"}, "spec": {"archType": "amd64"}})
    assert "has not registered yet" in site.refused(409, CP, pool("w", "later"))


def test_a_host_of_another_architecture_is_refused(site: Site) -> None:
    site.hosts("a", "b")
    site.host("arm", archType="arm64")
    amd64: dict[str, Any] = {"machinePoolProperties": {"archType": "amd64"}}
    assert "is of the architecture arm64" in site.refused(422, CP, pool("w", "arm", **amd64))
    assert "more than one architecture" in site.refused(422, CP, pool("w", "b", "arm"))


def test_a_host_is_in_a_cluster_once(site: Site) -> None:
    site.hosts("a", "b")
    assert "twice" in site.refused(400, CP, pool("w", "b", "b"))
    assert "twice" in site.refused(422, CP, pool("w", "b", {"hostUid": "b", "hostName": "c"}))
    assert "twice: in the pools 'cp' and 'w'" in site.refused(422, CP, pool("w", "a"))
    named = {"hostUid": "b", "hostName": "a"}
    assert "the name 'a'" in site.refused(422, CP, pool("w", named))


# Shapes that cannot be


def test_the_control_plane_is_odd_and_the_size_is_the_number_of_hosts(site: Site) -> None:
    site.hosts("a", "b")
    assert "not 2" in site.refused(422, pool("cp", "a", "b", control_plane=True))
    wrong = pool("w", "b", size=2)
    assert "names 1 hosts, and its size is 2" in site.refused(422, CP, wrong)


def test_an_override_is_yaml_with_keys(site: Site) -> None:
    site.hosts("a", "b")
    workers = pool("w", "b", overrideKubeadmConfiguration="just text")
    assert "neither empty nor YAML with keys" in site.refused(422, CP, workers)
    site.create(CP, pool("w", "b", overrideKubeadmConfiguration="kubeletExtraArgs: {v: '2'}"))
    kubernetes = site.agents["b"].desired()["cluster"]["kubernetes"]
    assert kubernetes["kubeadm_override"] == "kubeletExtraArgs: {v: '2'}"


def test_a_node_has_a_name_that_kubernetes_takes(site: Site) -> None:
    site.host("Rack_7.Host")
    site.create(pool("cp", "Rack_7.Host", control_plane=True))
    assert site.agents["Rack_7.Host"].desired()["cluster"]["member"]["node_name"] == "rack-7.host"


def test_two_nodes_are_for_appliances(site: Site) -> None:
    site.hosts("a", "b")
    pair = pool(
        "cp",
        {"hostUid": "a", "twoNodeCandidatePriority": "primary"},
        {"hostUid": "b", "twoNodeCandidatePriority": "secondary"},
        control_plane=True,
    )
    message = site.refused(422, pair, isTwoNodeCluster=True)
    assert "isTwoNodeCluster is for hosts of appliance mode" in message and "agent-mode" in message


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"controlPlaneEndpoint": {"type": "VIP", "host": "vip.example.com"}}, "no IPv4 address"),
        ({"controlPlaneEndpoint": {"type": "VIP", "host": ""}}, "is needed"),
        ({"controlPlaneEndpoint": {"type": "DDNS", "host": "x.example.com"}}, "VIP or External"),
        ({"controlPlaneEndpoint": {"type": "External", "host": "a b"}}, "no name of a host"),
        ({"controlPlaneEndpoint": {"type": "VIP", "host": "192.0.2.11"}}, "is the address of the host 'a'"),
        *(
            ({"controlPlaneEndpoint": {"type": "VIP", "host": address}}, f"{address} is no address at which")
            for address in ("127.0.0.1", "0.0.0.0", "0.1.2.3", "224.0.0.1", "255.255.255.255", "169.254.7.8")
        ),
        *(
            ({"controlPlaneEndpoint": {"type": "External", "host": address}}, f"{address} is no address at which")
            for address in ("0.0.0.0", "239.1.2.3", "255.255.255.255")
        ),
        ({"ntpServers": ["not a host"]}, "ntpServers[0]"),
        ({"sshKeys": ["secret"]}, "sshKeys[0]"),
        ({"overlayNetworkConfiguration": {"enable": True, "cidr": "10.0.0.0/33"}}, "no IPv4 range"),
        ({"overlayNetworkConfiguration": {"enable": True, "cidr": "10.0.0.0/24"}}, "no overlay network"),
        ({"staticIp": True}, "fixed addresses"),
    ],
)
def test_what_a_cloud_config_cannot_say(site: Site, config: dict[str, Any], words: str) -> None:
    site.hosts("a")
    assert words in site.refused(422, CP, **config)


def test_an_external_endpoint_may_be_a_name_and_an_overlay_may_be_off(site: Site) -> None:
    site.hosts("a")
    endpoint = {"type": "External", "host": "k8s.example.com"}
    site.running(CP, controlPlaneEndpoint=endpoint, overlayNetworkConfiguration={"enable": False, "cidr": ""})
    assert site.agents["a"].desired()["cluster"]["endpoint"] == {
        "host": "k8s.example.com",
        "port": 6443,
        "type": "External",
    }


@pytest.mark.parametrize(
    ("nic", "words"),
    [
        ({"ip": "192.0.2.77"}, "set no addresses"),
        ({"ip": "no"}, "no IPv4 address"),
        ({"ip": "192.0.2.11", "subnet": "255.0.255.0"}, "no mask"),
        ({"ip": "192.0.2.11", "subnet": "255.255.255.0", "gateway": "198.51.100.1"}, "not in the network"),
        ({"nicName": "eth7"}, "no interface 'eth7'"),
    ],
)
def test_fixed_addresses_that_cannot_be(site: Site, nic: dict[str, Any], words: str) -> None:
    site.hosts("a")
    assert words in site.refused(422, pool("cp", {"hostUid": "a", "nic": nic}, control_plane=True))


def test_a_host_with_several_interfaces_joins_by_the_one_that_is_named(site: Site) -> None:
    nics = [{"nicName": "eth0", "ip": "192.0.2.30"}, {"nicName": "eth1", "ip": "198.51.100.30/24"}]
    site.host("a", "192.0.2.30", nics=nics)
    uid = site.create(pool("cp", {"hostUid": "a", "nic": {"nicName": "eth1"}}, control_plane=True))
    assert site.agents["a"].desired()["cluster"]["member"]["address"] == "198.51.100.30"
    assert site.api.ok("GET", site.config_path(uid))["spec"]["machinePoolConfig"][0]["hosts"] == [
        {"hostUid": "a", "hostName": "a", "hostAddress": "198.51.100.30", "nic": {"nicName": "eth1"}}
    ]


NO_RANGE = "no IPv4 range"


@pytest.mark.parametrize(
    ("pods", "services", "words"),
    [
        ("192.0.2.0/24", "10.96.0.0/12", "the host 'a' has the address 192.0.2.11, which is in the pods' range"),
        ("10.244.0.0/16", "192.0.0.0/16", "which is in the services' range"),
        ("10.96.0.0/16", "10.96.0.0/12", "overlap"),
        ("10.244.0.1/16", "10.96.0.0/12", NO_RANGE),
        ("nothing", "10.96.0.0/12", NO_RANGE),
    ],
)
def test_ranges_that_cannot_be(site: Site, pods: str, services: str, words: str) -> None:
    site.hosts("a")
    message = site.refused(422, CP, profiles=[site.profile(infra(k8s=ranges(pods, services)))])
    assert words in message
    if words != NO_RANGE:
        assert pods in message and services in message


def test_ranges_may_stand_in_a_text(site: Site) -> None:
    site.hosts("a")
    inner = json.dumps({"clusterConfiguration": {"networking": {"podSubnet": "192.0.2.0/24"}}})
    uid = site.profile(infra(k8s=json.dumps({"cluster": {"config": inner}})))
    assert "the pods' range 192.0.2.0/24" in site.refused(422, CP, profiles=[uid])


# Profiles that do not fit


def test_the_operating_system_fits_the_mode_of_the_hosts(site: Site) -> None:
    site.hosts("a")
    site.host("box", hostType="appliance")
    image = json.dumps({"options": {"system.uri": "registry.example.com/ubuntu:k3s-1.30.5-demo"}})
    uid = site.profile(infra("images", os=image))
    message = site.refused(422, CP, profiles=[uid])
    assert "of agent-mode" in message and "has to be NA" in message
    message = site.refused(422, pool("cp", "box", control_plane=True))
    assert "of appliance" in message and "provider image" in message
    site.create(pool("cp", "box", control_plane=True), profiles=[uid])


def test_the_pack_of_the_operating_system_has_a_preset_for_each_mode(site: Site) -> None:
    packs = site.api.ok("GET", "/v1/packs", params={"filters": "spec.name=edge-native-byoi"})["items"]
    assert [preset["name"] for preset in packs[0]["spec"]["presets"]] == ["byoi-agent-mode", "byoi-appliance-mode"]


def test_a_cluster_of_another_architecture_shows_it(site: Site) -> None:
    site.host("a", archType="arm64")
    uid = site.create(CP)
    overview = site.api.ok("GET", f"/v1/dashboard/spectroclusters/{uid}/overview")
    assert overview["spec"]["archTypes"] == ["arm64"]
    body = {"filter": {"conjunction": "and", "filterGroups": []}, "sort": []}
    (found,) = site.api.ok("POST", "/v1/dashboard/spectroclusters/metadata/search", body)["items"]
    assert found["specSummary"]["archType"] == ["arm64"]


def test_charts_are_refused(site: Site) -> None:
    site.hosts("a")
    template = {"type": "add-on", "cloudType": "all", "packs": [{"name": "nginx"}]}
    chart = profile(site.api, {"metadata": {"name": "charts"}, "spec": {"template": template}})
    assert "'nginx'" in site.refused(422, CP, profiles=[site.profile(), chart])


def test_what_would_be_refused_is_told_without_making_anything(site: Site) -> None:
    site.hosts("a", "b")
    body = site.body(CP, pool("w", "nobody"))
    answer = site.api.ok("POST", f"{CREATE}/validate", body)
    assert [(item["name"], bool(item["errors"])) for item in answer["machinePools"]["results"]] == [
        ("cp", False),
        ("w", True),
    ]
    body = site.body(
        CP, pool("w", "b"), profiles=[site.profile(infra("bad", k8s=ranges("192.0.2.0/24", "10.96.0.0/12")))]
    )
    answer = site.api.ok("POST", f"{CREATE}/validate", body)
    assert "pods' range" in answer["machinePools"]["results"][-1]["errors"][0]["message"]
    assert site.plane.store.list("cluster") == []


# Pools and machines


def test_a_worker_is_added_and_taken_out_again(site: Site) -> None:
    site.hosts("a", "b", "c")
    uid = site.running(CP, pool("w", "b"))
    path = f"{site.config_path(uid)}/machinePools/w"
    site.api.ok("PUT", path, pool("w", "b", "c"))
    assert site.state(uid) == ("Running", "Progressing")
    site.settle()
    assert site.state(uid) == ("Running", "Healthy") and set(site.machines(uid, "w")) == {"b", "c"}

    error = site.api.refused(409, "ResourceStateConflict", "PUT", path, pool("w", "b"))
    assert "delete the machine first" in error["message"] and error["details"]["hostUids"] == ["c"]
    site.delete_machine(uid, "w", "c")
    assert site.pools(uid)["w"] == ["b"]
    site.api.ok("PUT", path, pool("w", "b"))
    error = site.api.refused(409, "ResourceStateConflict", "PUT", path, pool("w", "b", "c"))
    assert "has not left it yet" in error["message"]
    site.settle()
    assert set(site.machines(uid, "w")) == {"b"} and site.record("c")["status"]["state"] == "ready"
    assert site.state(uid) == ("Running", "Healthy")
    site.api.ok("PUT", path, pool("w", "b", "c"))
    site.settle()
    assert set(site.machines(uid, "w")) == {"b", "c"}


def test_a_host_that_is_added_is_checked_like_the_first_ones(site: Site) -> None:
    site.hosts("a", "b")
    site.host("inside", "10.244.3.4")
    site.host("box", "192.0.2.50", hostType="appliance")
    uid = site.running(CP, pool("w", "b"))
    path = f"{site.config_path(uid)}/machinePools"
    for host, words in (("inside", "the pods' range 10.244.0.0/16"), ("box", "of appliance"), ("a", "already")):
        for method, where, name in (("PUT", f"{path}/w", "w"), ("POST", path, "extra")):
            hosts = ("b", host) if name == "w" else (host,)
            answer = site.api.call(method, where, pool(name, *hosts))
            assert answer.status_code in (409, 422) and words in answer.json()["message"], answer.text
    assert site.pools(uid) == {"cp": ["a"], "w": ["b"]} and site.state(uid) == ("Running", "Healthy")


def test_a_control_plane_shrinks_and_its_last_host_stays(site: Site) -> None:
    site.hosts("a", "b", "c")
    uid = site.running(pool("cp", "a", "b", "c", control_plane=True))
    site.delete_machine(uid, "cp", "a")
    site.delete_machine(uid, "cp", "b")
    site.api.ok("PUT", f"{site.config_path(uid)}/machinePools/cp", pool("cp", "c", control_plane=True))
    site.settle()
    assert site.state(uid) == ("Running", "Healthy") and site.pools(uid) == {"cp": ["c"]}
    machine = site.machines(uid, "cp")["c"]["metadata"]["uid"]
    path = f"{site.config_path(uid)}/machinePools/cp/machines/{machine}"
    assert "is the last one of the control plane" in site.api.refused(409, "ResourceInUse", "DELETE", path)["message"]


def test_a_pool_goes_with_its_last_machine_unless_it_gets_others(site: Site) -> None:
    site.hosts("a", "b", "c")
    uid = site.running(CP, pool("w", "b"))
    site.delete_machine(uid, "w", "b")
    site.api.ok("PUT", f"{site.config_path(uid)}/machinePools/w", pool("w", "c"))
    site.settle()
    assert site.pools(uid) == {"cp": ["a"], "w": ["c"]}
    site.delete_machine(uid, "w", "c")
    assert site.pools(uid) == {"cp": ["a"], "w": []}
    site.settle()
    assert site.pools(uid) == {"cp": ["a"]} and site.state(uid) == ("Running", "Healthy")


def test_a_pool_is_added_and_deleted(site: Site) -> None:
    site.hosts("a", "b")
    uid = site.running(CP)
    site.api.ok("POST", f"{site.config_path(uid)}/machinePools", pool("extra", "b", skipK8sUpgrade="enabled"))
    site.settle()
    assert site.machines(uid, "extra")["b"]["status"]["ready"]
    site.api.ok("DELETE", f"{site.config_path(uid)}/machinePools/extra")
    site.settle()
    assert site.pools(uid) == {"cp": ["a"]} and site.record("b")["status"]["state"] == "ready"


def test_a_machine_is_cordoned(site: Site) -> None:
    site.hosts("a", "b")
    uid = site.running(CP, pool("w", "b"))
    machine = site.machines(uid, "w")["b"]["metadata"]["uid"]
    path = f"{site.config_path(uid)}/machinePools/w/machines/{machine}/maintenance"
    for action in ("cordon", "uncordon"):
        site.api.ok("PUT", path, {"action": action})
        assert site.machines(uid, "w")["b"]["status"]["maintenanceStatus"]["state"] == "InProgress"
        (task,) = site.agents["a"].desired()["cluster"]["tasks"]
        assert task["kind"] == {"cordon": "drain", "uncordon": "uncordon"}[action] and task["node_name"] == "b"
        site.settle(rounds=2)
        assert site.machines(uid, "w")["b"]["status"]["maintenanceStatus"] == {
            "action": action,
            "message": "",
            "state": "Completed",
        }


def test_what_of_a_cloud_config_may_change(site: Site) -> None:
    site.hosts("a")
    uid = site.running(CP)
    path = f"{site.config_path(uid)}/clusterConfig"
    endpoint = {"type": "VIP", "host": "192.0.2.200"}
    site.api.ok("PUT", path, {"clusterConfig": {"controlPlaneEndpoint": endpoint, "ntpServers": ["192.0.2.1"]}})
    assert site.agents["a"].desired()["cluster"]["ntp_servers"] == ["192.0.2.1"]
    moved = {"clusterConfig": {"controlPlaneEndpoint": {**endpoint, "host": "192.0.2.201"}}}
    assert "cannot become" in site.api.refused(422, "InvalidValue", "PUT", path, moved)["message"]


# Versions


def swap(site: Site, uid: str, before: str, **options: str) -> dict[str, Any]:
    after = site.profile(infra(version="2.0.0", **options))
    return {"profiles": [{"uid": after, "replaceWithProfile": before}]}


def test_an_upgrade_goes_through_without_a_repave(site: Site) -> None:
    site.hosts("a", "b")
    before = site.profile()
    uid = site.running(CP, pool("w", "b"))
    change = swap(site, uid, before, kubernetes=NEW)
    assert site.api.ok("POST", f"{CLUSTERS}/{uid}/validate/repave", change)["isRepaveRequired"] is False
    site.api.ok("PATCH", f"{CLUSTERS}/{uid}/profiles", change)
    assert site.state(uid) == ("Running", "Progressing")
    site.settle(rounds=20)
    assert site.state(uid) == ("Running", "Healthy")
    assert site.agents["b"].desired()["cluster"]["kubernetes"]["version"] == NEW


def test_content_is_fetched_by_all_hosts_before_one_is_drained(site: Site) -> None:
    site.hosts("a", "b")
    before = site.profile()
    uid = site.running(CP, pool("w", "b"))
    site.api.ok("PATCH", f"{CLUSTERS}/{uid}/profiles", swap(site, uid, before, kubernetes=NEW))
    for agent in site.agents.values():
        cluster = agent.desired()["cluster"]
        assert (cluster["kubernetes"]["version"], cluster["kubernetes"]["next_version"]) == (OLD, NEW)
        assert cluster["tasks"] == []
    before_a, report = (
        copy.deepcopy(site.plane.store.get("edgehost", name).body["_observed"])  # type: ignore[union-attr]
        for name in "ab"
    )
    site.agents["b"].report(**{**report, "error": {"reason": "DiskFull", "message": "the disk is full"}})
    site.agents["a"].report(**{**before_a, "error": {"reason": "BundleTruncated", "message": "it ends early"}})
    overview = site.api.ok("GET", f"/v1/dashboard/spectroclusters/{uid}/overview")
    said = "BundleTruncated: a (host a): it ends early; DiskFull: b (host b): the disk is full"
    assert overview["status"]["health"]["conditions"][0]["message"] == said, "whoever mends it sees all that is wrong"
    site.agents["a"].report(**before_a)
    site.settle("b")
    assert site.agents["a"].desired()["cluster"]["tasks"] == [], "the host with the error keeps all others in service"
    overview = site.api.ok("GET", f"/v1/dashboard/spectroclusters/{uid}/overview")
    assert overview["status"]["health"]["conditions"][0]["message"] == "DiskFull: b (host b): the disk is full"
    pools = overview["spec"]["cloudConfig"]["machinePools"]
    assert [(pool["healthy"], pool["size"]) for pool in pools] == [(1, 1), (1, 1)], "nodes that serve count as healthy"
    events = site.api.ok("GET", f"/v1/events/components/spectrocluster/{uid}")["items"]
    assert [event["message"] for event in events if event["reason"] == "DiskFull"] == ["b (host b): the disk is full"]
    site.settle(rounds=20)
    assert site.state(uid) == ("Running", "Healthy")
    kubernetes = site.agents["b"].desired()["cluster"]["kubernetes"]
    assert (kubernetes["version"], kubernetes["next_version"]) == (NEW, None)


@pytest.mark.parametrize(
    ("start", "options", "words"),
    [
        (NEW, {"kubernetes": OLD}, "no way back"),
        ("1.34.4", {"kubernetes": NEW}, "go to 1.35 first"),
        (OLD, {"k8s": ranges("10.200.0.0/16", "10.96.0.0/12")}, "10.244.0.0/16 and cannot become 10.200.0.0/16"),
        (OLD, {"network": "cni-calico"}, "cni-bridge is there, cni-calico is wanted"),
        (OLD, {"os": json.dumps({"options": {"system.uri": "registry.example.com/x:1"}})}, "has to be NA"),
    ],
)
def test_changes_of_profiles_that_cannot_be(site: Site, start: str, options: dict[str, str], words: str) -> None:
    site.hosts("a")
    before = site.profile(infra(kubernetes=start))
    uid = site.running(CP, profiles=[before])
    change = swap(site, uid, before, **{"kubernetes": start, **options})
    error = site.api.refused(422, "InvalidValue", "PATCH", f"{CLUSTERS}/{uid}/profiles", change)
    assert words in error["message"]
    told = site.api.ok("POST", f"{CLUSTERS}/{uid}/validate/packs", change)["profiles"][-1]["packs"]["results"]
    assert words in told[0]["errors"][0]["message"]
    assert site.state(uid) == ("Running", "Healthy")


def test_a_pool_that_skips_upgrades_may_be_three_minors_behind(site: Site) -> None:
    site.hosts("a", "b")
    before = site.profile(infra(kubernetes="1.34.4"))
    uid = site.running(CP, pool("w", "b", skipK8sUpgrade="enabled"), profiles=[before])
    middle = site.profile(infra(version="2.0.0", kubernetes=OLD))
    site.api.ok("PATCH", f"{CLUSTERS}/{uid}/profiles", {"profiles": [{"uid": middle, "replaceWithProfile": before}]})
    site.settle(rounds=20)
    last = site.profile(infra(version="3.0.0", kubernetes=NEW))
    site.api.ok("PATCH", f"{CLUSTERS}/{uid}/profiles", {"profiles": [{"uid": last, "replaceWithProfile": middle}]})
    site.settle(rounds=20)
    assert site.agents["b"].desired()["cluster"]["kubernetes"]["version"] == "1.34.4"
    assert site.state(uid) == ("Running", "Healthy")
    path = f"{site.config_path(uid)}/machinePools/w"
    assert "has Kubernetes 1.34.4" in site.api.refused(422, "InvalidValue", "PUT", path, pool("w", "b"))["message"]


# Lost hosts, and the end


def test_a_host_that_is_not_heard_of_is_named(site: Site) -> None:
    site.hosts("a", "b")
    uid = site.running(CP, pool("w", "b"))
    site.plane.clock.advance(170)
    site.agents["a"].beat()
    site.plane.clock.advance(20)
    assert site.state(uid) == ("Running", "Unhealthy")
    health = site.api.ok("GET", f"/v1/dashboard/spectroclusters/{uid}/overview")["status"]["health"]
    assert health["conditions"][0]["message"].startswith(
        "HostLost: b (host b) has not been heard of since 2026-03-01T12:"
    )
    machine = site.machines(uid, "w")["b"]
    assert machine["status"]["ready"] is False and machine["status"]["health"]["state"] == "unknown"
    site.agents["b"].beat()
    assert site.state(uid) == ("Running", "Healthy")


def test_a_deletion_waits_for_hosts_until_it_is_forced(site: Site) -> None:
    site.hosts("a", "b")
    uid = site.running(CP, pool("w", "b"))
    site.api.ok("DELETE", f"{CLUSTERS}/{uid}")
    assert site.agents["b"].desired()["cluster"]["step"] == "leave"
    site.settle("b")
    assert site.get(uid)["status"]["state"] == "Deleting"
    site.plane.clock.advance(16 * 60)
    site.api.ok("DELETE", f"{CLUSTERS}/{uid}?forceDelete=true")
    assert site.get(uid)["status"]["state"] == "Deleted"
    # A host that comes back later is told to leave, and is not free before.
    assert site.agents["b"].desired()["cluster"] is None
    assert site.record("b")["status"]["inUseClusters"] == []
    site.settle()
    site.create(pool("cp", "a", control_plane=True), pool("w", "b"), name="second")
    assert site.agents["b"].desired()["cluster"]["step"] == "prepare"


def test_a_host_leaves_its_old_cluster_before_it_joins_another(site: Site) -> None:
    site.hosts("a", "b")
    site.agents["b"].report(phase="running", cluster_uid="forgotten")
    site.create(CP, pool("w", "b"))
    assert site.agents["b"].desired()["cluster"] is None
    site.agents["b"].report()
    assert site.agents["b"].desired()["cluster"]["step"] == "prepare"


def test_a_reset_takes_the_pools_away_and_others_may_come(site: Site) -> None:
    site.hosts("a", "b")
    uid = site.running(CP, pool("w", "b"))
    site.api.ok("POST", f"{CLUSTERS}/{uid}/edge/reset")
    assert site.pools(uid) == {} and site.agents["a"].desired()["cluster"]["step"] == "leave"
    site.settle()
    assert site.get(uid)["status"]["state"] == "Provisioning" and site.record("a")["status"]["state"] == "ready"
    site.api.refused(404, "ResourceNotFound", "GET", f"{CLUSTERS}/{uid}/assets/adminKubeconfig")
    assert site.plane.store.list("reported", parent=uid) == []
    site.api.ok("POST", f"{site.config_path(uid)}/machinePools", pool("cp", "b", control_plane=True))
    site.settle()
    assert site.state(uid) == ("Running", "Healthy")


def test_a_reset_of_a_host_takes_it_out_and_in_again(site: Site) -> None:
    site.hosts("a", "b")
    uid = site.running(CP, pool("w", "b"))
    before = site.machines(uid, "w")["b"]["metadata"]["uid"]
    site.agents["b"].report()
    site.settle()
    assert site.machines(uid, "w")["b"]["metadata"]["uid"] != before
    assert site.state(uid) == ("Running", "Healthy")


# Certificates, logs, definitions, events


def test_certificates_are_shown_and_renewed(site: Site) -> None:
    site.hosts("a", "b")
    uid = site.running(CP, pool("w", "b"))
    state = site.agents["a"].desired()
    certificates = [
        {"name": "ca", "expires_at": "2036-01-01T00:00:00Z"},
        {"name": "apiserver", "expires_at": "2027-01-01T00:00:00Z"},
        {"name": "etcd-server", "expires_at": "2027-01-01T00:00:00Z"},
    ]
    report = copy.deepcopy(site.plane.store.get("edgehost", "a").body["_observed"])  # type: ignore[union-attr]
    site.agents["a"].report(**{**report, "certificates": certificates, "generation": state["generation"]})
    (machine,) = site.api.ok("GET", f"{CLUSTERS}/{uid}/k8certificates")["machineCertificates"]
    assert machine["name"] == "a"
    assert [
        (item["name"], [one["name"] for one in item["certificates"]]) for item in machine["certificateAuthorities"]
    ] == [
        ("ca", ["apiserver"]),
        ("etcd-ca", ["etcd-server"]),
    ]
    site.api.ok("PATCH", f"{CLUSTERS}/{uid}/k8certificates/renew")
    (task,) = site.agents["a"].desired()["cluster"]["tasks"]
    assert task["kind"] == "renew-certificates" and site.agents["b"].desired()["cluster"]["tasks"] == []
    site.settle()
    assert site.state(uid) == ("Running", "Healthy") and site.agents["a"].desired()["cluster"]["tasks"] == []


def test_logs_are_fetched_from_every_host(site: Site) -> None:
    site.hosts("a", "b")
    uid = site.running(CP, pool("w", "b"))
    path = f"{CLUSTERS}/{uid}/features/logFetcher"
    request = site.api.ok("POST", path, {"mode": "cluster"})["uid"]
    for name in ("a", "b"):
        assert site.agents[name].desired()["logs"] == request
        assert site.api.ok("GET", f"{path}?requestId={request}")["status"]["state"] == "InProgress"
        sent = site.agents[name].own("PUT", f"logs/{request}", content=gzip.compress(b"log"))
        assert sent.status_code == 204, sent.text
    assert site.api.ok("GET", path)["status"]["state"] == "Completed"
    assert site.api.call("GET", f"{CLUSTERS}/features/logFetcher/{request}/download").status_code == 200


def test_a_cluster_definition_holds_the_profiles(site: Site) -> None:
    uid = site.profile()
    body = {"metadata": {"name": "site"}, "spec": {"cloudType": "edge-native", "profiles": [{"uid": uid}]}}
    for answer in (
        site.api.call("POST", f"{CLUSTERS}/spc/download", body),
        site.api.call("GET", f"/v1/clusterprofiles/{uid}/spc/download"),
    ):
        assert answer.status_code == 200, answer.text
        with tarfile.open(fileobj=io.BytesIO(answer.content)) as archive:
            (member,) = archive.getmembers()
            content = archive.extractfile(member)
            assert content is not None
            definition = json.load(content)
        assert definition["cloudType"] == "edge-native"
        assert [pack["name"] for pack in definition["profiles"][0]["packs"]] == [
            "edge-native-byoi",
            "edge-k8s",
            "cni-bridge",
        ]


def test_what_a_host_tells_is_an_event_of_its_cluster_as_well(site: Site) -> None:
    site.hosts("a")
    uid = site.create(CP)
    told = [{"at": NOW.isoformat(), "reason": "DiskSlow", "message": "the disk is slow", "severity": "Error"}]
    assert site.agents["a"].own("POST", "events", told).status_code == 204
    for path in (f"spectrocluster/{uid}", "edgehost/a"):
        events = site.api.ok("GET", f"/v1/events/components/{path}")["items"]
        found = next(event for event in events if event["reason"] == "DiskSlow")
        assert found["message"] == "a: the disk is slow" and found["severity"] == "Error"


def test_operations_of_hosts_are_refused_for_clusters_in_clouds(site: Site) -> None:
    from clusters import world

    there = world(site.api, site.plane).running()
    for method, part, body in (
        ("POST", "edge/reset", None),
        ("POST", "features/logFetcher", {}),
    ):
        error = site.api.refused(409, "ResourceStateConflict", method, f"{CLUSTERS}/{there}/{part}", body)
        assert "on aws" in error["message"]
    assert site.api.ok("GET", f"{CLUSTERS}/{there}/edge-native/edgeHosts")["items"] == []
