# SPDX-License-Identifier: GPL-3.0-or-later
"""Machines for the role of agent mode: folders that Ansible takes for hosts, without any rights on this machine.

A command that Ansible would send by SSH runs in a user and a mount namespace, with the folder as its root: what it
writes stays there, and this machine's programs are lent to it read-only. What a folder cannot be is stood in for by
commands of the machine's own: systemctl starts the real agent as a process, journalctl shows what that wrote. The
network and the clock are this machine's.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shlex
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

Values = dict[str, Any]

#: Lent by this machine; /dev is needed whole, /sys and /proc are what the kernel says.
LENT = ("/usr", "/bin", "/sbin", "/lib", "/lib64", "/dev", "/sys", "/proc")

#: Checks that look at this machine's own size and settings, which are no matter of these tests.
OF_THIS_MACHINE = ["cgroups", "swap", "cpus", "memory", "disk", "inotify", "ports"]

#: Commands that the role would install.
TOOLS = ("conntrack", "iptables", "jq", "rsync", "rsyslogd")

START = "spectro-palette-agent-start.service"

ENTER = """\
#!/bin/sh
# Stands for ssh. Its last argument is the command.
for command; do :; done
export MACHINE={root} COMMAND="$command"
exec {wrapper} unshare --user --map-root-user --mount --uts {network} /bin/sh -eu {inside}
"""

INSIDE = """\
hostname {name}
mount --bind "$MACHINE" "$MACHINE"
for path in {lent}; do
  mount --rbind "$path" "$MACHINE$path"
done
for path in {programs}; do
  mount --bind -o ro "$path" "$MACHINE$path"
  mount -o remount,bind,ro "$MACHINE$path"
done
mount --bind "$MACHINE/commands" "$MACHINE/usr/local/sbin"
path=/usr/local/sbin:{python}:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
exec {listening} env -i PATH="$path" HOME=/home LC_ALL=C.UTF-8 chroot "$MACHINE" /bin/sh -c "cd /home; $COMMAND"
"""

#: Listens on a port as long as the command runs: the command has the socket, too.
LISTENING = """
import os, socket, sys
listener = socket.create_server(("", int(sys.argv[1])))
listener.set_inheritable(True)
os.execvp(sys.argv[2], sys.argv[2:])
"""

SYSTEMCTL = """\
#!/bin/sh
case "$*" in
  is-active*) shift; for unit in "$@"; do grep -qxF "$unit" /etc/active && echo active || echo inactive; done ;;
  show*)
    state=inactive
    [ ! -e /run/agent.pid ] || ! kill -0 "$(cat /run/agent.pid)" 2>/dev/null || state=active
    printf 'Id=%s\nLoadState=loaded\nActiveState=%s\n' {start} "$state" ;;
  *start*{start}*)
    [ ! -e /run/agent.pid ] || kill "$(cat /run/agent.pid)" 2>/dev/null
    setsid /opt/spectrocloud/bin/palette-agent start >/dev/null 2>>/var/log/agent </dev/null &
    echo $! >/run/agent.pid ;;
  stop*{start}*) [ ! -e /run/agent.pid ] || kill "$(cat /run/agent.pid)" 2>/dev/null; rm -f /run/agent.pid ;;
