# SPDX-License-Identifier: GPL-3.0-or-later
"""The simulated engine, its faults and its Kubernetes API; a fleet of hosts; the configuration file; host settings."""

from __future__ import annotations

import json
import shutil
import ssl
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bundles import Keys
from support import FakePlane, desired, until

from paletteops_agent import config
from paletteops_agent import desired as wire
from paletteops_agent.desired import Wanted
from paletteops_agent.engine import (
    ENGINES,
    Cluster,
    Engine,
    EngineError,
    JoinMaterial,
    Manifest,
    Member,
    Pack,
    Surroundings,
    make_engine,
)
from paletteops_agent.engine.kubeadm.engine import KubeadmEngine
from paletteops_agent.engine.simulated.engine import SimulatedEngine
from paletteops_agent.fleet import Fleet
from paletteops_agent.hostsettings import HostSettings, with_keys
from paletteops_agent.paths import Paths

# both fillings keep the seam: a type checker looks at these
_FILLINGS: tuple[type[Engine], ...] = (SimulatedEngine, KubeadmEngine)


def wanted(**parts: Any) -> Wanted:
    return wire.read(desired("g", "run", **parts))


def parts_of(name: str, control_plane: bool = True, version: str = "1.35.4") -> tuple[Cluster, Member]:
    found = wanted(uid=name, version=version)
    assert found.cluster is not None and found.member is not None
    return found.cluster, replace(found.member, control_plane=control_plane)


class Hosts:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.made: list[SimulatedEngine] = []

    def __call__(self, name: str, **options: Any) -> SimulatedEngine:
        given = {"speed": 1000, "directory": str(self.folder / "world"), **options}
        self.made.append(SimulatedEngine(Surroundings(self.folder / name, given)))
        return self.made[-1]


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[Hosts]:
    found = Hosts(tmp_path)
    yield found
    for engine in found.made:
        engine._close_api()


def test_engines_by_name(tmp_path: Path) -> None:
    for name in ENGINES:
        assert make_engine(name, Surroundings(tmp_path)).name == name
    with pytest.raises(ValueError, match="no engine 'k3s': there are kubeadm, simulated"):
        make_engine("k3s", Surroundings(tmp_path))


def test_a_cluster_of_two(hosts: Hosts) -> None:
    first, second = hosts("a"), hosts("b")
    cluster, a = parts_of("a")
    _, b = parts_of("b", control_plane=False)
    first.bootstrap(cluster, a)
    first.bootstrap(cluster, a)
    material = first.admit(False, 900)
    second.join(cluster, b, material)
    node = until(lambda: (found := second.node()) and found.ready and found)
    assert node and (node.name, node.kubernetes_version, node.cordoned) == ("b", "1.35.4", False)
    first.drain("b", 30)
    assert second.node() == replace(node, cordoned=True)
    first.uncordon("b")
    second.upgrade(replace(cluster, version="1.36.3"), b)
    again = hosts("b")
    found = again.node()
    assert found is not None and found.kubernetes_version == "1.36.3", "also after a restart"
    again.leave(False)
    assert again.node() is None
    first.forget("b", False, "")
    first.reset()
    assert not list((hosts.folder / "world").glob("*.json"))
    assert first.traces() == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"token": "abcdef.0000000000000000"}, "does not know the join token"),
        ({"certificate_key": None}, "needs a certificate key"),
    ],
)
def test_joining_with_what_does_not_hold(change: dict[str, Any], said: str, hosts: Hosts) -> None:
    first, second = hosts("a"), hosts("b")
    cluster, a = parts_of("a")
    first.bootstrap(cluster, a)
    material = replace(first.admit(True, 900), **change)
    with pytest.raises(EngineError, match=said):
        second.join(cluster, parts_of("b")[1], material)


def test_an_expired_token(hosts: Hosts) -> None:
    first, second = hosts("a"), hosts("b")
    cluster, a = parts_of("a")
    first.bootstrap(cluster, a)
    with pytest.raises(EngineError, match="it has expired"):
        second.join(cluster, parts_of("b")[1], first.admit(True, -1))


def test_join_material_shows_nothing_of_itself(hosts: Hosts) -> None:
    material = JoinMaterial("x:1", "secret-token", ["sha256:0"], "secret-key", "2030-01-01T00:00:00Z")
    assert "secret" not in repr(material) and "secret" not in f"{material}"


