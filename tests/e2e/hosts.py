#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real hosts for end-to-end tests: systemd-nspawn machines in a network of the run's own.

    with Hosts(3) as hosts:
        hosts["h1"].run(["hostnamectl"])

Needs root and Debian; the packages that it needs are installed. Each host is a Debian with its own systemd, sshd (a
user `admin` who may sudo), static address, /var on a file system that overlays can lie on, and what containers need
of the kernel. The process that enters `Hosts` moves into network and mount namespaces of its own: whatever it starts
there (a plane, Ansible) reaches the hosts and nothing else, and the kernel takes both away with the last process.

`hosts.py --count 3 --shell` opens a shell among such hosts.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import hashlib
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "tools"))
import payload

#: of the disk, what must be free: kubelet evicts pods where less than 15 % is
FREE_SHARE = 0.17
#: what this machine needs, as Debian's packages by a program of each
MACHINE_PACKAGES = {
    "systemd-nspawn": "systemd-container",
    "mmdebstrap": "mmdebstrap",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "ssh": "openssh-client",
    "dpkg-deb": "dpkg",
    "nft": "nftables",
}
#: what a plain server of a user has
BASE_PACKAGES = [
    "systemd",
    "systemd-sysv",
    "udev",
    "dbus",
    "openssh-server",
    "python3",
    "python3-apt",
    "sudo",
    "iproute2",
    "iputils-ping",
    "kmod",
    "procps",
    "ca-certificates",
    "curl",
]
#: what such a server gets installed later; the hosts find it in a repository of files, since they reach no other
LATER_PACKAGES = [
    "bash",
    "conntrack",
    "coreutils",
    "ebtables",
    "ethtool",
    "gawk",
    "hostname",
    "iptables",
    "iputils-arping",
    "jq",
    "nftables",
    "openssl",
    "rsync",
    "rsyslog",
    "socat",
    "tar",
    "util-linux",
    "zstd",
]
RUNS = "/var/tmp"
NETWORK = "192.0.2"
GATEWAY = f"{NETWORK}.1"
FIRST_HOST = 11
USER = "admin"
ROOT_ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}
BOOT_SECONDS = 120.0
STOP_SECONDS = 30.0

INOTIFY_INSTANCES = 4096

#: how nspawn ends when its machine starts anew
REBOOT = 133

CLONE_NEWNS = 0x00020000
CLONE_NEWNET = 0x40000000

# nspawn mounts the controllers of cgroup v1 read-only; container engines write there. Kubelet sets what a kernel does
# when memory is short and after a panic: settings of the whole machine, so that each host gets its own to write to.
KERNEL_UNIT = """\
[Unit]
Description=What container engines write to
DefaultDependencies=no
Before=basic.target sysinit.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/local/sbin/own-kernel-settings

[Install]
WantedBy=sysinit.target
"""
KERNEL_SCRIPT = """\
#!/bin/sh
for folder in /sys/fs/cgroup/*/; do
  mount -o remount,bind,rw "$folder" 2>/dev/null
done
mkdir -p /run/own-kernel-settings
for setting in vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops; do
  own=/run/own-kernel-settings/$(basename $setting)
  cat /proc/sys/$setting > $own
  mount --bind $own /proc/sys/$setting
done
"""


class HostsError(Exception):
    """What did not work, with what the commands said."""


def command(words: Sequence[str], *, check: bool = True, stdin: str | None = None, **more: Any) -> str:
    """Standard output of a command; with ``check``, of one that succeeds."""
    done = subprocess.run(list(words), input=stdin, capture_output=True, text=True, **more)
    if check and done.returncode:
        said = (done.stderr.strip() or done.stdout.strip())[-3000:]
        raise HostsError(f"{shlex.join(words)} failed ({done.returncode}): {said}")
    return str(done.stdout)


def wait_until(what: str, seconds: float, test: Callable[[], bool], interval: float = 0.1) -> None:
    deadline = time.monotonic() + seconds
    while not test():
        if time.monotonic() > deadline:
            raise HostsError(f"after {seconds:.0f} s still not: {what}")
        time.sleep(interval)


