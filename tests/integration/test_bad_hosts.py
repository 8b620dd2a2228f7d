# SPDX-License-Identifier: GPL-3.0-or-later
"""What agent mode says to hosts, downloads, tokens and user-data that do not do, and that nothing of them stays.

The machines are folders (see foldermachines.py); the role, the agent and the plane are the real ones. What needs a
network or a disk of its own is tested on real hosts, end to end.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from foldermachines import JOURNALCTL, OF_THIS_MACHINE, Machine, needed
from support.collection import REPOSITORY
from support.hosts import make_token, register, until
from support.plane import RunningPlane
from support.runs import Api
from test_playbooks import CHECK, SUBMIT, Ran
from test_playbooks_hosts import MEMBERS, OTHER, PROFILE, STORE, Hosts, cluster

Values = dict[str, Any]

END = "The host is ready"

#: Has the agent try nothing with Kubernetes.
SIMULATED: Values = {
    "stages": {
        "initramfs": [{"files": [{"path": "/etc/spectro/paletteops-agent.yaml", "content": "engine: simulated\n"}]}]
    }
}

#: A profile whose pods have the range 198.51.100.0/24.
RANGE = {"cluster": {"config": {"clusterConfiguration": {"networking": {"podSubnet": "198.51.100.0/24"}}}}}
PACKS: list[Values] = PROFILE["packs"]  # type: ignore[assignment]
RANGED: Values = {
    **PROFILE,
    "packs": [{**pack, "values": RANGE} if pack["name"] == "edge-k8s" else pack for pack in PACKS],
}


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The agent as it is brought to hosts."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, REPOSITORY / "tools/agent.py", folder], check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def digest(dist: Path) -> str:
    return hashlib.sha256((dist / "palette-agent-linux-amd64").read_bytes()).hexdigest()


class Downloads:
    """A server that has the agent, and cuts it short in the ways that there are. It lives in January 2026."""

    def __init__(self, whole: bytes) -> None:
        part = whole[: len(whole) // 2]
        answers = {"/whole": (whole, len(whole)), "/short": (part, len(part)), "/cut": (part, len(whole))}

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, format: str, *args: Any) -> None:
                pass

            def date_time_string(self, timestamp: float | None = None) -> str:
                return "Thu, 01 Jan 2026 00:00:00 GMT"

            def do_GET(self) -> None:
                body, size = answers.get(self.path.partition("?")[0], (b"", 0))
                self.send_response(200 if body or self.path == "/" else 404)
                self.send_header("Content-Length", str(size))
                self.end_headers()
                self.wfile.write(body)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        #: with all that a URL can hold and nobody is to read
        self.secret_url = self.url.replace("//", "//canary-user:canary-password@")
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="module")
def downloads(dist: Path) -> Iterator[Downloads]:
    made = Downloads((dist / "palette-agent-linux-amd64").read_bytes())
    yield made
    made.close()


def installed_on(machine: Machine, dist: Path, **own: Any) -> Values:
    """What the inventory says of a spare host that gets the agent; None takes a variable away."""
    usual = {
        "palette_mode": "agent",
        "palette_project": "stores",
        "palette_registration_token": "stores",
        "palette_agent_file": str(dist / "palette-agent-linux-{arch}"),
        "palette_agent_user_data": SIMULATED,
        **machine.variables,
        **own,
    }
    return {name: value for name, value in usual.items() if value is not None}


def spoilt_tokens(plane: RunningPlane) -> None:
    """One that has expired, and one that is switched off."""
    api = Api(plane)
    ends = (datetime.now(UTC) + timedelta(seconds=2)).strftime("%Y-%m-%dT%H:%M:%SZ")
    api.call("POST", "/v1/edgehosts/tokens", {"metadata": {"name": "expired"}, "spec": {"expiry": ends}})
    make_token(api, "switched-off")
    uid = api.names("registration_tokens")["switched-off"]
    api.call("PUT", f"/v1/edgehosts/tokens/{uid}/state", {"isActive": False})
    until(lambda: datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") > ends)


DIGEST = {"palette_agent_checksum": "{digest}"}

#: Machines and what the inventory says of them, by what is wrong, with the words that the user reads. Variables may
#: name the server of downloads as {url} and the agent's checksum as {digest}.
CASES: dict[str, tuple[Values, Values, tuple[str, ...]]] = {
    # --- the host ---
    "architecture": ({"personality": "i686"}, {}, ("The architecture is i686", "amd64 and arm64", "Use another host")),
    "init-system": ({"systemd": False}, {}, ("The init system is not systemd", "Use a host with systemd")),
    "port": (
        {"listens": 10250},
        # it is in a network of its own
        {"palette_agent_ignore": [name for name in OF_THIS_MACHINE if name != "ports"] + ["plane"]},
        ("Ports are taken: 10250", "Stop what listens there"),
    ),
    "clock": ({}, {"palette_agent_endpoint": "{url}"}, ("The clock is", "s ahead of the management plane's", "Set it")),
    "range": (
        {"address": "198.51.100.7/24"},
        {},
        ("The address 198.51.100.7/24 lies in 198.51.100.0/24", "Take another range"),
    ),
    "old-record": ({}, {}, ("knows a host 'old-record' already", "state absent", "palette_host_uid")),
    "other-agent": ({}, {}, ("There is an agent already that this role did not install", "uninstall it")),
    # --- what comes to it ---
    "checksum": (
        {},
        {"palette_agent_checksum": "0" * 64},
        ("{digest}, and it should be " + "0" * 64, "nothing of it has run", "Correct palette_agent_checksum"),
    ),
    "checksum-of-download": (
        {},
        {"palette_agent_file": None, "palette_agent_url": "{url}/whole", "palette_agent_checksum": "1" * 64},
        ("The SHA-256 of {url}/whole is {digest}", "1" * 64, "nothing of it has run", "Correct palette_agent_checksum"),
    ),
    "download-that-is-short": (
        {},
        {"palette_agent_file": None, "palette_agent_url": "{url}/short", "palette_agent_checksum": "{digest}"},
        ("The SHA-256 of {url}/short is", "should be {digest}", "take another file"),
    ),
    "download-that-is-cut-off": (
        {},
        {"palette_agent_file": None, "palette_agent_url": "{url}/cut", "palette_agent_checksum": "{digest}"},
        ("{url}/cut did not come to the host", "Correct palette_agent_url", "nothing of it has run"),
    ),
    "download-of-nothing": (
        {},
        {"palette_agent_file": None, "palette_agent_url": "{url}/none", "palette_agent_checksum": "{digest}"},
        ("{url}/none did not come to the host", "404", "Correct palette_agent_url"),
    ),
    "download-with-secrets": (
        {},
        {"palette_agent_file": None, "palette_agent_url": "{secret}/cut?sig=canary-1&a=canary-2", **DIGEST},
        ("://********@127.0.0.1", "/cut?sig=********&a=******** did not come", "Correct palette_agent_url"),
    ),
    "checksum-of-download-with-secrets": (
        {},
        {"palette_agent_file": None, "palette_agent_url": "{secret}/short?sig=canary-3", **DIGEST},
        ("The SHA-256 of http://********@127.0.0.1", "/short?sig=******** is", "should be {digest}"),
    ),
    "checksum-that-is-none": (
        {},
        {"palette_agent_file": None, "palette_agent_url": "{secret}/short?canary-4", "palette_agent_checksum": "?"},
        ("The checksum of http://********@127.0.0.1", "/short?******** is '?'"),
    ),
    "file-of-nothing": (
        {},
        {"palette_agent_file": "/nowhere/agent"},
        ("There is no file /nowhere/agent where Ansible runs", "Correct palette_agent_file"),
    ),
    "archive-that-is-short": (
        {},
        {"palette_agent_file": None, "palette_agent_archive": "{url}/short", "palette_agent_checksum": "{digest}"},
        ("The SHA-256 of {url}/short is", "should be {digest}"),
    ),
    "packages": ({}, {}, ("Install what is missing: E: Unable to locate package conntrack",)),
    # --- what it is told ---
    "token-expired": (
        {},
        {"palette_registration_token": "expired"},
        ("The registration token 'expired' has expired at 20", "Renew it", "Nothing was done on the host"),
    ),
    "token-switched-off": (
        {},
        {"palette_registration_token": "switched-off"},
        ("The registration token 'switched-off' is switched off", "active: true", "Nothing was done on the host"),
    ),
    "token-of-another-name": (
        {},
        {"palette_registration_token": "storse"},
        ("There is no registration token named 'storse'", "expires_in"),
    ),
    "management-mode": (
        {},
        {"palette_agent_user_data": {"stylus": {"managementMode": "remote"}}},
        ("stylus.managementMode is 'remote'", "Take it out, or write central"),
    ),
    "user-data": (
        {},
        {"palette_agent_user_data": {"stages": {"boot": [{"users": {}}]}}},
        ("palette-agent install ended with 1", "stages.boot[0].users is not supported; there are"),
    ),
}


class Tried:
    """The machines of CASES after a run of the playbook, and what it came to."""

    def __init__(self, place: Hosts, machines: dict[str, Machine], values: dict[str, str]) -> None:
        self.place, self.machines, self.values = place, machines, values
        self.ran: Ran


@pytest.fixture(scope="module")
def tried(dist: Path, digest: str, downloads: Downloads, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tried]:
    needed()
    folder = tmp_path_factory.mktemp("tried")
    values = {"{url}": downloads.url, "{secret}": downloads.secret_url, "{digest}": digest}

    def filled(value: Any) -> Any:
        for name, meant in values.items():
            value = value.replace(name, meant) if isinstance(value, str) else value
        return value

    with RunningPlane(folder / "plane", speed=100_000.0, limits=False) as plane:
        place = Hosts(plane, folder / "runs")
        machines = {name: Machine(name, folder, **facts) for name, (facts, _, _) in CASES.items()}
        other = machines["other-agent"].root / "opt/spectrocloud/bin/palette-agent"
        other.parent.mkdir(parents=True)
        other.write_text("of somebody else")
        machines["other-agent"].before = machines["other-agent"].files()
        # packages are looked after in any case where an installation was interrupted
        machines["packages"].command("apt-get", "#!/bin/sh\necho E: Unable to locate package conntrack >&2; exit 100\n")
        machines["packages"].before = machines["packages"].files()
        note = machines["packages"].root / "var/lib/paletteops/agent.json"
        note.parent.mkdir()
        note.write_text("{}")
        hosts = {
            name: installed_on(machine, dist, **{key: filled(value) for key, value in CASES[name][1].items()})
            for name, machine in machines.items()
        }
        machines["neighbour"] = Machine("neighbour", folder)
        hosts["neighbour"] = installed_on(machines["neighbour"], dist)
        clusters = {STORE: cluster("range", "neighbour"), OTHER: cluster("fine")}
        place.lay_out(clusters, {**hosts, "fine": {}}, palette_cluster_profiles=[RANGED])
        place.run("foundation").fine()
        spoilt_tokens(plane)
        register(plane, place.token(), "old-record").client.close()
        place.start("fine")
        found = Tried(place, machines, values)
        with place.fleet:
            found.ran = place.run("agent", "-f", "8")
        yield found
        for machine in machines.values():
            machine.stop()


@pytest.mark.parametrize("case", CASES)
def test_what_does_not_do_is_said_and_leaves_a_host_as_it_was(tried: Tried, case: str) -> None:
    message = tried.ran.message(END, case)
    for word in CASES[case][2]:
        for name, meant in tried.values.items():
            word = word.replace(name, meant)
        assert word in message
    assert message in tried.ran.text.replace("\\n", "\n").replace("\\'", "'").replace('\\"', '"'), "nobody reads it"
    kept = [] if case != "packages" else [f"var/lib/paletteops{name}" for name in ("", "/packages.before")]
    assert tried.machines[case].changes == kept


def test_no_secret_of_a_url_is_shown(tried: Tried) -> None:
    assert "canary" not in tried.ran.text


def test_a_bad_host_keeps_its_cluster_and_the_other_members_as_they_are(tried: Tried) -> None:
    assert tried.ran.rc == 2
    assert "range" in tried.ran.message(END, "neighbour")
    assert tried.machines["neighbour"].changes == []
    assert "198.51.100.7/24" in tried.ran.message(MEMBERS, STORE)
    assert set(tried.place.clusters("stores")) == {OTHER}
    assert set(tried.place.records()) == {"old-record", "fine"}


def test_user_data_that_are_no_map_are_refused_before_anything(tried: Tried, dist: Path) -> None:
    machine = tried.machines["neighbour"]
    given = installed_on(machine, dist, palette_agent_user_data="stylus: [")
    tried.place.lay_out({}, {"neighbour": given})
    ran = tried.place.run("agent")
    assert ran.rc == 2
    assert "palette_agent_user_data" in ran.message(CHECK, "neighbour")
    assert machine.changes == []


# --- what shows only once an agent runs ---


@pytest.fixture
def place(planes: Callable[..., RunningPlane], tmp_path: Path) -> Hosts:
    """A plane with a project and a token; agents call it by themselves, so requests are not counted."""
    made = Hosts(planes(), tmp_path / "runs")
    made.ansible.recorded = False
    return made


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    needed()
    made = Machine("lone", tmp_path)
    yield made
    made.stop()


def run(place: Hosts, given: Values, *options: str, timeout: int = 90) -> Ran:
    """The playbook for one spare host; what clusters share comes from the group."""
    place.lay_out({}, {"lone": {"palette_host_wait_timeout": timeout, **given}})
    return place.run("agent", *options)


def prepared(place: Hosts) -> str:
    """A project and a token; returns the token's secret."""
    api = Api(place.plane)
    project = api.call("POST", "/v1/projects", {"metadata": {"name": "stores"}})["uid"]
    return make_token(api, "stores", project)