def test_faults(hosts: Hosts) -> None:
    fault = {"call": "bootstrap", "node": "store-", "times": 2, "reason": "EtcdSick", "message": "no quorum"}
    engine = hosts("a", faults=[fault])
    cluster, member = parts_of("store-1")
    for _ in range(2):
        with pytest.raises(EngineError, match="EtcdSick: no quorum"):
            engine.bootstrap(cluster, member)
    engine.bootstrap(cluster, member)
    other = hosts("b")
    with pytest.raises(EngineError):
        other.bootstrap(cluster, parts_of("fail-bootstrap-b")[1])
    other = hosts("b")
    other.bootstrap(cluster, parts_of("fail-bootstrap-b")[1])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"speed": 0}, "simulated.speed is 0; it must be a number above 0"),
        ({"speed": "fast"}, "simulated.speed is 'fast'"),
        ({"faults": [{"call": "dance"}]}, r"faults\[0\].call must be one of"),
    ],
)
def test_options_that_do_not_do(options: dict[str, Any], said: str, hosts: Hosts) -> None:
    with pytest.raises(ValueError, match=said):
        hosts("a", **options)


def test_a_folder_of_somebody_else(hosts: Hosts) -> None:
    (hosts.folder / "world").mkdir(mode=0o777)
    (hosts.folder / "world").chmod(0o777)
    with pytest.raises(EngineError, match=r"is open to others: set simulated\.directory"):
        hosts("a").bootstrap(*parts_of("a"))


def test_packs(hosts: Hosts) -> None:
    engine = hosts("a", speed=50)
    engine.bootstrap(*parts_of("a"))
    good = Pack("p", "good", "1", "d1", [Manifest("x", "kind: Namespace")])
    bad = Pack("p", "bad", "1", "d2", [Manifest("x", "# simulate-error")])
    states = {one.name: one.state for one in engine.apply([good, bad])}
    assert states == {"good": "Deploying", "bad": "Error"}
    until(lambda: engine.apply([good])[0].state == "Ready")
    assert [(one.name, one.digest) for one in engine.apply([replace(good, digest="d3")])] == [("good", "d3")]


def test_a_snapshot_and_the_way_back(hosts: Hosts, tmp_path: Path) -> None:
    engine = hosts("a")
    engine.bootstrap(*parts_of("a"))
    engine.snapshot(tmp_path / "snapshot")
    engine.drain("a", 1)
    engine.restore(tmp_path / "snapshot")
    node = engine.node()
    assert node is not None and not node.cordoned
    (tmp_path / "other").write_text("hello")
    with pytest.raises(EngineError, match="is no snapshot"):
        engine.restore(tmp_path / "other")


# --- its Kubernetes API ---


class Api:
    def __init__(self, engine: SimulatedEngine) -> None:
        self.config = json.loads(engine.kubeconfig())
        server = self.config["clusters"][0]["cluster"]
        self.url = server["server"]
        import base64

        authority = base64.b64decode(server["certificate-authority-data"]).decode()
        self.context = ssl.create_default_context(cadata=authority)
        self.token = self.config["users"][0]["user"]["token"]

    def get(self, path: str, method: str = "GET", token: str | None = None) -> Any:
        request = urllib.request.Request(self.url + path, method=method, data=b"{}" if method == "POST" else None)
        request.add_header("Authorization", f"Bearer {self.token if token is None else token}")
        handlers = urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=self.context)
        with urllib.request.build_opener(*handlers).open(request, timeout=10) as response:
            content = response.read()
        return json.loads(content) if content.startswith(b"{") else content.decode()


@pytest.fixture
def api(hosts: Hosts) -> Api:
    first, second = hosts("a"), hosts("b")
    cluster, a = parts_of("a")
    first.bootstrap(cluster, a)
    second.join(cluster, parts_of("b", control_plane=False)[1], first.admit(False, 900))
    return Api(first)


def test_what_the_api_answers(api: Api) -> None:
    assert api.get("/version")["gitVersion"] == "v1.35.4"
    assert api.get("/readyz") == "ok"
    assert {one["name"] for one in api.get("/api/v1")["resources"]} >= {"nodes", "namespaces", "pods"}
    assert {one["name"] for one in api.get("/apis")["groups"]} == {"apps"}
    nodes = {one["metadata"]["name"]: one for one in api.get("/api/v1/nodes")["items"]}
    assert set(nodes) == {"a", "b"}
    assert "node-role.kubernetes.io/control-plane" in nodes["a"]["metadata"]["labels"]
    assert nodes["b"]["spec"]["podCIDR"] == "10.244.1.0/24"
    assert api.get("/api/v1/nodes/b")["metadata"]["name"] == "b"
    assert [one["metadata"]["name"] for one in api.get("/api/v1/nodes?labelSelector=kubernetes.io/hostname=b")["items"]]
    assert api.get("/apis/apps/v1/namespaces/default/deployments")["items"] == []
    assert api.get("/api/v1/pods")["kind"] == "PodList"


