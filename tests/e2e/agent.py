#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Agent mode, end to end, on real hosts: the playbooks over SSH, an embedded plane, clusters by kubeadm.

`agent.py [--short | [--second] [--minor]]`. Short: one host: install, a cluster of one, a pod, uninstall, and the host
is as before. Second: the second of two clusters alone. Minor: it begins a minor version below, and is upgraded over it
(a third bundle to build). Needs root and Debian; installs what it needs. Everything is removed at the end; of a run
that fails, logs are kept in .cache/logs/e2e.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from support.plane import RunningPlane

from e2e import footprint, workload
from e2e.hosts import (
    GATEWAY,
    REPOSITORY,
    USER,
    Host,
    Hosts,
    HostsError,
    command,
    ended_by_signals,
    install_packages,
    wait_until,
)

sys.path.insert(0, str(REPOSITORY / "tools"))
import payload

LOGS = REPOSITORY / ".cache" / "logs" / "e2e"
SOCKET = "/run/spectro/containerd/containerd.sock"
KUBERNETES = "/opt/spectrocloud/kubernetes/current/bin"
CONTENT = "/opt/spectrocloud/content"
VERSIONS = ("1.36.1", "1.36.3")
#: a minor version before them, for the second cluster, with --minor
MINOR = "1.35.4"


class Failure(Exception):
    """What was expected and what there is instead."""


class Plane(RunningPlane):
    """A plane that hosts reach and that serves them content."""

    def __init__(self, directory: Path, content: Path) -> None:
        super().__init__(directory, tls=True, listen=f"{GATEWAY}:0")
        self._options += ["--content", str(content)]


class Content:
    """The folder of bundles that the plane serves: links to those of ``bundles``, so that one can be broken."""

    def __init__(self, folder: Path, bundles: Path) -> None:
        self.folder = folder
        folder.mkdir()
        for path in [*bundles.glob("*.tar.zst"), bundles / payload.PUBLIC_KEY]:
            (folder / path.name).symlink_to(path.resolve())

    @property
    def public_key(self) -> str:
        return (self.folder / payload.PUBLIC_KEY).read_text("ascii")

    @contextlib.contextmanager
    def broken(self, version: str) -> Iterator[None]:
        """For a while the bundle of a version is cut off before its end."""
        (link,) = self.folder.glob(f"{payload.NAME}-{version}-*.tar.zst")
        target = link.readlink()
        cut = self.folder / "cut"
        shutil.copyfile(target, cut)
        os.truncate(cut, target.stat().st_size - 1024 * 1024)
        cut.rename(link)
        try:
            yield
        finally:
            cut.symlink_to(target)
            cut.rename(link)