def programs(machine: Machine) -> dict[str, str]:
    return {path: content for path, content in machine.files().items() if path.startswith("opt/spectrocloud/bin")}


def test_a_token_that_the_plane_refuses_is_said_by_the_agent_and_another_one_mends_it(
    place: Hosts, machine: Machine, dist: Path
) -> None:
    secret = prepared(place)
    wrong = {"stylus": {"site": {"edgeHostToken": "canary-wrong-token"}}, **SIMULATED}
    proxies = {"ftp_proxy": "http://somebody:canary-p@ss@192.0.2.60:3128"}
    given = installed_on(
        machine,
        dist,
        palette_registration_token=None,
        palette_agent_user_data=wrong,
        palette_agent_environment=proxies,
    )
    # there are agents that say what they were given
    machine.command("journalctl", f"{JOURNALCTL}echo canary-wrong-token {proxies['ftp_proxy']}\n")
    refused = run(place, given, "-v", timeout=2)
    message = refused.message("The host did not register", "lone")
    for word in ("'lone' was not registered", "not known to the plane", "InvalidRegistrationToken", "edgeHostToken"):
        assert word in message
    assert "******** http://somebody:********@192.0.2.60:3128" in message
    assert "canary" not in refused.text
    assert place.records() == {}

    given = installed_on(machine, dist)
    mended = run(place, given, "-vvv").fine()
    assert place.records() == {"lone": "ready"}
    assert secret not in mended.text and secret in machine.files()["oem/userdata"]

    # an upgrade that does not come leaves the agent that is there, and the next run goes on
    before = programs(machine)
    bad = run(place, {**given, "palette_agent_checksum": "0" * 64})
    assert "Correct palette_agent_checksum" in bad.message("The agent was installed", "lone")
    assert programs(machine) == before and "opt/spectrocloud/bin/palette-agent" in before
    noted = {"plane": place.plane.url, "project": "stores"}
    assert json.loads(machine.files()["var/lib/paletteops/agent.json"]) == noted
    assert place.records() == {"lone": "ready"}
    assert run(place, given).fine().changed["lone"] > 0


