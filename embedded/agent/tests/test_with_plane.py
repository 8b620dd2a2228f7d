# SPDX-License-Identifier: GPL-3.0-or-later
"""Agents with simulated hosts against the embedded plane in a process of its own: the life of a cluster."""

from __future__ import annotations

import importlib.util
import json
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bundles import Keys, Maker
from stock import StockedEngine
from support import Json, RunningAgent, simulated, until, user_data

from paletteops_agent.config import Configuration, Trust
from paletteops_agent.engine import Surroundings

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("paletteops_plane") is None, reason="the embedded plane is not installed here"
)


class NotThere(AssertionError):
    """What was asked for is not known to the plane."""


class RealPlane:
    """The plane's process, and its API for the tenant's administrator."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.project = ""
        self.listen = "127.0.0.1:0"
        self.start()

    def start(self) -> None:
        ready = self.folder / "ready.json"
        ready.unlink(missing_ok=True)
        command = [sys.executable, "-m", "paletteops_plane", "--listen", self.listen, "--ready-file", str(ready)]
        command += ["--data", str(self.folder / "plane.sqlite"), "--key-file", str(self.folder / "key")]
        command += ["--no-limits", "--speed", "60"]
        if (self.folder / "content").exists():
            command += ["--content", str(self.folder / "content")]
        with open(self.folder / "plane.log", "ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        until(ready.exists, 60, "the plane's start")
        self.url = json.loads(ready.read_text())["url"].rstrip("/")
        self.listen = self.url.partition("://")[2]
        self.key = (self.folder / "key").read_text().strip()

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(20)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        headers = {"ApiKey": self.key, "Content-Type": "application/json"}
        if self.project and not path.startswith(("/v1/projects", "/v1/edgehosts/tokens")):
            headers["ProjectUid"] = self.project
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, headers=headers, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=30) as response:
                content = response.read()
        except urllib.error.HTTPError as error:
            kind = NotThere if error.code == 404 else AssertionError
            raise kind(f"{method} {path}: {error.code} {error.read().decode()}") from None
        is_json = response.headers.get_content_type() == "application/json"
        return json.loads(content) if content and is_json else content.decode()

    # --- what tests make ---

    def token(self, **spec: Any) -> str:
        made = self.call(
            "POST", "/v1/edgehosts/tokens", {"metadata": {"name": f"t{time.monotonic_ns()}"}, "spec": spec}
        )
        return str(self.call("GET", f"/v1/edgehosts/tokens/{made['uid']}")["spec"]["token"])

    def profile(self, version: str, kubernetes: str) -> str:
        packs = [{"name": "edge-native-byoi"}, {"name": "edge-k8s", "tag": kubernetes}, {"name": "cni-bridge"}]
        template = {"type": "infra", "cloudType": "edge-native", "packs": packs}
        body = {"metadata": {"name": "edge"}, "spec": {"version": version, "template": template}}
        return str(self.call("POST", "/v1/clusterprofiles?publish=true", body)["uid"])

    def addon(self, content: str) -> str:
        pack = {"name": "settings", "type": "manifest", "manifests": [{"name": "first", "content": content}]}
        pack["uid"] = "spectro-manifest-pack"
        template = {"type": "add-on", "cloudType": "all", "packs": [pack]}
        body = {"metadata": {"name": "extras"}, "spec": {"template": template}}
        return str(self.call("POST", "/v1/clusterprofiles?publish=true", body)["uid"])

    def create(self, profiles: list[str], **pools: list[str]) -> str:
        body = {
            "metadata": {"name": "shop"},
            "spec": {
                "cloudConfig": {"controlPlaneEndpoint": {"type": "VIP", "host": "192.0.2.200"}},
                "machinepoolconfig": [pool(name, hosts) for name, hosts in pools.items()],
                "profiles": [{"uid": uid} for uid in profiles],
            },
        }
        return str(self.call("POST", "/v1/spectroclusters/edge-native", body)["uid"])

    def state(self, cluster: str) -> tuple[str, str]:
        state = self.call("GET", f"/v1/spectroclusters/{cluster}")["status"].get("state", "")
        overview = self.call("GET", f"/v1/dashboard/spectroclusters/{cluster}/overview")
        return state, overview["status"].get("health", {}).get("state", "")

    def healthy(self, cluster: str, seconds: float = 60) -> None:
        until(lambda: self.state(cluster) == ("Running", "Healthy"), seconds, "a healthy cluster")

    def health(self, host: str) -> str:
        """Of a host that may not have registered yet."""
        try:
            return str(self.call("GET", f"/v1/edgehosts/{host}")["status"]["health"].get("state", ""))
        except NotThere:
            return ""

    def pools_path(self, cluster: str) -> str:
        config = self.call("GET", f"/v1/spectroclusters/{cluster}")["spec"]["cloudConfigRef"]["uid"]
        return f"/v1/cloudconfigs/edge-native/{config}/machinePools"

    def kubeconfig(self, cluster: str) -> Json:
        text = self.call("GET", f"/v1/spectroclusters/{cluster}/assets/kubeconfig")
        found: Json = text if isinstance(text, dict) else json.loads(text)
        return found

    def nodes(self, cluster: str) -> dict[str, tuple[bool, bool, str]]:
        """Of each node: ready, cordoned, version. From the cluster's own API."""
        config = self.kubeconfig(cluster)
        server = config["clusters"][0]["cluster"]
        request = urllib.request.Request(f"{server['server']}/api/v1/nodes")
        request.add_header("Authorization", f"Bearer {config['users'][0]['user']['token']}")
        import base64

        context = ssl.create_default_context(cadata=base64.b64decode(server["certificate-authority-data"]).decode())
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )
        with opener.open(request, timeout=10) as response:
            items = json.load(response)["items"]
        return {
            item["metadata"]["name"]: (
                any(one["type"] == "Ready" and one["status"] == "True" for one in item["status"]["conditions"]),
                bool(item["spec"].get("unschedulable")),
                item["status"]["nodeInfo"]["kubeletVersion"],
            )
            for item in items
        }