class Run:
    """Hosts, a plane, and an inventory that playbooks are run with."""

    def __init__(self, hosts: Hosts, plane: Plane, agent: Path, content: Content) -> None:
        self.hosts, self.plane, self.agent, self.content = hosts, plane, agent, content
        self.folder = hosts.folder / "ansible"
        self.folder.mkdir()
        self.inventory = self.folder / "hosts.yml"
        self.number = 0
        self.configuration = self.folder / "ansible.cfg"
        self.configuration.write_text("[defaults]\n[ssh_connection]\npipelining = true\n", "utf-8")

    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "PALETTE_API_URL": self.plane.url,
            "PALETTE_API_KEY": self.plane.key,
            "PALETTE_CA_PATH": self.plane.ca_file or "",
            # where kubeconfigs go
            "HOME": str(self.folder / "home"),
            "ANSIBLE_COLLECTIONS_PATH": str(REPOSITORY / ".venv" / "collections"),
            "ANSIBLE_CONFIG": str(self.configuration),
            "ANSIBLE_HOME": str(self.folder / "home"),
            "ANSIBLE_HOST_KEY_CHECKING": "True",
            "ANSIBLE_SSH_CONTROL_PATH_DIR": str(self.folder / "cp"),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_LOCALHOST_WARNING": "False",
        }

    def write_inventory(self, clusters: Mapping[str, Any], hosts: Sequence[Host], profiles: Sequence[Any]) -> None:
        configuration = {"engine": "kubeadm", "content": {"public_key": self.content.public_key}}
        file = {
            "path": "/etc/spectro/paletteops-agent.yaml",
            "permissions": 0o600,
            "content": json.dumps(configuration),
        }
        shared = {
            "palette_mode": "agent",
            "palette_project": "e2e",
            "palette_projects": [{"name": "e2e"}],
            "palette_registration_token": "e2e",
            "palette_registration_tokens": [{"name": "e2e", "expires_in": "1d", "default_project": "e2e"}],
            "palette_cluster_profiles": list(profiles),
            "palette_agent_file": str(self.agent),
            "palette_agent_user_data": {
                "stages": {"initramfs": [{"name": "trust", "files": [file]}]},
            },
        }
        ssh = shlex.join(self.hosts.ssh_options)
        reached = {
            "ansible_user": USER,
            "ansible_ssh_common_args": ssh,
            "ansible_python_interpreter": "/usr/bin/python3",
        }
        inventory = {
            "palette_clusters": {"hosts": dict(clusters), "vars": shared},
            "palette_hosts": {
                "hosts": {host.name: {"ansible_host": host.address} for host in hosts},
                "vars": {**reached, **shared},
            },
        }
        self.inventory.write_text(json.dumps({"all": {"children": inventory}}, indent=1), "utf-8")

    def playbook(self, name: str, *more: str, expect: int = 0, timeout: float = 1200) -> str:
        """What a playbook of the collection said; it must end as expected."""
        self.number += 1
        log = self.folder / f"{self.number:02}-{name}.log"
        words = [str(REPOSITORY / ".venv" / "bin" / "ansible-playbook"), f"paletteops.modes.{name}"]
        begun = time.monotonic()
        with log.open("wb") as out:
            done = subprocess.run(
                [*words, "-i", str(self.inventory), *more],
                stdout=out,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=self.environment(),
                timeout=timeout,
            )
        said = log.read_text("utf-8", "replace")
        if done.returncode != expect:
            raise Failure(f"playbook {name} ended with {done.returncode}:\n{said[-6000:]}")
        self.hosts.say(f"playbook {name} {' '.join(more)}: {time.monotonic() - begun:.0f} s")
        return said

    def unchanged(self, name: str, *more: str) -> None:
        said = self.playbook(name, *more)
        changed = [line for line in said.splitlines() if "changed=" in line and "changed=0" not in line]
        if changed:
            raise Failure(f"playbook {name} changed something where nothing is to do:\n" + "\n".join(changed) + said)

    def kubectl(self, host: Host, *words: str, check: bool = True) -> str:
        tool = [f"{KUBERNETES}/kubectl", "--kubeconfig", "/etc/kubernetes/admin.conf"]
        tool += ["--cache-dir", "/tmp/kubectl"]
        return host.run([*tool, *words], check=check, timeout=120)

    def nodes(self, host: Host) -> dict[str, dict[str, Any]]:
        text = self.kubectl(host, "get", "nodes", "-o", "json", check=False)
        return {node["metadata"]["name"]: node for node in json.loads(text)["items"]} if text else {}

    def ready(self, host: Host, names: Sequence[str], version: str = "") -> bool:
        nodes = self.nodes(host)
        return sorted(nodes) == sorted(names) and all(
            any(each["type"] == "Ready" and each["status"] == "True" for each in node["status"].get("conditions", ()))
            and (not version or node["status"]["nodeInfo"]["kubeletVersion"] == f"v{version}")
            for node in nodes.values()
        )

    def give_image(self, host: Host) -> None:
        """The image of the workload, on a host whose runtime is up."""
        archive = workload.image(self.hosts.base.busybox, self.folder)
        host.copy(archive, "/var/tmp/workload.tar")
        host.run(
            [
                f"{KUBERNETES}/ctr",
                "-a",
                SOCKET,
                "-n",
                "k8s.io",
                "images",
                "import",
                "--label",
                "io.cri-containerd.pinned=pinned",
                "/var/tmp/workload.tar",
            ]
        )
        host.run(["rm", "/var/tmp/workload.tar"])


def expect_said(said: str, *words: str) -> None:
    """A playbook that was to fail says why."""
    text = " ".join(said.split())
    missing = [word for word in words if word not in text]
    if missing:
        raise Failure(f"the playbook does not say {missing}:\n{said[-6000:]}")