#: Stands for the command of that name, which the installation calls last, with user-data: notes which files there are
#: then of the user who signs in.
WATCHING = """\
#!/bin/sh
find /home -type f >/var/log/seen
exec /usr/bin/sha256sum "$@"
"""


@pytest.mark.parametrize("said", ["nothing", "ansible_pipelining"])
def test_user_data_come_to_a_host_in_no_file_of_the_user_who_signs_in(
    place: Hosts, machine: Machine, dist: Path, digest: str, downloads: Downloads, said: str
) -> None:
    prepared(place)
    machine.command("sha256sum", WATCHING)
    given: Values = {"ansible_ssh_pipelining": None, **({} if said == "nothing" else {said: False})}
    given |= {"palette_agent_file": None, "palette_agent_checksum": digest}
    given["palette_agent_url"] = f"{downloads.secret_url}/whole?sig=canary-1"
    foretold = run(place, installed_on(machine, dist, **given), "--check").fine()
    assert "/whole?sig=********" in foretold.text
    made = run(place, installed_on(machine, dist, **given), "-v").fine()
    assert "canary" not in foretold.text + made.text + machine.files()["var/lib/paletteops/agent.json"]
    sent = [Path(path).name for path in (machine.root / "var/log/seen").read_text("utf-8").splitlines()]
    assert ("AnsiballZ_command.py" in sent) == (said != "nothing")