esac
""".replace("{start}", START)

#: Where an agent was started, it is given the time to say more than that it begins.
JOURNALCTL = """\
#!/bin/sh
[ -e /var/log/agent ] || exit 0
tries=0
while [ "$(wc -l </var/log/agent)" -lt 2 ] && [ $tries -lt 300 ]; do sleep 0.1; tries=$((tries + 1)); done
tail -n 12 /var/log/agent
"""


def needed() -> None:
    """Skips a test where the kernel does not let a user make the namespaces."""
    namespaces = ["unshare", "--user", "--map-root-user", "--mount", "--uts", "--net", "true"]
    if subprocess.run(namespaces, capture_output=True, check=False).returncode:
        pytest.skip("machines of folders need a kernel that lets users make namespaces")


@dataclasses.dataclass
class Machine:
    """A host of a folder.

    systemd       whether its init system is systemd
    personality   what the kernel says of its architecture: i686, for example; without it, what this machine is
    listens       a port on which something listens, in a network of its own, in which nothing else is
    """

    name: str
    folder: Path
    systemd: bool = True
    personality: str = ""
    listens: int = 0
    address: str = "192.0.2.50/24"

    def __post_init__(self) -> None:
        self.root = self.folder / self.name
        own = ("commands", "etc", "home", "opt", "run", "tmp", "var/lib", "var/log", "root")
        for name in own:
            (self.root / name).mkdir(parents=True)
        lent: list[str] = []
        programs: list[str] = []
        for name in (*LENT, *self._python()):
            path = Path(name)
            place = self.root / name[1:]
            place.parent.mkdir(parents=True, exist_ok=True)
            if path.is_symlink():
                place.symlink_to(os.readlink(path))
            elif path.is_dir():
                place.mkdir()
                (lent if name in ("/dev", "/sys", "/proc") else programs).append(name)
        etc = {
            "os-release": 'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian 12"\n',
            "hosts": f"127.0.0.1 localhost\n192.0.2.50 {self.name}\n",
            "nsswitch.conf": "hosts: files\npasswd: files\ngroup: files\n",
            "passwd": "root:x:0:0:root:/home:/bin/sh\n",
            "group": "root:x:0:\n",
            "machine-id": f"{self.name.encode().hex():0>32.32}\n",
            "active": "systemd-timesyncd.service\n",
        }
        for name, content in etc.items():
            (self.root / "etc" / name).write_text(content, "utf-8")
        if Path("/etc/ld.so.cache").exists():
            (self.root / "etc/ld.so.cache").write_bytes(Path("/etc/ld.so.cache").read_bytes())
        if self.systemd:
            (self.root / "run/systemd/system").mkdir(parents=True)
            (self.root / "etc/systemd/system").mkdir(parents=True)
        self.command("systemctl", SYSTEMCTL)
        self.command("journalctl", JOURNALCTL)
        self.command("systemd-detect-virt", "#!/bin/sh\necho none\n")
        self.command("ip", f"#!/bin/sh\necho '2: eth0    inet {self.address} scope global eth0'\n")
        for name in (*TOOLS, "apt-get", "dpkg-query"):
            self.command(name, "#!/bin/sh\n")
        python = f"{sys.base_prefix}/bin/python3"
        inside = self._script("inside", INSIDE.format(
            name=shlex.quote(self.name),
            lent=" ".join(lent),
            programs=" ".join(programs),
            python=str(Path(python).parent),
            listening=shlex.join([python, "-c", LISTENING, str(self.listens)]) if self.listens else "",
        ))  # fmt: skip
        self.ssh = self._script("ssh", ENTER.format(
            root=shlex.quote(str(self.root)),
            inside=shlex.quote(str(inside)),
            wrapper=f"setarch {self.personality} --" if self.personality else "",
            network="--net" if self.listens else "",
        ))  # fmt: skip
        self.before = self.files()

    @staticmethod
    def _python() -> list[str]:
        """This machine's Python, where it does not come with its system."""
        return [] if sys.base_prefix.startswith("/usr") else [sys.base_prefix]

    def _script(self, name: str, content: str) -> Path:
        path = self.folder / f"{self.name}.{name}"
        path.write_text(content, "utf-8")
        path.chmod(0o700)
        return path

    def command(self, name: str, content: str) -> None:
        path = self.root / "commands" / name
        path.write_text(content, "utf-8")
        path.chmod(0o755)

    @property
    def variables(self) -> Values:
        """What the inventory says of it."""
        return {
            "palette_agent_install": True,
            "palette_agent_ignore": OF_THIS_MACHINE,
            "ansible_connection": "ssh",
            "ansible_host": f"{self.name}.example",
            "ansible_become": False,
            "ansible_ssh_executable": str(self.ssh),
            "ansible_ssh_pipelining": True,
            "ansible_ssh_transfer_method": "piped",
            "ansible_ssh_args": "",
            "ansible_ssh_use_tty": False,
            "ansible_python_interpreter": f"{sys.base_prefix}/bin/python3",
            "ansible_remote_tmp": "/home/.ansible/tmp",
        }

    def files(self) -> dict[str, str]:
        """What is on it, by path: the content of files, the kind of all else. Not what Ansible and the journal keep."""
        found: dict[str, str] = {}
        for folder, folders, names in os.walk(self.root):
            here = Path(folder).relative_to(self.root)
            if str(here) == ".":
                folders[:] = [
                    name for name in folders if f"/{name}" not in LENT and name not in ("home", "tmp", "root")
                ]
            for name in (*folders, *names):
                path = Path(folder) / name
                known = path.lstat()
                plain = stat.S_ISREG(known.st_mode)
                found[str(here / name)] = (
                    path.read_text("utf-8", "replace") if plain else oct(stat.S_IFMT(known.st_mode))
                )
        return {path: content for path, content in found.items() if path not in ("var/log/agent", "run/agent.pid")}

    @property
    def changes(self) -> list[str]:
        """The paths in which it differs from what it was at first."""
        now = self.files()
        return sorted(path for path in {*now, *self.before} if now.get(path) != self.before.get(path))

    def stop(self) -> None:
        """Ends the agent."""
        note = self.root / "run/agent.pid"
        if note.exists():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(note.read_text("utf-8")), signal.SIGKILL)
            note.unlink()