def pool(name: str, hosts: list[str]) -> Json:
    control_plane = name == "cp"
    return {
        "cloudConfig": {"edgeHosts": [{"hostUid": host} for host in hosts]},
        "poolConfig": {
            "name": name,
            "size": len(hosts),
            "isControlPlane": control_plane,
            "labels": ["control-plane" if control_plane else "worker"],
        },
    }


@pytest.fixture
def real(tmp_path: Path) -> Iterator[RealPlane]:
    found = RealPlane(tmp_path)
    try:
        found.project = found.call("POST", "/v1/projects", {"metadata": {"name": "retail"}, "spec": {}})["uid"]
        yield found
    finally:
        if found.process.poll() is None:
            found.stop()


class Hosts:
    """Agents by name, each with its root."""

    def __init__(self, folder: Path, plane: RealPlane, token: str) -> None:
        self.folder = folder
        self.plane = plane
        self.token = token
        self.running: dict[str, RunningAgent] = {}

    def start(self, *names: str) -> None:
        for name in names:
            text = user_data(self.plane.url, self.token, name, tags={"site": "north"})
            agent = RunningAgent(self.folder / name, text, simulated(self.folder, 200.0))
            agent.__enter__()
            self.running[name] = agent

    def stop(self, *names: str) -> None:
        for name in names:
            self.running.pop(name).__exit__()

    def observed(self, name: str) -> Json:
        return self.running[name].agent.reconciler.observed()

    def registered(self, *names: str) -> None:
        until(lambda: all(self.plane.health(name) == "healthy" for name in names), 30, f"{names} are healthy")


@pytest.fixture
def hosts(tmp_path: Path, real: RealPlane) -> Iterator[Hosts]:
    found = Hosts(tmp_path, real, real.token(defaultProjectUid=real.project))
    yield found
    found.stop(*list(found.running))