def test_a_host_in_a_cluster_of_another_plane_is_left_to_it(
    place: Hosts, machine: Machine, dist: Path, planes: Callable[..., RunningPlane]
) -> None:
    prepared(place)
    given = installed_on(machine, dist)
    run(place, given).fine()
    kubelet = machine.root / "etc/kubernetes/kubelet.conf"
    kubelet.parent.mkdir()
    kubelet.write_text("stands for a member's")
    before = machine.files()

    other = Hosts(planes(), machine.folder / "other")
    other.ansible.recorded = False
    prepared(other)
    message = run(other, given).message(END, "lone")
    for word in (
        str(kubelet.relative_to(machine.root)),
        place.plane.url,
        other.plane.url,
        "Take it out of its cluster",
    ):
        assert word in message
    assert machine.files() == before
    assert (place.records(), other.records()) == ({"lone": "ready"}, {})


def test_an_agent_that_does_not_run_is_started(place: Hosts, machine: Machine, dist: Path) -> None:
    prepared(place)
    given = installed_on(machine, dist)
    run(place, given).fine()
    assert run(place, given).fine().changed == {"lone": 0}
    machine.stop()
    foretold = run(place, given, "--check").fine()
    assert foretold.changed == {"lone": 1} and "would be started: spectro-palette-agent-start.service" in foretold.text
    assert run(place, given).fine().changed == {"lone": 1}
    assert run(place, given).fine().changed == {"lone": 0}


