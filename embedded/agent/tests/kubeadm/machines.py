# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts for trying the engine: systemd-nspawn machines in a network namespace of their own (root, Debian).

Each has its own systemd and address; commands run in it by entering its namespaces, so it needs no sshd. All that is
made lies in one folder and one namespace, and ``Machines.close`` takes it away.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

NAMESPACE = "spectro-kubeadm"
BRIDGE = "br-kubeadm"
NETWORK = "192.168.77"
PACKAGES = (
    "systemd,systemd-sysv,udev,dbus,python3,iproute2,ca-certificates,procps,kmod,openssl,zstd,nftables,iptables,"
    "conntrack,iputils-ping,curl,util-linux,mount"
)
# the machine's systemd mounts the v1 hierarchies read-only; containers need them writable. Settings of the kernel that
# a kubelet insists on are shown as it wants them, so that the real ones, which all machines share, stay as they are.
CGROUP_UNIT = """[Unit]
DefaultDependencies=no
Before=sysinit.target
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'for d in /sys/fs/cgroup/*; do mount -o remount,bind,rw $$d 2>/dev/null || true; done'
ExecStart=/bin/sh -c 'mkdir -p /run/settings; cd /run/settings; \\
  echo 1 > overcommit_memory; echo 10 > panic; echo 1 > panic_on_oops; \\
  mount --bind overcommit_memory /proc/sys/vm/overcommit_memory; \\
  mount --bind panic /proc/sys/kernel/panic; mount --bind panic_on_oops /proc/sys/kernel/panic_on_oops'
[Install]
WantedBy=sysinit.target
"""