def test_the_life_of_a_cluster(real: RealPlane, hosts: Hosts) -> None:
    hosts.start("a", "b", "c", "d")
    hosts.registered("a", "b", "c", "d")
    record = real.call("GET", "/v1/edgehosts/a")
    assert record["spec"]["device"]["hostType"] == "agent-mode"
    assert record["metadata"]["labels"] == {"site": "north"}
    assert "hostAuthToken" not in record["spec"]["host"] or not record["spec"]["host"]["hostAuthToken"]

    # it comes up
    cluster = real.create([real.profile("1.0.0", "1.35.4"), real.addon("kind: Namespace")], cp=["a"], w=["b", "c"])
    real.healthy(cluster)
    nodes = real.nodes(cluster)
    assert {name: entry[0] for name, entry in nodes.items()} == {"a": True, "b": True, "c": True}

    # a host is killed and comes back, and goes on with what it had
    hosts.stop("b")
    hosts.start("b")
    assert hosts.observed("b")["cluster_uid"] == cluster

    # the plane goes away: the hosts stay as they are, and are there again afterwards
    real.stop()
    until(lambda: hosts.observed("a")["phase"] == "running", 5)
    real.start()
    real.healthy(cluster)

    # a worker more
    real.call("PUT", f"{real.pools_path(cluster)}/w", pool("w", ["b", "c", "d"]))
    until(lambda: set(real.nodes(cluster)) == {"a", "b", "c", "d"}, 40, "a fourth node")
    real.healthy(cluster)

    # another version, one host after the other
    new = real.profile("1.1.0", "1.36.3")
    old = real.call("GET", f"/v1/spectroclusters/{cluster}")["spec"]["clusterProfileTemplates"]
    before = next(one["uid"] for one in old if one["name"] == "edge")
    real.call(
        "PATCH", f"/v1/spectroclusters/{cluster}/profiles", {"profiles": [{"uid": new, "replaceWithProfile": before}]}
    )
    until(lambda: {entry[2] for entry in real.nodes(cluster).values()} == {"v1.36.3"}, 90, "the new version on all")
    real.healthy(cluster)
    assert not any(entry[1] for entry in real.nodes(cluster).values())

    # a worker less: it leaves, and stays registered and clean
    machines = real.call("GET", f"{real.pools_path(cluster)}/w/machines")["items"]
    machine = next(one["metadata"]["uid"] for one in machines if one["spec"]["edgeHostUid"] == "d")
    real.call("DELETE", f"{real.pools_path(cluster)}/w/machines/{machine}")
    until(lambda: hosts.observed("d")["phase"] == "idle" and hosts.observed("d")["cluster_uid"] is None, 40)
    until(lambda: set(real.nodes(cluster)) == {"a", "b", "c"}, 40, "three nodes")

    # and away with it
    real.call("DELETE", f"/v1/spectroclusters/{cluster}")
    until(lambda: not any(hosts.observed(name)["cluster_uid"] for name in ("a", "b", "c")), 40, "all have left")
    until(lambda: real.call("GET", "/v1/edgehosts/a")["status"]["state"] == "ready", 40, "the host is free")


def test_a_bundle_that_is_forged_takes_no_host_out_of_service_and_the_upgrade_goes_on_with_a_good_one(
    tmp_path: Path,
) -> None:
    old, new, names = "1.35.4", "1.36.3", ("a", "b")
    maker = Maker(tmp_path / "content", Keys(tmp_path / "keys"), new)
    good = maker.make().read_bytes()
    forged = Maker(tmp_path / "forged", Keys(tmp_path / "others"), new).make().rename(tmp_path / "content/next")
    forged.rename(tmp_path / f"content/edge-k8s-{new}-{maker.arch}.tar.zst")
    real = RealPlane(tmp_path)
    running: list[RunningAgent] = []
    try:
        real.project = real.call("POST", "/v1/projects", {"metadata": {"name": "retail"}, "spec": {}})["uid"]
        token = real.token(defaultProjectUid=real.project)
        engines = []
        for name in names:
            options = simulated(tmp_path, 200.0).options
            configuration = Configuration("simulated", Trust(maker.keys.public), options)
            engine = StockedEngine(Surroundings(tmp_path / name, options))
            engine.put(old)
            engines.append(engine)
            agent = RunningAgent(tmp_path / name, user_data(real.url, token, name), configuration, engine=engine)
            running.append(agent.__enter__())
        until(lambda: all(real.health(name) == "healthy" for name in names), 30)
        before = real.profile("1.0.0", old)
        cluster = real.create([before], cp=["a"], w=["b"])
        real.healthy(cluster)

        change = {"profiles": [{"uid": real.profile("1.1.0", new), "replaceWithProfile": before}]}
        real.call("PATCH", f"/v1/spectroclusters/{cluster}/profiles", change)

        def both_are_named() -> bool:
            events = real.call("GET", f"/v1/events/components/spectrocluster/{cluster}")["items"]
            told = {event["message"].partition(" ")[0] for event in events if event["reason"] == "SignatureWrong"}
            return set(names) <= told

        until(both_are_named, 40, "both hosts say what is wrong with the content")
        assert real.state(cluster) == ("Running", "Unhealthy")
        assert real.nodes(cluster) == dict.fromkeys(names, (True, False, f"v{old}"))
        assert not any("drain" in engine.calls for engine in engines)

        # a good one in its place, at once, as a folder is updated
        (tmp_path / "replacement").write_bytes(good)
        (tmp_path / "replacement").rename(tmp_path / f"content/edge-k8s-{new}-{maker.arch}.tar.zst")
        until(lambda: {entry[2] for entry in real.nodes(cluster).values()} == {f"v{new}"}, 60, "the new version")
        real.healthy(cluster)
        assert all(engine.versions() == [old, new] for engine in engines)
        assert "drain" in engines[0].calls
    finally:
        for agent in running:
            agent.__exit__()
        real.stop()