def test_a_host_is_not_sent_to_another_project(place: Hosts, machine: Machine, dist: Path) -> None:
    prepared(place)
    Api(place.plane).call("POST", "/v1/projects", {"metadata": {"name": "others"}})
    given = installed_on(machine, dist)
    run(place, given).fine()
    before = machine.files()
    moved = {**given, "palette_project": "others"}
    message = run(place, moved).message(END, "lone")
    assert "'stores'" in message and "'others'" in message
    assert machine.files() == before
    # it can go, and come back there
    uninstall = ("teardown", "-e", "palette_confirm_teardown=all", "-e", "palette_agent_uninstall=true")
    place.run(*uninstall).fine()
    assert machine.changes == []


def test_packages_that_an_uninstall_has_left_go_in_a_run_of_their_own(
    place: Hosts, machine: Machine, dist: Path
) -> None:
    prepared(place)
    machine.command("dpkg", '#!/bin/sh\necho "$@" >>/var/log/dpkg\n')
    machine.before = machine.files()
    run(place, installed_on(machine, dist)).fine()
    packages = machine.root / "var/lib/paletteops/packages"
    packages.write_text("conntrack\njq\n")

    uninstall = ("teardown", "-e", "palette_confirm_teardown=all", "-e", "palette_agent_uninstall=true")
    gone = place.run(*uninstall).fine()
    assert "conntrack, jq. They go with palette_agent_remove_packages" in gone.text
    assert machine.changes == ["var/lib/paletteops", "var/lib/paletteops/packages"]
    assert place.run(*uninstall).fine().changed == {"lone": 0}

    removal = (*uninstall, "-e", "palette_agent_remove_packages=true")
    foretold = place.run(*removal, "--check").fine()
    assert "packages that the role installed would be removed" in foretold.text
    assert packages.exists()
    assert place.run(*removal).fine().changed["lone"] == 1
    assert (machine.root / "var/log/dpkg").read_text("utf-8") == "--purge conntrack jq\n"
    assert machine.changes == ["var/log/dpkg"]
    assert place.run(*removal).fine().changed == {"lone": 0}