def profile(version: str, kubernetes: str) -> dict[str, Any]:
    return {
        "name": "edge",
        "version": version,
        "cloud": "edge-native",
        "type": "cluster",
        "packs": [
            {"name": "edge-native-byoi", "version": "2.1.0"},
            {"name": "edge-k8s", "version": kubernetes},
            {"name": "cni-bridge", "version": "1.9.1"},
        ],
    }


def add_on(replicas: int) -> dict[str, Any]:
    manifests = [{"name": "workload", "content": workload.manifests(replicas)}]
    return {
        "name": "workload",
        "version": f"1.0.{replicas}",
        "type": "add-on",
        "packs": [{"name": "workload", "type": "manifest", "manifests": manifests}],
    }


@contextlib.contextmanager
def step(hosts: Hosts, text: str) -> Iterator[None]:
    begun = time.monotonic()
    hosts.say(f"{text} …")
    yield
    hosts.say(f"{text}: {time.monotonic() - begun:.1f} s")


def short(run: Run) -> None:
    """One host from nothing to a cluster with a pod, and back."""
    (host,) = run.hosts
    before = footprint.take(host)
    clusters = {
        "one": {
            "palette_vip": f"{GATEWAY.rsplit('.', 1)[0]}.100",
            "palette_profiles": [{"name": "edge", "version": "1.0.0"}, {"name": "workload", "version": "1.0.1"}],
            "palette_pools": [
                {"name": "control", "control_plane": True, "control_plane_as_worker": True, "hosts": [host.name]}
            ],
        }
    }
    run.write_inventory(clusters, [host], [profile("1.0.0", VERSIONS[-1]), add_on(1)])
    with step(run.hosts, "site: the agent by SSH, and a cluster of one"):
        run.playbook("site")
    wait_until("the node is ready", 60, lambda: run.ready(host, [host.name], VERSIONS[-1]))
    run.give_image(host)
    wait_until("the pod answers through its service", 180, lambda: workload.answers(run, host), 1)
    run.unchanged("site")
    run.playbook(
        "teardown",
        *("-e", "palette_confirm_teardown=one"),
        *("-e", json.dumps({"palette_agent_uninstall": True, "palette_agent_remove_packages": True})),
    )
    left_as_before(run, host, before, packages=False)


def left_as_before(run: Run, host: Host, before: footprint.Footprint, packages: bool) -> None:
    """The host is as it was; with ``packages``, but for packages that came and the list of them."""
    found = footprint.difference(before, footprint.take(host), host)
    if packages:
        came = found.pop("packages", {"came": []})["came"]
        kept = host.run(["cat", "/var/lib/paletteops/packages"], check=False).split() if came else []
        missing = [name for name in came if name.partition(":")[0] not in {each.partition(":")[0] for each in kept}]
        if missing:
            raise Failure(f"{host.name}: packages that came and are not listed: {' '.join(missing)}")
        files = found.get("files", {"came": []})
        files["came"] = [line for line in files["came"] if "/var/lib/paletteops" not in line]
    left = {name: each for name, each in found.items() if any(each.values())}
    if left:
        raise Failure(f"{host.name} is not as it was:\n{footprint.shown(left)}")
    run.hosts.say(f"{host.name} is as it was before")


def full(run: Run, minor: bool, first: bool = True) -> None:
    """Two clusters through what happens to clusters, or the second alone."""
    hosts = list(run.hosts)
    before = {host.name: footprint.take(host) for host in hosts}
    site = Site(run, hosts[:3] if first else [])
    if first:
        first_cluster(run, site, hosts[:4])
    second_cluster(run, site, hosts[-3:], before, minor)
    for name in ("site", "scale", "upgrade"):
        run.unchanged(name)
    with step(run.hosts, "teardown and uninstall"):
        more = {"palette_agent_uninstall": True}
        run.playbook("teardown", "-e", "palette_confirm_teardown=all", "-e", json.dumps(more), timeout=1800)
        for host in hosts:
            left_as_before(run, host, before[host.name], packages=True)