@pytest.mark.parametrize(
    ("path", "method", "token", "status"),
    [
        ("/api/v1/nodes", "GET", "wrong", 401),
        ("/api/v1/nodes/nobody", "GET", None, 404),
        ("/api/v1/secrets", "GET", None, 404),
        ("/api/v1/nodes?watch=1", "GET", None, 405),
        ("/api/v1/namespaces", "POST", None, 405),
    ],
)
def test_what_the_api_refuses(path: str, method: str, token: str | None, status: int, api: Api) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        api.get(path, method, token)
    assert caught.value.code == status
    assert json.load(caught.value)["kind"] == "Status"


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not here")
def test_kubectl(api: Api, tmp_path: Path) -> None:
    (tmp_path / "kubeconfig").write_text(json.dumps(api.config))
    command = ["kubectl", "--kubeconfig", str(tmp_path / "kubeconfig"), "--cache-dir", str(tmp_path / "cache")]
    until(lambda: "NotReady" not in _kubectl([*command, "get", "nodes"]))
    lines = _kubectl([*command, "get", "nodes", "--no-headers"]).splitlines()
    assert [line.split()[:3] for line in lines] == [["a", "Ready", "control-plane"], ["b", "Ready", "<none>"]]


def _kubectl(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def test_the_api_keeps_its_port_over_a_restart(hosts: Hosts) -> None:
    first = hosts("a")
    first.bootstrap(*parts_of("a"))
    before = Api(first).url
    first._close_api()
    until(lambda: _is_free(before))
    assert Api(hosts("a")).url == before


def _is_free(url: str) -> bool:
    import socket

    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", int(url.rpartition(":")[2]))) != 0


# --- a fleet ---


def test_a_fleet(tmp_path: Path, plane: FakePlane) -> None:
    fleet = Fleet(plane.url, "token", tmp_path, count=6, prefix="store", speed=1000, rate=200)
    fleet.start()
    try:
        until(lambda: fleet.registered == 6 and len(plane.heartbeats) >= 6)
        names = {body["metadata"]["name"] for _, _, _, body in plane.of("POST", "/register")}
        assert names == {f"store-000{number}" for number in range(1, 7)}
        addresses = {body["spec"]["host"]["hostAddress"] for _, _, _, body in plane.of("POST", "/register")}
        assert len(addresses) == 6
        threads = [thread for thread in threading.enumerate() if thread.name.startswith("store-")]
        assert len(threads) == 6, "one thread a host"
        plane.say(desired("g1", "prepare"))
        until(lambda: len([one for one in plane.of("PUT", "observed") if one[3]["phase"] == "prepared"]) >= 6)
    finally:
        fleet.stop()
    until(lambda: not any(thread.name.startswith("store-") for thread in threading.enumerate()))


# --- the configuration file ---


def test_the_configuration(tmp_path: Path) -> None:
    assert config.read(tmp_path / "none").engine == "kubeadm"
    path = tmp_path / "agent.yaml"
    key = Keys(tmp_path / "keys").public
    given = "  ".join(key.splitlines(keepends=True))  # as it is once a template has indented it
    path.write_text(json.dumps({"engine": "simulated", "content": {"public_key": given}, "simulated": {"speed": 2}}))
    found = config.read(path)
    assert (found.engine, found.options, found.trust.public_key) == ("simulated", {"speed": 2}, key)
    assert not found.trust.allow_older and not found.trust.allow_unsigned


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[", "is not YAML"),
        ("- a", "must hold a map"),
        ("engine: k3s", "engine is 'k3s'; allowed are kubeadm, simulated"),
        ("motor: x", "motor is unknown; there are content, engine, kubeadm, simulated"),
        ("content: {key: x}", "content.key is unknown; there are public_key, allow_older, allow_unsigned"),
        ("content: {public_key: x}", "content.public_key is no public key in PEM form"),
        ("content: {public_key: '-----BEGIN PUBLIC KEY-----'}", "write it whole, from -----BEGIN PUBLIC KEY-----"),
        ("content: {allow_older: 1}", "content.allow_older is 1; allowed are true and false"),
        ("simulated: fast\nengine: simulated", "simulated must be a map"),
    ],
)
def test_a_configuration_that_does_not_do(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "agent.yaml"
    path.write_text(text)
    with pytest.raises(config.ConfigurationError) as caught:
        config.read(path)
    assert said in str(caught.value) and str(path) in str(caught.value)


# --- settings of the host ---


def test_keys_of_the_cluster_stand_beside_the_users_own() -> None:
    own = "ssh-ed25519 AAAA me\n"
    with_ours = with_keys(own, ("ssh-ed25519 BBBB ops",))
    assert with_ours == own + "# BEGIN spectro cluster keys\nssh-ed25519 BBBB ops\n# END spectro cluster keys\n"
    assert with_keys(with_ours, ("ssh-ed25519 CCCC",)).count("ssh-ed25519") == 2
    assert with_keys(with_ours, ()) == own


def test_a_tree_below_a_folder_gets_no_settings(tmp_path: Path) -> None:
    cluster = replace(parts_of("a")[0], ntp_servers=["ntp.example"], ssh_keys=["ssh-ed25519 AAAA"])
    HostSettings(Paths(tmp_path))(cluster)
    assert list(tmp_path.iterdir()) == []
