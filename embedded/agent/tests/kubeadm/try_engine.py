# SPDX-License-Identifier: GPL-3.0-or-later
"""Drives the engine on real hosts (root, Debian, slow; not part of the unit run).

    python3 embedded/agent/tests/kubeadm/try_engine.py BUNDLE BUNDLE [--folder DIR] [--only PART …] [--keep]

The two bundles are of an older and a newer version. Parts: ``one`` (a control plane and two workers: workload, packs,
certificates, upgrade under a client that keeps calling, snapshot and restore, scale down, leaving) and ``three`` (three
control planes behind a VIP, one of them lost, an upgrade, a restore of all). Hosts are compared with before at the end.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import workload
from machines import NETWORK, Machine, Machines

TESTS = Path(__file__).resolve().parent
SOURCE = TESTS.parents[1] / "src"
NUMBERS = {"cp1": 11, "cp2": 12, "cp3": 13, "w1": 21, "w2": 22}
VIP = f"{NETWORK}.100"
KUBERNETES = "/opt/spectrocloud/kubernetes"
# what a running system changes by itself
RESTLESS = re.compile(
    r"^/(proc|sys|run|dev|tmp|var/tmp|mnt)/|^/var/log|^/var/lib/systemd|^/root$|^/etc$|^/etc/(\.updated|resolv\.conf)"
    r"|\.pyc$|__pycache__|^/var/(cache|lib)$|^/var/cache/|^/(opt|var|)$|^/etc/machine-id"
)


def expect(condition: object, what: object) -> None:
    if not condition:
        raise AssertionError(str(what))


def wait_for(what: str, condition: Callable[[], Any], deadline: float = 120, every: float = 1.0) -> Any:
    end = time.monotonic() + deadline
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"not within {deadline:.0f} s: {what}")
        time.sleep(every)


def traces(machine: Machine) -> dict[str, list[str]]:
    """What a host looks like: everything that a cluster could leave behind."""
    found = {
        "files": "find / -xdev -print; find /var/lib/spectro /run/netns /run/spectro /run/containerd 2>/dev/null",
        "units": "systemctl list-unit-files --no-legend --no-pager | awk '{print $1, $2}'; "
        "systemctl list-units --failed --no-legend --no-pager",
        "mounts": "awk '{print $2, $3}' /proc/mounts",
        "links": "ls /sys/class/net",
        "addresses": "ip -o address | awk '{print $2, $3, $4}' | grep -v fe80",
        "routes": "ip route show table all | grep -v -e '^broadcast' -e fe80; ip rule",
        "nft": "nft list ruleset",
        "iptables": "for t in filter nat mangle raw; do iptables-save -t $t; ip6tables-save -t $t; done 2>/dev/null"
        " | grep -v '^#' | sed 's/\\[[0-9:]*\\]//'",
        "settings": "sysctl -n net.ipv4.ip_forward net.ipv4.conf.all.route_localnet net.bridge.bridge-nf-call-iptables",
        "processes": "ps -eo comm= | grep -E 'containerd|kube|etcd|coredns|pause|runc' || true",
        "cgroups": "find /sys/fs/cgroup -maxdepth 2 -name 'kubepods*' -o -maxdepth 2 -name 'spectro*'",
    }
    answer = {}
    for name, script in found.items():
        lines = machine.run("sh", "-c", script, check=False).splitlines()
        if name == "files":
            lines = [line for line in lines if not RESTLESS.search(line)]
        answer[name] = sorted(lines) if name != "nft" else lines
    return answer


def differences(before: dict[str, list[str]], after: dict[str, list[str]]) -> list[str]:
    found = []
    for name in before:
        was, now = set(before[name]), set(after[name])
        found += [f"{name}: + {line}" for line in sorted(now - was)] + [
            f"{name}: - {line}" for line in sorted(was - now)
        ]
    return found


class Caller:
    """Keeps calling a URL from outside; what failed is kept."""

    def __init__(self, machines: Machines, machine: Machine, url: str) -> None:
        self.machines, self.machine, self.url = machines, machine, url
        self.calls, self.failures = 0, []  # type: int, list[str]
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._loop, daemon=True)

    def _loop(self) -> None:
        while not self.stop.is_set():
            self.calls += 1
            answer = self.machine.run("curl", "-sS", "-m", "4", self.url, check=False).strip()
            if not answer.startswith("web-"):
                self.failures.append(f"{time.strftime('%T')} {answer!r}")
            time.sleep(0.2)

    def __enter__(self) -> Caller:
        self.thread.start()
        return self

    def __exit__(self, *unused: object) -> None:
        self.stop.set()
        self.thread.join(30)


class Trial:
    def __init__(self, machines: Machines, bundles: dict[str, dict[str, Any]]) -> None:
        self.machines, self.bundles = machines, bundles
        self.versions = list(bundles)
        self.endpoint: dict[str, Any] = {}
        self.uid = "none"
        self.members: dict[str, str | None] = {}
        self.lead = "cp1"
        self.before: dict[str, dict[str, list[str]]] = {}

    # -- the wanted state, as a plane would say it -------------------------------------------------------------

    def cluster(self, version: str, name: str) -> dict[str, Any]:
        peers = [
            {
                "uid": peer,
                "node_name": peer,
                "control_plane": peer.startswith("cp"),
                "address": self.machines[peer].address,
                "pod_cidr": cidr,
            }
            for peer, cidr in self.members.items()
            if peer != name
        ]
        return {
            "kind": "cluster",
            "uid": self.uid,
            "name": "trial",
            "endpoint": self.endpoint,
            "pack": "edge-k8s",
            "version": version,
            "pod_cidr": "10.244.0.0/16",
            "service_cidr": "10.96.0.0/12",
            "network_pack": "cni-bridge",
            "network_version": "1.9.1",
            "peers": peers,
        }

    def member(self, name: str, **more: Any) -> dict[str, Any]:
        return {
            "kind": "member",
            "uid": name,
            "node_name": name,
            "control_plane": name.startswith("cp"),
            "address": self.machines[name].address,
            "schedulable": True,
            "lead": name == self.lead,
            **more,
        }

    # -- calls ---------------------------------------------------------------------------------------------------

    def call(self, name: str, what: str, *arguments: Any) -> Any:
        answer = self.machines[name].engine(what, *arguments)
        if "error" in answer:
            raise AssertionError(f"{name} {what}: {answer['error']}: {answer['message']}")
        return answer["answer"]

    def refused(self, name: str, what: str, *arguments: Any) -> str:
        answer = self.machines[name].engine(what, *arguments)
        expect("error" in answer, f"{name} {what} was not refused: {answer}")
        return f"{answer['error']}: {answer['message']}"

    def kubectl(self, *words: str, check: bool = True, timeout: float = 120) -> str:
        machine: Machine = self.machines[self.lead]
        return machine.run(
            "KUBECACHEDIR=/tmp/kubectl",
            f"{KUBERNETES}/current/bin/kubectl",
            "--kubeconfig=/etc/kubernetes/admin.conf",
            f"--server=https://{machine.address}:6443",
            *words,
            check=check,
            timeout=timeout,
        )

    def prepare(self, name: str, *versions: str) -> None:
        self.before.setdefault(name, traces(self.machines[name]))
        for version in versions:
            bundle = {"kind": "bundle", **self.bundles[version]}
            self.call(name, "payload", {"kind": "path", "path": f"/mnt/bundles/{version}"}, bundle)
            expect(self.call(name, "holds", "edge-k8s", version), f"{name} does not hold {version}")
        ctr = (f"{KUBERNETES}/current/bin/ctr", "--address", "/run/spectro/containerd/containerd.sock", "-n", "k8s.io")
        self.machines[name].run(*ctr, "images", "import", "/mnt/images/busybox.tar")
        # the kubelet's clean-up of a full disk leaves pinned images alone
        self.machines[name].run(*ctr, "images", "label", workload.IMAGE, "io.cri-containerd.pinned=pinned")

    def bootstrap(self, name: str, version: str) -> None:
        self.lead = name
        self.call(name, "bootstrap", self.cluster(version, name), self.member(name))
        self.members[name] = None

    def join(self, name: str, version: str) -> None:
        material = self.call(self.lead, "admit", name.startswith("cp"), 900)
        arguments = (self.cluster(version, name), self.member(name), {"kind": "material", **material})
        self.call(name, "join", *arguments)
        self.members[name] = None

    def settle(self, version: str) -> None:
        """All nodes Ready, each knowing the others' ranges."""

        def ranges() -> bool:
            found = {name: self.call(name, "node") for name in self.members}
            self.members = {name: node["pod_cidr"] for name, node in found.items()}
            return all(node["ready"] and node["pod_cidr"] for node in found.values())

        wait_for("all nodes ready", ranges, every=2)
        self.configure(version)

    def configure(self, version: str) -> None:
        for name in self.members:
            self.call(name, "configure", self.cluster(version, name), self.member(name))

    def apply(self, digest: str, *contents: str) -> None:
        manifests = [{"name": f"m{number}", "content": content} for number, content in enumerate(contents)]
        pack = {"profile_uid": "p", "name": "shop", "version": "1", "digest": digest, "manifests": manifests}
        found = self.call(self.lead, "apply", {"kind": "packs", "packs": [pack] if contents else []})
        expect(all(item["state"] == "Ready" for item in found), found)

    def web_answers(self, *names: str) -> None:
        """Pods on all nodes answer, through the service and one another."""
        self.kubectl("rollout", "status", "-n", "shop", "deploy/web", "--timeout=120s", timeout=150)
        shown = json.loads(self.kubectl("get", "pods", "-n", "shop", "-l", "app=web", "-o", "json"))
        pods = {
            item["metadata"]["name"]: item["status"]["podIP"]
            for item in shown["items"]
            if item["status"].get("phase") == "Running" and "deletionTimestamp" not in item["metadata"]
        }
        for name in names or self.members:
            machine = self.machines[name]

            def all_answer(machine: Machine = machine) -> bool:
                url = "http://10.96.0.80/"
                seen = {machine.run("curl", "-s", "-m", "4", url, check=False).strip() for _ in range(12)}
                return seen <= set(pods) and len(seen) > 1

            wait_for(f"{name} sees several of {sorted(pods)}", all_answer, deadline=30)
        first = next(iter(pods))
        for other, address in pods.items():
            answer = self.kubectl("exec", "-n", "shop", first, "--", "wget", "-qO-", f"http://{address}:8080/")
            expect(answer.strip() == other, f"{first} asks {other} at {address}: {answer!r}")
        expect(
            self.kubectl("exec", "-n", "shop", first, "--", "wget", "-qO-", "http://10.96.0.80/").strip() in pods,
            "no answer through the service from a pod",
        )

    def upgrade(self, name: str, version: str) -> None:
        """As the plane orders it: drained first, the new version Ready, then uncordoned."""
        others = [item for item in self.members if item.startswith("cp") and item != name]
        self.lead = others[0] if name == self.lead and others else self.lead
        self.call(self.lead, "drain", name, 120)
        self.call(name, "upgrade", self.cluster(version, name), self.member(name))
        node = self.call(name, "node")
        expect(node["ready"] and node["kubernetes_version"] == version, node)
        self.call(self.lead, "uncordon", name)
        self.call(name, "configure", self.cluster(version, name), self.member(name))

    def out(self, name: str, version: str) -> None:
        """Drained, left, forgotten; the others' routes go."""
        self.call(self.lead, "drain", name, 120)
        self.call(name, "leave", False)
        expect(self.call(name, "node") is None, "a host that left has no node")
        del self.members[name]
        self.call(self.lead, "forget", name, name.startswith("cp"), self.machines[name].address)
        expect(name not in self.kubectl("get", "nodes", "-o", "name"), f"{name} is still a node")
        self.configure(version)

    def clean(self, name: str) -> None:
        self.call(name, "reset")
        found = differences(self.before[name], traces(self.machines[name]))
        expect(not found, f"{name} is not as before:\n  " + "\n  ".join(found[:60]))
        print(f"  {name} is as before", flush=True)

    # -- parts ---------------------------------------------------------------------------------------------------

    def one(self) -> None:
        old, new = self.versions
        self.uid, self.lead, self.members = "one", "cp1", {}
        self.endpoint = {"host": self.machines["cp1"].address, "port": 6443, "type": "External"}
        names = ("cp1", "w1", "w2")
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(lambda name: self.prepare(name, old), names))
        say("findings")
        wrong = {**self.cluster(old, "cp1"), "service_cidr": "192.168.0.0/16"}
        found = self.call("cp1", "preflight", wrong, self.member("cp1"))
        expect([item["check"] for item in found] == ["ranges"], found)
        expect("RangesOverlap" in self.refused("cp1", "bootstrap", wrong, self.member("cp1")), "ranges")
        say("one control plane, two workers")
        started = time.monotonic()
        self.bootstrap("cp1", old)
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda name: self.join(name, old), names[1:]))
        self.settle(old)
        print(f"  three Ready nodes after {time.monotonic() - started:.1f} s", flush=True)
        say("a workload over nodes")
        self.apply("1", workload.web(4), workload.SETTINGS)
        self.web_answers()
        self.apply("2", workload.web(4))
        expect("settings" not in self.kubectl("get", "configmap", "-n", "shop", "-o", "name"), "not pruned")
        say("labels and taints of the pool")
        labelled = self.member(
            "w1", labels={"shop/zone": "a"}, taints=[{"key": "x", "effect": "NoSchedule", "value": "y"}]
        )
        self.call("w1", "configure", self.cluster(old, "w1"), labelled)
        expect("w1" in self.kubectl("get", "nodes", "-l", "shop/zone=a", "-o", "name"), "no label")
        self.call("w1", "configure", self.cluster(old, "w1"), self.member("w1"))
        expect("w1" not in self.kubectl("get", "nodes", "-l", "shop/zone=a", "-o", "name"), "the label stays")
        say("a host loses its power in a join, and comes back")
        self.out("w2", old)
        self.cut_off("w2", old)
        self.join("w2", old)
        self.settle(old)
        say("power fails on a running worker")
        self.machines["w1"].kill()
        self.machines["w1"].boot(self.machines.binds)
        self.settle(old)
        self.web_answers()
        say("certificates")
        was = {item["name"]: item["expires_at"] for item in self.call("cp1", "certificates")}
        time.sleep(1.1)
        self.call("cp1", "renew_certificates")
        now = {item["name"]: item["expires_at"] for item in self.call("cp1", "certificates")}
        expect(now["apiserver"] > was["apiserver"] and now["admin.conf"] > was["admin.conf"], (was, now))
        say(f"upgrade to {new} under a client")
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(lambda name: self.prepare(name, new), names))
        expect("VersionSkew" in self.refused("w1", "upgrade", self.cluster("1.30.0", "w1"), self.member("w1")), "skew")
        with Caller(self.machines, self.machines["w2"], "http://10.96.0.80/") as caller:
            for name in names:
                self.upgrade(name, new)
        print(f"  {caller.calls} calls, {len(caller.failures)} failed: {caller.failures[:5]}", flush=True)
        expect(not caller.failures, caller.failures)
        self.settle(new)
        self.web_answers()
        say("snapshot and restore")
        self.call("cp1", "snapshot", {"kind": "path", "path": "/var/lib/spectro/kept.db"})
        self.kubectl("create", "configmap", "later")
        self.call("cp1", "restore", {"kind": "path", "path": "/var/lib/spectro/kept.db"})
        expect("later" not in self.kubectl("get", "configmap", "-o", "name"), "not restored")
        self.settle(new)
        self.kubectl("rollout", "restart", "-n", "shop", "deploy/web")
        self.web_answers()
        self.machines["cp1"].run("rm", "/var/lib/spectro/kept.db")
        say("scale down")
        self.out("w2", new)
        self.web_answers("cp1", "w1")
        say("the end of the cluster")
        for name in ("w1", "cp1"):
            self.call(name, "leave", True)
        self.members = {}
        for name in names:
            self.clean(name)

    def cut_off(self, name: str, version: str) -> None:
        """A join that is killed in the middle."""
        material = self.call(self.lead, "admit", False, 900)
        arguments = (self.cluster(version, name), self.member(name), {"kind": "material", **material})
        machine = self.machines[name]
        with contextlib.suppress(RuntimeError), ThreadPoolExecutor(1) as pool:
            running = pool.submit(machine.engine, "join", *arguments)
            wait_for("kubeadm join", lambda: "kubeadm" in machine.run("ps", "-eo", "comm=", check=False), every=0.1)
            machine.kill()
            with contextlib.suppress(Exception):
                running.result(30)
        machine.boot(self.machines.binds)

    def three(self) -> None:
        old, new = self.versions
        self.uid, self.lead, self.members = "three", "cp1", {}
        self.endpoint = {"host": VIP, "port": 6443, "type": "VIP"}
        names = ("cp1", "cp2", "cp3")
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(lambda name: self.prepare(name, old), names))
        say("a VIP that another machine has")
        self.machines.outside("ip", "address", "add", f"{VIP}/24", "dev", "br-kubeadm")
        said = self.refused("cp1", "bootstrap", self.cluster(old, "cp1"), self.member("cp1"))
        mac = self.machines.outside("cat", "/sys/class/net/br-kubeadm/address").strip()
        expect("VipInUse" in said and mac in said, said)
        self.machines.outside("ip", "address", "del", f"{VIP}/24", "dev", "br-kubeadm")
        say("three control planes behind a VIP")
        started = time.monotonic()
        self.bootstrap("cp1", old)
        for name in names[1:]:
            self.join(name, old)
        self.settle(old)
        print(f"  three Ready nodes after {time.monotonic() - started:.1f} s", flush=True)
        self.apply("1", workload.web(3))
        self.web_answers()
        self.check_vip()
        say("the holder of the VIP loses its power")
        holder = self.holder()
        self.lead = next(name for name in names if name != holder)
        down = time.monotonic()
        self.machines[holder].kill()
        wait_for("the VIP elsewhere", self.vip_answers, deadline=60, every=0.3)
        print(f"  the VIP was away for {time.monotonic() - down:.1f} s", flush=True)
        expect(self.call(self.lead, "health")["etcd"]["healthy"], "etcd lost its quorum")
        self.machines[holder].boot(self.machines.binds)
        self.settle(old)
        say("the API server of the holder stops")
        holder = self.holder()
        machine = self.machines[holder]
        machine.run("mv", "/etc/kubernetes/manifests/kube-apiserver.yaml", "/etc/kubernetes/")
        wait_for("the VIP elsewhere", lambda: self.vip_answers() and self.holder() not in ("", holder), deadline=90)
        machine.run("mv", "/etc/kubernetes/kube-apiserver.yaml", "/etc/kubernetes/manifests/")
        self.settle(old)
        say(f"upgrade to {new}")
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(lambda name: self.prepare(name, new), names))
        for name in names:
            self.upgrade(name, new)
            health = self.call(name, "health")
            expect(health["etcd"] == {"healthy": True, "members": 3}, health)
        self.settle(new)
        self.web_answers()
        say("snapshot, and restore on all three")
        self.call(self.lead, "snapshot", {"kind": "path", "path": "/var/lib/spectro/kept.db"})
        for name in names:
            if name != self.lead:
                shutil.copy(self.machines[self.lead].folder / "spectro/kept.db", self.machines[name].folder / "spectro")
        self.kubectl("create", "configmap", "later")
        with ThreadPoolExecutor(3) as pool:
            path = {"kind": "path", "path": "/var/lib/spectro/kept.db"}
            list(pool.map(lambda name: self.call(name, "restore", path), names))
        expect("later" not in self.kubectl("get", "configmap", "-o", "name"), "not restored")
        wait_for("the VIP", self.vip_answers, deadline=90)
        self.settle(new)
        for name in names:
            self.machines[name].run("rm", "-f", "/var/lib/spectro/kept.db")
            expect(self.call(name, "health")["etcd"] == {"healthy": True, "members": 3}, name)
        say("scale down to one, then the end")
        self.lead = "cp1"
        for name in ("cp3", "cp2"):
            self.out(name, new)
            health = self.call("cp1", "health")
            expect(health["etcd"] == {"healthy": True, "members": len(self.members)}, health)
        wait_for("the VIP", self.vip_answers, deadline=60)
        self.call("cp1", "leave", True)
        for name in names:
            self.clean(name)

    def vip_answers(self) -> bool:
        done: str = self.machines.outside("curl", "-sk", "-m", "2", f"https://{VIP}:6443/healthz", check=False)
        return done.strip() == "ok"

    def holder(self) -> str:
        """The host that has the VIP, by its own word; exactly one or none."""
        found = [
            name
            for name in self.members
            if self.machines[name].process is not None
            and VIP in self.machines[name].run("ip", "-4", "address", check=False)
        ]
        expect(len(found) <= 1, f"several hosts have the VIP: {found}")
        return found[0] if found else ""

    def check_vip(self) -> None:
        wait_for("somebody holds the VIP", self.holder, deadline=30)
        expect(self.vip_answers(), "no answer at the VIP")