def first_cluster(run: Run, site: Site, alpha: Sequence[Host]) -> None:
    """One control plane and two workers, then three."""
    lead, *workers = alpha
    with step(run.hosts, "a cluster of one control plane and two workers"):
        site.write()
        run.playbook("site")
    wait_until("three nodes are ready", 90, lambda: run.ready(lead, [host.name for host in alpha[:3]], VERSIONS[0]))
    for host in alpha[:3]:
        run.give_image(host)
    wait_until("four pods answer", 180, lambda: len(workload.names(run, lead)) == 4, 1)
    on = workload.spread(run, lead)
    if len(on) < 2:
        raise Failure(f"the pods are on {', '.join(on)} alone")
    workload.all_reach_each_other(run, lead)
    run.unchanged("site")

    with step(run.hosts, "a worker is added"):
        site.alpha = list(alpha)
        site.write()
        run.playbook("scale")
    wait_until("four nodes are ready", 90, lambda: run.ready(lead, [host.name for host in alpha], VERSIONS[0]))
    run.give_image(alpha[3])

    with step(run.hosts, "a host loses power and comes back"):
        workers[0].kill()
        wait_until("its node is not ready", 120, lambda: not run.ready(lead, [host.name for host in alpha]), 1)
        workers[0].start()
        workers[0].wait_ready()
        wait_until("its node is ready again", 120, lambda: run.ready(lead, [host.name for host in alpha]), 1)

    with step(run.hosts, "the plane is stopped and started"):
        run.plane.stop()
        if not workload.answers(run, lead):
            raise Failure("without the plane the service does not answer")
        run.plane.start()
        run.unchanged("site")

    with step(run.hosts, "an upgrade to content that is cut off"), run.content.broken(VERSIONS[1]):
        site.alpha_profile = "1.0.1"
        site.write()
        said = run.playbook("upgrade", "-e", "palette_unhealthy_timeout=20", expect=2)
        expect_said(said, "alpha", payload.NAME, VERSIONS[1], "BundleTruncated")
        nodes = run.nodes(lead)
        if any(node["spec"].get("unschedulable") for node in nodes.values()):
            raise Failure("a node was taken out of service for content that cannot be used")
        if not run.ready(lead, [host.name for host in alpha], VERSIONS[0]):
            raise Failure("not all nodes go on with the version that they had")
    with step(run.hosts, "an upgrade under a client"), workload.Client(run, lead) as client:
        run.playbook("upgrade", timeout=1800)
        names = [host.name for host in alpha]
        wait_until("all nodes have the version", 60, lambda: run.ready(lead, names, VERSIONS[1]), 1)
    run.hosts.say(f"the client called {client.calls} times")
    if client.failures:
        raise Failure(f"{len(client.failures)} of {client.calls} calls failed: {client.failures[:5]}")

    with step(run.hosts, "scale down"):
        site.alpha = list(alpha[:3])
        site.write()
        run.playbook("scale")
        wait_until("three nodes are left", 60, lambda: run.ready(lead, [host.name for host in alpha[:3]]), 1)
        clean(alpha[3])

    with step(run.hosts, "etcd goes back to a snapshot"):
        agent = "/opt/spectrocloud/bin/palette-agent"
        lead.run([agent, "etcd-snapshot", "/var/tmp/etcd.snapshot"])
        run.kubectl(lead, "create", "configmap", "after-the-snapshot")
        lead.run([agent, "etcd-restore", "/var/tmp/etcd.snapshot"])
        lead.run(["rm", "/var/tmp/etcd.snapshot"])
        wait_until("the API answers again", 120, lambda: bool(run.nodes(lead)), 1)
        if "after-the-snapshot" in run.kubectl(lead, "get", "configmaps", "-o", "name"):
            raise Failure("what was made after the snapshot is still there")
        wait_until("all nodes are ready", 120, lambda: run.ready(lead, [host.name for host in alpha[:3]]), 1)

    with step(run.hosts, "patch on all"):
        tasks = run.folder / "patch.yml"
        tasks.write_text(json.dumps(PATCH), "utf-8")
        run.playbook("patch", "-e", json.dumps({"palette_patch_tasks": str(tasks)}), timeout=1800)
        # also the host that left its cluster
        boots = {host.name: host.run(["cat", "/etc/patched"], check=False).strip() for host in alpha}
        if set(boots.values()) != {"patched"}:
            raise Failure(f"not all hosts were patched: {boots}")
        for host in alpha:
            host.run(["rm", "/etc/patched"])
        wait_until("all nodes are ready", 120, lambda: run.ready(lead, [host.name for host in alpha[:3]]), 1)