def test_three_control_plane_hosts_and_the_loss_of_the_lead(real: RealPlane, hosts: Hosts) -> None:
    hosts.start("a", "b", "c")
    hosts.registered("a", "b", "c")
    cluster = real.create([real.profile("1.0.0", "1.35.4")], cp=["a", "b", "c"])
    real.healthy(cluster)
    assert hosts.observed("a")["etcd"] == {"healthy": True, "members": 3}
    assert all(entry[0] for entry in real.nodes(cluster).values())


def test_a_fault_is_seen_and_gone_on_from(real: RealPlane, tmp_path: Path) -> None:
    hosts = Hosts(tmp_path, real, real.token(defaultProjectUid=real.project))
    hosts.start("fail-bootstrap-a")
    try:
        hosts.registered("fail-bootstrap-a")
        cluster = real.create([real.profile("1.0.0", "1.35.4")], cp=["fail-bootstrap-a"])
        real.healthy(cluster)
        events = real.call("GET", f"/v1/events/components/spectrocluster/{cluster}")["items"]
        assert any("bootstrap fails once" in event["message"] for event in events)
    finally:
        hosts.stop("fail-bootstrap-a")


def test_tokens_that_do_not_hold(real: RealPlane, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    text = user_data(real.url, "wrong", "a")
    with RunningAgent(tmp_path / "a", text, simulated(tmp_path)) as running:
        until(lambda: "InvalidRegistrationToken" in caplog.text, 20)
        assert not running.agent.central.registered.is_set()
    assert "wrong" not in caplog.text.replace("wrong,", "")


def test_a_host_that_is_registered_already_waits_until_its_record_is_deleted(
    real: RealPlane, hosts: Hosts, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hosts.start("a")
    hosts.registered("a")
    hosts.stop("a")
    text = user_data(real.url, hosts.token, "a")
    with RunningAgent(tmp_path / "other", text, simulated(tmp_path, 200.0)) as other:
        until(lambda: "AlreadyRegisteredEdgeHostDevice" in caplog.text, 20)
        real.call("DELETE", "/v1/edgehosts/a")
        until(other.agent.central.registered.is_set, 20)


def test_a_deleted_record_ends_the_registration_and_nothing_else(
    real: RealPlane, hosts: Hosts, caplog: pytest.LogCaptureFixture
) -> None:
    hosts.start("a")
    hosts.registered("a")
    real.call("DELETE", "/v1/edgehosts/a")
    until(lambda: "no longer knows this host" in caplog.text, 20)
    assert hosts.running["a"].agent.identity.refused


def test_logs_come_on_request(real: RealPlane, hosts: Hosts) -> None:
    hosts.start("a")
    hosts.registered("a")
    cluster = real.create([real.profile("1.0.0", "1.35.4")], cp=["a"])
    real.healthy(cluster)
    real.call("POST", f"/v1/spectroclusters/{cluster}/features/logFetcher", {"duration": 10, "mode": "cluster"})
    until(lambda: hosts.running["a"].agent.journal.state.logs_done, 20)


def test_a_reset_is_done_once(real: RealPlane, hosts: Hosts) -> None:
    hosts.start("a")
    hosts.registered("a")
    real.call("PUT", "/v1/edgehosts/a/reset")
    done = until(lambda: hosts.observed("a")["reset_done"], 20)
    hosts.stop("a")
    hosts.start("a")
    assert hosts.observed("a")["reset_done"] == done