# -- the base that all hosts share -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Base:
    """A Debian as a folder, the repository of files beside it, and the key that its sshd and `admin` know."""

    folder: Path
    packages: Path
    key: Path
    host_keys: str
    #: a static busybox, for images
    busybox: Path


def machine_needs() -> None:
    if os.geteuid():
        raise HostsError("real hosts need root: sudo, or take the quickstart (make quickstart), which does without")
    missing = [
        package
        for program, package in MACHINE_PACKAGES.items()
        if not shutil.which(program, path=payload.search_path())
    ]
    if missing:
        install_packages(missing)


def install_packages(names: Sequence[str]) -> None:
    """Packages of Debian on this machine."""
    if not shutil.which("apt-get"):
        raise HostsError(f"install {' '.join(names)}: this machine has no apt-get that could")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    command(["apt-get", "update", "-q"], env=environment)
    command(["apt-get", "install", "-y", "-q", "--no-install-recommends", *names], env=environment)


def codename() -> str:
    words = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text("utf-8").splitlines() if "=" in line)
    if words.get("ID", "").strip('"') != "debian":
        raise HostsError("real hosts are made on Debian; on others run this in a virtual machine with it")
    return words["VERSION_CODENAME"].strip('"')


def prepare_base(say: Callable[[str], None]) -> Base:
    """The base, made when the cache does not hold it yet."""
    suite = codename()
    recipe = json.dumps([6, suite, BASE_PACKAGES, LATER_PACKAGES, KERNEL_UNIT, KERNEL_SCRIPT])
    folder = payload.cache_folder().parent / "e2e" / f"base-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"
    key = folder / "key"
    if not (folder / "done").exists():
        say(f"a base of Debian {suite} for the hosts, once")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        _make_root(suite, folder / "root")
        _make_repository(folder / "root", folder / "packages")
        command(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "e2e", "-f", str(key)])
        _configure_root(folder / "root", key.with_suffix(".pub").read_text("ascii"))
        (folder / "done").touch()
    public = (folder / "root/etc/ssh/ssh_host_ed25519_key.pub").read_text("ascii").split()
    busybox = folder / "busybox" / "bin" / "busybox"
    return Base(folder / "root", folder / "packages", key, " ".join(public[:2]), busybox)


def _make_root(suite: str, root: Path) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    arguments = ["--quiet", "--variant=minbase", f"--include={','.join(BASE_PACKAGES)}", suite, str(root)]
    command(["nice", "-n", "10", "mmdebstrap", *arguments], env=environment)


def _make_repository(root: Path, target: Path) -> None:
    """What LATER_PACKAGES and their dependencies add to the base, with an index, for `deb [trusted=yes] file:…`."""
    target.mkdir()
    archives = root / "var/cache/apt/archives"
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    resolver = root / "etc/resolv.conf"
    resolver.unlink(missing_ok=True)
    shutil.copyfile("/etc/resolv.conf", resolver)
    shutil.copyfile("/etc/hosts", root / "etc/hosts")
    install = ["apt-get", "install", "-y", "-q", "--no-install-recommends", "--download-only", *LATER_PACKAGES]
    for words in (["apt-get", "update", "-q"], install):
        command(["chroot", str(root), *words], env=environment)
    command(["chroot", str(root), "apt-get", "download", "-q", "busybox-static"], env=environment)
    for archive in root.glob("busybox-static_*.deb"):
        command(["dpkg-deb", "-x", str(archive), str(target.parent / "busybox")])
        archive.unlink()
    entries = []
    for archive in sorted(archives.glob("*.deb")):
        moved = target / archive.name.replace("%3a", "-")
        shutil.move(archive, moved)
        control = command(["dpkg-deb", "-f", str(moved)]).strip()
        size, digest = payload.digest_of(moved)
        entries.append(f"{control}\nFilename: ./{moved.name}\nSize: {size}\nSHA256: {digest}\n")
    (target / "Packages").write_text("\n".join(entries), "utf-8")
    shutil.rmtree(root / "var/lib/apt/lists")
    (root / "var/lib/apt/lists").mkdir()