def second_cluster(
    run: Run, site: Site, beta: Sequence[Host], before: Mapping[str, footprint.Footprint], minor: bool
) -> None:
    """Three control planes behind a VIP; with ``minor`` they begin a minor version below and are upgraded over it."""
    site.beta = list(beta)
    if minor:
        site.beta_profile = "0.9.0"
    refused(run, site, beta, before)
    with step(run.hosts, "a cluster of three control-plane hosts behind a VIP"):
        run.playbook("site", timeout=1800)
        names = [host.name for host in beta]
        wait_until("three control planes are ready", 120, lambda: run.ready(beta[0], names), 1)
    with step(run.hosts, "it loses one and goes on answering"):
        (holder,) = [host for host in beta if BETA_VIP in host.run(["ip", "-o", "addr"])]
        others = [host for host in beta if host is not holder]
        holder.kill()
        wait_until("the VIP answers", 60, lambda: api_answers(run, others[0], BETA_VIP), 0.5)
        run.kubectl(others[0], "create", "configmap", "with-two")
        wait_until("its node is not ready", 120, lambda: not run.ready(others[0], names), 1)
        holder.start()
        holder.wait_ready()
        wait_until("three control planes are ready again", 180, lambda: run.ready(others[0], names), 1)
        wait_until("its own API answers", 120, lambda: api_answers(run, others[0], holder.address), 1)
        if "with-two" not in run.kubectl(holder, "get", "configmaps", "-o", "name"):
            raise Failure(f"{holder.name} came back without what was made while it was away")
    if minor:
        with step(run.hosts, "three control planes, upgraded over a minor version"):
            site.beta_profile = "1.0.1"
            site.write()
            run.playbook("upgrade", timeout=1800)
            wait_until("all nodes have the version", 60, lambda: run.ready(beta[0], names, VERSIONS[1]), 1)


def refused(run: Run, site: Site, beta: Sequence[Host], before: Mapping[str, footprint.Footprint]) -> None:
    """What real hosts refuse of the second cluster; once that is mended, the cluster can be made of the same hosts."""
    first, second, _ = beta
    with step(run.hosts, "a port that somebody else listens on"):
        site.write()
        listen = ["python3", "-m", "http.server", "--directory", "/srv", "10250"]
        first.run(["systemd-run", "--quiet", "--unit=somebody", *listen])
        wait_until("somebody listens", 10, lambda: ":10250" in first.run(["ss", "-Hltn"]))
        said = run.playbook("site", expect=2)
        expect_said(said, first.name, "10250", "beta")
        first.run(["systemctl", "stop", "somebody"])
        for host in beta:
            left_as_before(run, host, before[host.name], packages=False)
    with step(run.hosts, "a VIP that another machine has, and a disk that is full"):
        command(["ip", "address", "add", f"{BETA_VIP}/32", "dev", "br0"])
        second.run(["mkdir", "-p", CONTENT])
        second.run(["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", CONTENT])
        said = run.playbook("site", "-e", "palette_wait_timeout=90", expect=2)
        expect_said(said, "beta", f"the VIP {BETA_VIP} is in use by another machine", f"DiskFull: {second.name}")
        command(["ip", "address", "del", f"{BETA_VIP}/32", "dev", "br0"])
        second.run(["umount", CONTENT])


ALPHA_ADDRESS = f"{GATEWAY.rsplit('.', 1)[0]}.100"
BETA_VIP = f"{GATEWAY.rsplit('.', 1)[0]}.101"
#: what a user's own tasks might be
PATCH = [
    {
        "name": "Something new",
        "ansible.builtin.copy": {"content": "patched\n", "dest": "/etc/patched", "mode": "0644"},
        "become": True,
    },
    {"name": "A restart is due", "ansible.builtin.set_fact": {"palette_patch_reboot_needed": True}},
]