def command(*words: str, check: bool = True, stdin: str | None = None, timeout: float = 120) -> str:
    done = subprocess.run(words, input=stdin, capture_output=True, text=True, timeout=timeout)
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(words)}: {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
    return done.stdout


class Machine:
    def __init__(self, name: str, address: str, folder: Path) -> None:
        self.name, self.address, self.folder = name, address, folder
        self.process: subprocess.Popen[bytes] | None = None
        self.leader = 0

    @property
    def root(self) -> Path:
        return self.folder / "root"

    def start(self, base: Path, binds: dict[str, Path], names: dict[str, str]) -> None:
        for part in ("upper", "work", "root", "spectro"):
            (self.folder / part).mkdir(parents=True, exist_ok=True)
        if not os.path.ismount(self.root):
            options = f"lowerdir={base},upperdir={self.folder}/upper,workdir={self.folder}/work"
            command("mount", "-t", "overlay", "overlay", "-o", options, str(self.root))
            self._settle(names)
        self.boot(binds)

    def _settle(self, names: dict[str, str]) -> None:
        etc = self.root / "etc"
        (etc / "hostname").write_text(f"{self.name}\n")
        (etc / "hosts").write_text("127.0.0.1 localhost\n" + "".join(f"{ip} {name}\n" for name, ip in names.items()))
        (etc / "resolv.conf").unlink(missing_ok=True)
        (etc / "resolv.conf").write_text(f"nameserver {NETWORK}.1\n")
        network = etc / "systemd/network"
        network.mkdir(parents=True, exist_ok=True)
        (network / "10-host0.network").write_text(
            f"[Match]\nName=host0\n[Network]\nAddress={self.address}/24\nGateway={NETWORK}.1\n"
        )
        (etc / "systemd/system/cgroups-writable.service").write_text(CGROUP_UNIT)
        (etc / "machine-id").write_text("")
        wants = etc / "systemd/system/sysinit.target.wants"
        wants.mkdir(exist_ok=True)
        (wants / "cgroups-writable.service").symlink_to("/etc/systemd/system/cgroups-writable.service")
        multi = etc / "systemd/system/multi-user.target.wants"
        multi.mkdir(exist_ok=True)
        with contextlib.suppress(FileExistsError):
            (multi / "systemd-networkd.service").symlink_to("/lib/systemd/system/systemd-networkd.service")

    def boot(self, binds: dict[str, Path]) -> None:
        groups = [
            place / f"kubeadm-{self.name}"
            for place in Path("/sys/fs/cgroup").iterdir()
            if place.is_dir() and not place.is_symlink()
        ]
        for group in groups:
            group.mkdir(exist_ok=True)
            if (group / "cpuset.cpus").exists():
                for file in ("cpuset.cpus", "cpuset.mems"):
                    (group / file).write_text((group.parent / file).read_text())

        def enter() -> None:
            for group in groups:
                (group / "cgroup.procs").write_text(str(os.getpid()))

        words = ["nsenter", f"--net=/run/netns/{NAMESPACE}", "systemd-nspawn", "-q", "-b", "-D", str(self.root)]
        words += [f"--machine={self.name}", "--register=no", "--keep-unit", f"--network-bridge={BRIDGE}"]
        words += ["--resolv-conf=off", "--link-journal=no", "--console=pipe", "--capability=all"]
        words += ["--system-call-filter=@known", "--bind=/dev/kmsg", f"--bind={self.folder}/spectro:/var/lib/spectro"]
        words += [f"--bind-ro={source}:{target}" for target, source in binds.items()]
        log = (self.folder / "console.log").open("ab")
        self.process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=enter, start_new_session=True
        )
        self._wait()

    def _wait(self) -> None:
        assert self.process is not None
        end = time.monotonic() + 60
        while time.monotonic() < end:
            with contextlib.suppress(RuntimeError, OSError, IndexError, ValueError):
                children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
                self.leader = int(children[-1])
                if self.run("systemctl", "is-system-running", check=False).strip() in ("running", "degraded"):
                    return
            time.sleep(0.3)
        raise RuntimeError(f"{self.name} did not boot; see {self.folder}/console.log")

    def run(self, *words: str, check: bool = True, stdin: str | None = None, timeout: float = 120) -> str:
        inside = ["nsenter", "-t", str(self.leader), "-m", "-u", "-i", "-n", "-p", "--", "/usr/bin/env", "-i"]
        inside += ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"]
        return command(*inside, *words, check=check, stdin=stdin, timeout=timeout)

    def engine(self, call: str, *arguments: Any, timeout: float = 900) -> Any:
        """Call the engine inside, in a process of its own; what it answers, as JSON."""
        text = json.dumps({"call": call, "arguments": arguments})
        started = time.monotonic()
        out = self.run(
            "PYTHONPATH=/mnt/source", "python3", "/mnt/tests/call.py", check=True, stdin=text, timeout=timeout
        )
        took = time.monotonic() - started
        print(f"    {self.name} {call}: {took:.1f} s", flush=True)
        return json.loads(out.splitlines()[-1])

    def kill(self) -> None:
        """The power goes."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.leader, signal.SIGKILL)
            self.process.wait(30)
            self.process = None

    def close(self) -> None:
        self.kill()
        command("umount", "-R", "-l", str(self.root), check=False)
        for group in Path("/sys/fs/cgroup").glob(f"*/kubeadm-{self.name}"):
            for folder, _, _ in os.walk(group, topdown=False):
                with contextlib.suppress(OSError):
                    os.rmdir(folder)
        shutil.rmtree(self.folder, ignore_errors=True)


class Machines:
    """``with Machines(folder, {"cp1": 11, …}) as machines``: names and last parts of addresses."""

    def __init__(self, folder: Path, numbers: dict[str, int], source: Path, tests: Path, images: Path) -> None:
        self.folder = folder
        self.base = folder / "base"
        self.binds = {"/mnt/source": source, "/mnt/tests": tests, "/mnt/images": images}
        self.names = {name: f"{NETWORK}.{number}" for name, number in numbers.items()}
        self.items = {name: Machine(name, ip, folder / name) for name, ip in self.names.items()}

    def __enter__(self) -> Machines:
        self.folder.mkdir(parents=True, exist_ok=True)
        if not (self.base / "etc").is_dir():
            command(
                "mmdebstrap",
                "--variant=minbase",
                f"--include={PACKAGES}",
                "bookworm",
                str(self.base),
                timeout=900,
            )
        command("ip", "netns", "add", NAMESPACE)
        inside = ("ip", "netns", "exec", NAMESPACE)
        command(*inside, "ip", "link", "set", "lo", "up")
        command(*inside, "ip", "link", "add", BRIDGE, "type", "bridge")
        command(*inside, "ip", "address", "add", f"{NETWORK}.1/24", "dev", BRIDGE)
        command(*inside, "ip", "link", "set", BRIDGE, "up")
        try:
            for machine in self.items.values():
                machine.start(self.base, self.binds, self.names)
        except BaseException:
            self.close()
            raise
        return self

    def __getitem__(self, name: str) -> Machine:
        return self.items[name]

    def outside(self, *words: str, check: bool = True, timeout: float = 60) -> str:
        """A command on the hosts' network, on none of them."""
        return command("ip", "netns", "exec", NAMESPACE, *words, check=check, timeout=timeout)

    def __exit__(self, *unused: object) -> None:
        self.close()

    def close(self) -> None:
        for machine in self.items.values():
            machine.close()
        command("ip", "netns", "del", NAMESPACE, check=False)