def _configure_root(root: Path, public_key: str) -> None:
    def write(path: str, text: str, mode: int = 0o644) -> None:
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        target.write_text(text, "utf-8")
        target.chmod(mode)

    write("etc/systemd/system/own-kernel-settings.service", KERNEL_UNIT)
    write("usr/local/sbin/own-kernel-settings", KERNEL_SCRIPT, 0o755)
    shutil.rmtree(root / "etc/apt/sources.list.d", ignore_errors=True)
    write("etc/apt/sources.list", "deb [trusted=yes] file:/srv/packages ./\n")
    # nobody answers there: what asks learns so at once instead of after a time-out
    write("etc/resolv.conf", f"nameserver {GATEWAY}\n")
    write("etc/sudoers.d/admin", f"{USER} ALL=(ALL) NOPASSWD: ALL\n", 0o440)
    inside = ["chroot", str(root)]
    command([*inside, "useradd", "--create-home", "--shell", "/bin/bash", USER])
    write(f"home/{USER}/.ssh/authorized_keys", public_key, 0o644)
    command([*inside, "chown", "-R", f"{USER}:{USER}", f"/home/{USER}/.ssh"])
    (root / f"home/{USER}/.ssh").chmod(0o700)
    command([*inside, "systemctl", "enable", "-q", "own-kernel-settings", "systemd-networkd", "ssh"])
    command([*inside, "systemctl", "mask", "-q", "systemd-networkd-wait-online", "apt-daily.timer"])
    command([*inside, "systemctl", "mask", "-q", "apt-daily-upgrade.timer", "systemd-resolved", "console-getty"])
    # a host with a kernel of its own has it, and pods mount it
    (root / "usr/lib/modules").mkdir(exist_ok=True)
    # a journal that can be read when the host is no more
    (root / "var/log/journal").mkdir(exist_ok=True)


# -- hosts -------------------------------------------------------------------------------------------------------------