class Site:
    """The inventory as it stands now. A host that left its cluster stays registered, and in the inventory."""

    def __init__(self, run: Run, alpha: Sequence[Host]) -> None:
        self.run, self.alpha = run, list(alpha)
        self.beta: list[Host] = []
        self.alpha_profile = self.beta_profile = "1.0.0"
        self.seen: list[Host] = []

    def write(self) -> None:
        clusters: dict[str, Any] = {}
        if self.alpha:
            lead, *workers = self.alpha
            clusters["alpha"] = {
                "palette_vip": ALPHA_ADDRESS,
                "palette_profiles": [
                    {"name": "edge", "version": self.alpha_profile},
                    {"name": "workload", "version": "1.0.4"},
                ],
                "palette_pools": [
                    {"name": "control", "control_plane": True, "hosts": [lead.name]},
                    {"name": "workers", "hosts": [host.name for host in workers]},
                ],
            }
        if self.beta:
            pool = {"name": "control", "control_plane": True, "control_plane_as_worker": True}
            clusters["beta"] = {
                "palette_vip": BETA_VIP,
                "palette_profiles": [{"name": "edge", "version": self.beta_profile}],
                "palette_pools": [{**pool, "hosts": [host.name for host in self.beta]}],
            }
        made = [profile(f"1.0.{number}", kubernetes) for number, kubernetes in enumerate(VERSIONS)]
        made.append(profile("0.9.0", MINOR))
        self.seen += [host for host in self.alpha + self.beta if host not in self.seen]
        self.run.write_inventory(clusters, self.seen, [*made, add_on(4)])


def clean(host: Host) -> None:
    """A host that left its cluster: nothing of Kubernetes is on it, and its agent runs."""
    there = host.shell(
        "ls -d /etc/kubernetes/*.conf /var/lib/etcd/member /var/lib/kubelet/config.yaml 2>/dev/null || true"
    )
    pods = host.shell("ip -o link | grep -c cni- || true").strip()
    if there.strip() or pods != "0":
        raise Failure(f"{host.name} left its cluster and is not clean: {there} {pods}")


def api_answers(run: Run, host: Host, address: str) -> bool:
    words = ["--server", f"https://{address}:6443", "--request-timeout=3s", "get", "--raw", "/readyz"]
    return run.kubectl(host, *words, check=False).startswith("ok")


def build_agent(folder: Path) -> Path:
    command([sys.executable, str(REPOSITORY / "tools" / "agent.py"), str(folder)], cwd=REPOSITORY)
    return folder / f"palette-agent-linux-{payload.architecture()}"


def build_bundles(versions: Sequence[str]) -> Path:
    """The folder of the bundles, with the public key; what building them needs is installed, Go apart."""
    missing = [name for name in payload.missing_here([*payload.WRITING, *payload.COMPILING]) if name != "go"]
    if missing:
        install_packages(sorted({payload.PACKAGES[name] for name in missing}))
    tool = [sys.executable, str(REPOSITORY / "tools" / "payload.py"), *versions]
    done = subprocess.run(tool, stdout=subprocess.PIPE, text=True, timeout=3600)
    if done.returncode:
        raise Failure(
            f"there are no bundles of {', '.join(versions)}: build them (make payload), or name some (--bundles)"
        )
    return Path(done.stdout.split()[0]).parent


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="agent.py", description=__doc__.split("\n\n")[0])
    extent = parser.add_mutually_exclusive_group()
    extent.add_argument("--short", action="store_true", help="one host, one version")
    extent.add_argument("--second", action="store_true", help="the second of the two clusters alone")
    parser.add_argument("--minor", action="store_true", help=f"an upgrade of the second cluster, from {MINOR}")
    parser.add_argument("--bundles", type=Path, help="a folder of bundles with their public key; else they are built")
    options = parser.parse_args(arguments)
    versions = VERSIONS[-1:] if options.short else (*VERSIONS, MINOR) if options.minor else VERSIONS
    shutil.rmtree(LOGS, ignore_errors=True)
    try:
        with ended_by_signals():
            bundles = options.bundles or build_bundles(versions)
            with contextlib.ExitStack() as stack:
                hosts = stack.enter_context(Hosts(1 if options.short else 3 if options.second else 7, logs=LOGS))
                content = Content(hosts.folder / "content", bundles)
                plane = stack.enter_context(Plane(hosts.folder / "plane", content.folder))
                run = Run(hosts, plane, build_agent(hosts.folder / "agent"), content)
                try:
                    if options.short:
                        short(run)
                    else:
                        full(run, options.minor, first=not options.second)
                except BaseException:
                    LOGS.mkdir(parents=True, exist_ok=True)
                    shutil.copytree(run.folder, LOGS / "ansible", ignore=shutil.ignore_patterns("home", "cp"))
                    shutil.copyfile(plane.log, LOGS / "plane.log")
                    raise
    except (Failure, HostsError, payload.PayloadError) as error:
        print(f"error: {error}", file=sys.stderr)
        print("0 passed, 1 failed")
        return 1
    print("1 passed, 0 failed")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