def say(text: str) -> None:
    print(f"{time.strftime('%T')} {text}", flush=True)


def unpack(bundle: Path, folder: Path) -> dict[str, Any]:
    """Unpack a bundle once; what the engine is told of it. (Agents verify it; here it is our own.)"""
    version = re.sub(r"^edge-k8s-|-amd64.*$", "", bundle.name)
    target = folder / version
    if not (target / "bundle.json").exists():
        target.mkdir(parents=True, exist_ok=True)
        decompress = subprocess.Popen(["zstd", "-dc", str(bundle)], stdout=subprocess.PIPE)
        subprocess.run(["tar", "x", "-C", str(target)], stdin=decompress.stdout, check=True)
        decompress.wait()
    facts = json.loads((target / "bundle.json").read_text())
    return {
        "name": facts["name"],
        "version": facts["version"],
        "architecture": facts["architecture"],
        "serial": facts["serial"],
        "images": facts["kubernetes"]["images"],
    }


def busybox(folder: Path) -> Path:
    """The static busybox of Debian's package."""
    target = folder / "bin/busybox"
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(["apt-get", "download", "-qq", "busybox-static"], cwd=folder, check=True)
        package = next(folder.glob("busybox-static_*.deb"))
        subprocess.run(["dpkg", "-x", str(package), str(folder)], check=True)
    return target


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundles", nargs=2, type=Path)
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp/spectro-kubeadm"))
    parser.add_argument("--only", nargs="*", choices=("one", "three"), default=["one", "three"])
    parser.add_argument("--keep", action="store_true", help="after a failure, leave the hosts up until Enter")
    options = parser.parse_args()
    if os.geteuid():
        print("needs root", file=sys.stderr)
        return 2
    folder = options.folder
    (folder / "images").mkdir(parents=True, exist_ok=True)
    described = {item["version"]: item for item in (unpack(path, folder / "bundles") for path in options.bundles)}
    workload.write_image(busybox(folder / "busybox"), folder / "images/busybox.tar")
    machines = Machines(folder, NUMBERS, SOURCE, TESTS, folder / "images")
    machines.binds["/mnt/bundles"] = folder / "bundles"
    with machines:
        trial = Trial(machines, described)
        try:
            for part in options.only:
                say(f"== {part}")
                getattr(trial, part)()
        except BaseException:
            if options.keep:
                (folder / "leaders.json").write_text(json.dumps({n: m.leader for n, m in machines.items.items()}))
                import traceback

                traceback.print_exc()
                with contextlib.suppress(EOFError, KeyboardInterrupt):
                    while not (folder / "go-on").exists():
                        time.sleep(1)
                (folder / "go-on").unlink(missing_ok=True)
            raise
    say("all well")
    return 0


if __name__ == "__main__":
    sys.exit(main())