@dataclass
class Host:
    """One machine. ``run`` is root on it without a network; ``ssh`` is the user's way."""

    name: str
    address: str
    folder: Path
    hosts: Hosts
    _nspawn: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    _watcher: threading.Thread | None = field(default=None, repr=False)

    @property
    def root(self) -> Path:
        """The host's file system, as this process sees it."""
        return self.folder / "root"

    def make(self, base: Base, names: Mapping[str, str], index: int) -> None:
        for part in ("root", "upper", "work"):
            (self.folder / part).mkdir(parents=True)
        command(["cp", "-a", str(base.folder / "var"), str(self.folder / "var")])
        options = f"lowerdir={base.folder},upperdir={self.folder / 'upper'},workdir={self.folder / 'work'}"
        command(["mount", "-t", "overlay", "overlay", "-o", options, str(self.root)])
        # containers' own overlays do not lie on an overlay
        command(["mount", "--bind", str(self.folder / "var"), str(self.root / "var")])
        lines = ["127.0.0.1 localhost", *(f"{address} {name}" for name, address in names.items())]
        self.write("/etc/hosts", "\n".join(lines) + "\n")
        self.write("/etc/hostname", f"{self.name}\n")
        self.write("/etc/machine-id", f"{hashlib.sha256(f'{self.folder}'.encode()).hexdigest()[:32]}\n")
        # sorts before the file for containers that systemd brings
        network = (
            f"[Match]\nName=host0\n[Network]\nAddress={self.address}/24\nGateway={GATEWAY}\nLinkLocalAddressing=no\n"
        )
        self.write("/etc/systemd/network/10-host0.network", network)

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        target = self.root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, "utf-8")
        target.chmod(mode)

    def copy(self, source: Path, path: str) -> None:
        """A file of this machine, with its mode."""
        target = self.root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        command(["cp", str(source), str(target)])

    @property
    def running(self) -> bool:
        """Whether it is on, or just starting anew."""
        return self._watcher is not None and self._watcher.is_alive()

    def start(self) -> None:
        """Power on, without waiting."""
        assert not self.running
        self._launch()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()

    def _watch(self) -> None:
        """nspawn ends where its machine starts anew, and leaves that to who called it."""
        assert self._nspawn is not None
        while self._nspawn.wait() == REBOOT:
            self._launch()

    def _launch(self) -> None:
        group = self.hosts.cgroup(self.name)
        enter = [f"echo $$ > {shlex.quote(str(folder / 'cgroup.procs'))}" for folder in group]
        words = ["systemd-nspawn", "--quiet", "--boot", f"--directory={self.root}", f"--machine={self.name}"]
        words += ["--register=no", "--keep-unit", "--network-bridge=br0", "--resolv-conf=off", "--timezone=off"]
        words += ["--link-journal=no", "--console=pipe", "--capability=all", "--system-call-filter=@known"]
        words += ["--bind=/dev/kmsg", "--kill-signal=SIGRTMIN+3"]
        words += [f"--bind-ro={self.hosts.base.packages}:/srv/packages"]
        # gone with the run, whatever becomes of that
        script = "; ".join([*enter, f"exec setpriv --pdeathsig=TERM {shlex.join(words)}"])
        with (self.folder / "console.log").open("ab") as log:
            self._nspawn = subprocess.Popen(
                ["sh", "-ec", script], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    def wait_ready(self, seconds: float = BOOT_SECONDS) -> None:
        """Until sshd answers."""
        wait_until(f"{self.name} answers to SSH", seconds, self._answers)

    def _answers(self) -> bool:
        if not self.running:
            console = (self.folder / "console.log").read_text("utf-8", "replace")[-3000:]
            raise HostsError(f"{self.name} went off:\n{console}")
        try:
            with socket.create_connection((self.address, 22), 1) as connection:
                return connection.recv(4) == b"SSH-"
        except OSError:
            return False

    def leader(self) -> int:
        """The machine's process 1, as this machine counts."""
        assert self._nspawn is not None
        for child in _children(self._nspawn.pid):
            status = Path(f"/proc/{child}/status").read_text("ascii")
            spaces = next(line.split() for line in status.splitlines() if line.startswith("NSpid:"))
            if len(spaces) > 2 and spaces[-1] == "1":
                return child
        raise HostsError(f"{self.name} has no process 1")

    def run(self, words: Sequence[str], *, check: bool = True, stdin: str | None = None, timeout: float = 600) -> str:
        """Standard output of a command as root on the host."""
        return command(self._inside(words), check=check, stdin=stdin, timeout=timeout, env=ROOT_ENVIRONMENT)

    def start_run(self, words: Sequence[str]) -> subprocess.Popen[str]:
        """The same side by side with others; standard output and errors together."""
        return subprocess.Popen(
            self._inside(words),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=ROOT_ENVIRONMENT,
        )

    def _inside(self, words: Sequence[str]) -> list[str]:
        spaces = ["--mount", "--uts", "--ipc", "--net", "--pid", "--root", "--wd=/"]
        return ["nsenter", f"--target={self.leader()}", *spaces, "--", *words]

    def shell(self, script: str, *, check: bool = True, timeout: float = 600) -> str:
        return self.run(["bash", "-euo", "pipefail", "-c", script], check=check, timeout=timeout)

    def stop(self) -> None:
        """Shut down, and off when that takes too long."""
        if self.running:
            assert self._nspawn is not None and self._watcher is not None
            self._nspawn.terminate()
            self._watcher.join(STOP_SECONDS)
            self.kill()

    def kill(self) -> None:
        """As when the power goes."""
        if self.running:
            assert self._nspawn is not None and self._watcher is not None
            with contextlib.suppress(HostsError, ProcessLookupError, FileNotFoundError):
                os.kill(self.leader(), signal.SIGKILL)
            self._watcher.join(10)
            if self.running:
                self._nspawn.kill()
                self._watcher.join()

    def reboot(self) -> None:
        self.stop()
        self.start()
        self.wait_ready()


def _children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()]