# --- clusters of hosts, as playbooks bring them about ---


def version(number: str, kubernetes: str) -> Values:
    """A version of the stores' profile, with this version of Kubernetes."""
    packs = [{**pack, "version": kubernetes} if pack["name"] == "edge-k8s" else pack for pack in PACKS]
    return {**PROFILE, "version": number, "packs": packs}


#: Clusters by what is wrong with what becomes of them, with the words that the user reads.
CHANGES: dict[str, tuple[str, ...]] = {
    "downgrade": ("Kubernetes 1.35.4 is older than 1.36.1", "'downgrade-1'", "no way back", "1.36.1 or a newer one"),
    "skew": ("Kubernetes 1.36.1 is 2 minor versions above 1.34.4", "'skew-1'", "go to 1.35 first"),
    "last-host": (
        "(last-host-1) none would stay",
        "Leave one in. One that is alone goes in a second run, after two others have come",
    ),
    "in-use": ("'elsewhere-1' is in use by the cluster 'elsewhere'", "Take it out of that one first, or name another"),
    "vip": ("the VIP 192.0.2.17 is the address of the host 'vip-1'", "name an address that no machine has"),
}


def test_changes_of_clusters_that_cannot_be(planes: Callable[..., RunningPlane], tmp_path: Path) -> None:
    place = Hosts(planes(), tmp_path / "runs")
    versions = [version("0.1.0", "1.34.4"), version("0.2.0", "1.35.4"), version("1.0.0", "1.36.1")]

    def made(name: str, host: str = "", at: str = "1.0.0", vip: int = 0) -> Values:
        number = vip or 100 + [*CHANGES, "elsewhere"].index(name)
        more = {"palette_vip": f"192.0.2.{number}", "palette_profiles": [{"name": "store-base", "version": at}]}
        return cluster(host or f"{name}-1", **more)

    before = {
        "downgrade": made("downgrade"),
        "skew": made("skew", at="0.1.0"),
        "last-host": made("last-host"),
        "elsewhere": made("elsewhere"),
    }
    after = {
        "downgrade": made("downgrade", at="0.2.0"),
        "skew": made("skew"),
        "last-host": made("last-host", "last-host-2"),
        "in-use": made("in-use", "elsewhere-1"),
        "vip": made("vip", vip=17),
    }
    first = [f"{name}-1" for name in before]
    with place.fleet:
        place.lay_out(before, {host: {} for host in first}, palette_cluster_profiles=versions)
        place.run("foundation").fine()
        place.start(*first, "last-host-2", "vip-0", "vip-1")
        place.run("agent").fine()
        kept = {name: (place.members(name), attached(place, name)) for name in before}

        spare = {"palette_mode": "agent", "palette_project": "stores"}
        hosts = {"downgrade-1": {}, "skew-1": {}, "last-host-1": spare, "last-host-2": {}, "elsewhere-1": {}}
        place.lay_out(after, {**hosts, "vip-1": {}}, palette_cluster_profiles=versions)
        ran = place.run("agent")
        assert set(ran.failed) == set(CHANGES)
        for name, words in CHANGES.items():
            message = ran.message(SUBMIT, name)
            assert [word for word in words if word not in message] == [], message
        assert {name: (place.members(name), attached(place, name)) for name in before} == kept
        assert set(place.clusters("stores")) == set(before)

        even = made("vip")
        even["palette_pools"][0]["hosts"] = ["vip-0", "vip-1"]
        place.ansible.forget_requests()
        place.lay_out({"vip": even}, {"vip-0": {}, "vip-1": {}}, palette_cluster_profiles=versions)
        ran = place.run("agent")
        message = ran.message(CHECK, "vip")
        assert "palette_pools.control-plane has 2 hosts" in message and "Use 1, 3, 5 or 7" in message
        assert not ran.writes and set(place.clusters("stores")) == set(before)
    assert not place.fleet.errors


def attached(place: Hosts, name: str) -> list[str]:
    """The uids of the profiles that a cluster has."""
    found = place.api("stores").get(f"/v1/spectroclusters/{place.clusters('stores')[name]}")
    return [profile["uid"] for profile in found["spec"]["clusterProfileTemplates"]]