class Hosts:
    """Some hosts on one network, from ``with`` to its end. What is given names them h1, h2 …, or by itself."""

    def __init__(self, wanted: int | Sequence[str], *, logs: Path | None = None, quiet: bool = False) -> None:
        self._names = [f"h{number}" for number in range(1, wanted + 1)] if isinstance(wanted, int) else list(wanted)
        self._logs = logs
        self._quiet = quiet
        self._begun = time.monotonic()
        self._hosts: dict[str, Host] = {}
        self._outside: list[tuple[int, int]] = []
        self._cgroups: list[Path] = []
        self._undo = contextlib.ExitStack()

    def say(self, text: str) -> None:
        if not self._quiet:
            print(f"[{time.monotonic() - self._begun:7.1f} s] {text}", file=sys.stderr, flush=True)

    def __iter__(self) -> Iterator[Host]:
        return iter(self._hosts.values())

    def __getitem__(self, name: str) -> Host:
        return self._hosts[name]

    @property
    def ssh_options(self) -> list[str]:
        """Options of ssh that know the hosts by their key, and nothing of this machine's user."""
        known = self.folder / "known_hosts"
        return ["-i", str(self.base.key), "-F", "none", "-o", f"UserKnownHostsFile={known}", "-o", "IdentitiesOnly=yes"]

    def prepare(self) -> Base:
        """What all hosts share; a subclass may add to it."""
        return prepare_base(self.say)

    def __enter__(self) -> Self:
        machine_needs()
        self.base = self.prepare()
        self.folder = Path(tempfile.mkdtemp(prefix="paletteops-e2e-", dir=RUNS))
        try:
            self._raise_limits()
            self._isolate()
            names = {name: f"{NETWORK}.{FIRST_HOST + index}" for index, name in enumerate(self._names)}
            for index, (name, address) in enumerate(names.items()):
                host = Host(name, address, self.folder / name, self)
                self._hosts[name] = host
                host.make(self.base, names, index)
            known = [f"{name},{address} {self.base.host_keys}\n" for name, address in names.items()]
            (self.folder / "known_hosts").write_text("".join(known), "ascii")
            for host in self:
                host.start()
            for host in self:
                host.wait_ready()
        except BaseException:
            self.__exit__(*sys.exc_info())
            raise
        self.say(f"{len(self._hosts)} hosts are up")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for host in self:
            with contextlib.suppress(Exception):
                (host.stop if kind is None else host.kill)()
        if kind is not None and self._logs is not None:
            self.keep_logs(self._logs)
        self._end_processes()
        for host in self:
            command(["umount", "-R", "-l", str(host.root)], check=False)
        for group in reversed(self._cgroups):
            _remove_cgroup(group)
        self._return()
        self._undo.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def keep_logs(self, target: Path) -> None:
        """Consoles and journals of all hosts, as text."""
        target.mkdir(parents=True, exist_ok=True)
        for host in self:
            console = host.folder / "console.log"
            if console.exists():
                shutil.copyfile(console, target / f"{host.name}.console.log")
            journal = ["journalctl", "-D", str(host.folder / "var/log/journal"), "-o", "short-precise", "--no-pager"]
            with (target / f"{host.name}.journal.log").open("w") as out:
                subprocess.run(journal, stdout=out, stderr=subprocess.DEVNULL, timeout=120)
            pods = host.folder / "var/log/pods"
            if pods.exists():
                shutil.copytree(pods, target / f"{host.name}.pods", dirs_exist_ok=True, symlinks=True)
        self.say(f"logs are in {target}")

    def cgroup(self, name: str) -> list[Path]:
        """A control group of its own for a host, below this process's, in every hierarchy; made on first use."""
        folders = []
        for line in Path("/proc/self/cgroup").read_text("ascii").splitlines():
            _, controllers, path = line.split(":", 2)
            mount = Path("/sys/fs/cgroup")
            if controllers:
                mount /= controllers.removeprefix("name=")
            elif (mount / "unified").is_dir():
                mount /= "unified"
            folder = mount / path.lstrip("/") / f"{self.folder.name}-{name}"
            if not mount.is_dir() or not (mount / path.lstrip("/")).is_dir():
                continue
            if not folder.exists():
                folder.mkdir()
                self._cgroups.append(folder)
                # a new group of cpuset takes no process before it has these
                for knob in ("cpuset.cpus", "cpuset.mems"):
                    if (folder / knob).exists():
                        (folder / knob).write_text((folder.parent / knob).read_text("ascii"), "ascii")
            folders.append(folder)
        return folders

    def _raise_limits(self) -> None:
        """All hosts share root's number of inotify instances, of which kubelet and systemd take many."""
        limit = Path("/proc/sys/fs/inotify/max_user_instances")
        before = limit.read_text("ascii")
        if int(before) < INOTIFY_INSTANCES:
            limit.write_text(str(INOTIFY_INSTANCES), "ascii")
            self._undo.callback(limit.write_text, before, "ascii")

    def _isolate(self) -> None:
        for kind, flag in (("net", CLONE_NEWNET), ("mnt", CLONE_NEWNS)):
            self._outside.append((os.open(f"/proc/self/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC), flag))
        _system_call("unshare", CLONE_NEWNET | CLONE_NEWNS)
        command(["mount", "--make-rprivate", "/"])
        for words in (
            ["link", "set", "lo", "up"],
            ["link", "add", "br0", "type", "bridge"],
            ["addr", "add", f"{GATEWAY}/24", "dev", "br0"],
            ["link", "set", "br0", "up"],
        ):
            command(["ip", *words])

    def _end_processes(self) -> None:
        """What the run started in its network and left there, such as shared connections of ssh."""
        if not self._outside:
            return
        own, outside = os.stat("/proc/self/ns/net").st_ino, os.fstat(self._outside[0][0]).st_ino
        if own == outside:
            return
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                with contextlib.suppress(OSError):
                    if os.stat(entry / "ns" / "net").st_ino == own:
                        os.kill(int(entry.name), signal.SIGKILL)

    def _return(self) -> None:
        here = os.getcwd()
        for descriptor, flag in self._outside:
            with contextlib.suppress(OSError):
                _system_call("setns", descriptor, flag)
            os.close(descriptor)
        self._outside.clear()
        os.chdir(here)


def _system_call(name: str, *arguments: int) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if getattr(library, name)(*arguments):
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def _remove_cgroup(folder: Path) -> None:
    """A group with those below it; they are empty a moment after their last process ended."""
    deadline = time.monotonic() + 5
    while folder.exists():
        for path, names, _ in os.walk(folder, topdown=False):
            for name in names:
                with contextlib.suppress(OSError):
                    os.rmdir(Path(path, name))
        with contextlib.suppress(OSError):
            folder.rmdir()
            return
        if time.monotonic() > deadline:
            print(f"warning: {folder} could not be removed", file=sys.stderr)
            return
        time.sleep(0.05)


@contextlib.contextmanager
def ended_by_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP end the run as an exception does, so that it cleans up."""

    def leave(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="hosts.py", description=__doc__.split("\n\n")[0])
    parser.add_argument("--count", type=int, default=3, help="of hosts (3)")
    parser.add_argument("--shell", action="store_true", help="a shell among them; without, only see that they start")
    options = parser.parse_args(arguments)
    try:
        with ended_by_signals(), Hosts(options.count) as hosts:
            ssh = shlex.join(["ssh", *hosts.ssh_options])
            for host in hosts:
                print(f"{host.name}  {host.address}  {ssh} {USER}@{host.address}  |  nsenter -t {host.leader()} -a")
            if options.shell:
                print("leave the shell, and the hosts are gone")
                subprocess.run([os.environ.get("SHELL", "/bin/bash")])
    except HostsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
