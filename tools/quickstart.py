#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""What `make quickstart` and `make plane` show: the example inventory on an embedded plane of its own.

Without an option: starts a plane with fresh data and agents for the hosts of the inventory, runs the playbook `site`
twice, checks that the second run changes nothing, and reads the nodes of two clusters. Everything is removed at the
end. With --plane: keeps a plane and the agents running.

The agents are processes of the user with the simulated engine, each with a root directory and a host ID of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
INVENTORY = "inventory/example"

#: The clusters whose nodes are shown: one of a cloud, one of hosts.
SHOWN, SHOWN_OF_HOSTS = "shop-berlin", "store-18"

#: The registration token of the example, which the playbook `foundation` makes.
TOKEN = "stores"

#: A plane that is kept has its data here.
KEPT = ROOT / ".quickstart"
KEPT_ADDRESS = "127.0.0.1:8443"

#: Simulated minutes for each real second: a cluster takes half a minute.
SPEED = 30.0

START_SECONDS = 60.0
STOP_SECONDS = 20.0
#: Between two looks whether the registration token is there.
LOOK_SECONDS = 0.5

COLOUR = re.compile(r"\x1b\[[0-9;]*m")
RECAP = re.compile(
    r"^(?P<host>\S+)\s+: ok=\d+\s+changed=(?P<changed>\d+)\s+unreachable=(?P<unreachable>\d+)\s+failed=(?P<failed>\d+)"
)


class Stop(Exception):
    """It cannot go on; the message is a line for the user."""


class Signalled(BaseException):
    """Somebody wants it to end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def on_signal(number: int, frame: FrameType | None) -> NoReturn:
    raise Signalled(number)


def say(text: str = "") -> None:
    print(text, flush=True)


def title(text: str) -> None:
    bold, plain = ("\x1b[1m", "\x1b[0m") if sys.stdout.isatty() else ("", "")
    say(f"\n{bold}== {text}{plain}")


# --- processes ---


def end(process: subprocess.Popen[str]) -> None:
    """Ends a process and all that it started, which share its session."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is not None:
            return
        try:
            os.killpg(process.pid, number)
            process.wait(STOP_SECONDS)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue


class Plane:
    """A running plane: its address, the file with its API key, and the authority of its certificate."""

    def __init__(self, folder: Path, state: Mapping[str, str]) -> None:
        self.url = state["url"].rstrip("/")
        self.key_file = folder / "plane.key"
        self.ca_file = Path(state["ca_file"])


class Agents:
    """An agent for each host of the inventory, as soon as the plane has the registration token that they show.

    To the inventory they are hosts whose image includes the agent. What they write lies below the folder, a root
    directory for each; a host that registered once goes on as itself when it is started again.
    """

    def __init__(self, folder: Path, speed: float, plane: Plane, hosts: list[str]) -> None:
        self.folder = folder
        self.speed = speed
        self.plane = plane
        self.hosts = hosts
        self.processes: list[subprocess.Popen[str]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Agents:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join(STOP_SECONDS)
        for process in self.processes:
            if process.poll() is None:
                process.terminate()
        for process in self.processes:
            end(process)

    def _run(self) -> None:
        token = ""
        while not token and not self._stop.wait(LOOK_SECONDS):
            token = self._token()
        for host in self.hosts if token else []:
            if not self._stop.is_set():
                self.processes.append(self._start(host, token))

    def _token(self) -> str:
        """The registration token's value; empty while there is none."""
        key = self.plane.key_file.read_text("utf-8").strip()
        asked = urllib.request.Request(f"{self.plane.url}/v1/edgehosts/tokens", headers={"ApiKey": key})
        context = ssl.create_default_context(cafile=str(self.plane.ca_file))
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )
        try:
            with opener.open(asked, timeout=START_SECONDS) as answer:
                items = json.load(answer)["items"]
        except (OSError, urllib.error.URLError):
            return ""  # too many calls, or it is about to end
        return next((str(item["spec"]["token"]) for item in items or [] if item["metadata"]["name"] == TOKEN), "")

    def _start(self, host: str, token: str) -> subprocess.Popen[str]:
        root = self.folder / host
        root.mkdir(parents=True, exist_ok=True)
        engine = {"engine": "simulated", "simulated": {"speed": self.speed, "directory": str(self.folder / "world")}}
        site = {
            "paletteEndpoint": self.plane.url.removeprefix("https://"),
            "edgeHostToken": token,
            "name": host,
            "hostName": host,
            "caCerts": [self.plane.ca_file.read_text("utf-8")],
        }
        settings = {"path": "/etc/spectro/paletteops-agent.yaml", "permissions": 0o600, "content": json.dumps(engine)}
        content = {
            "stylus": {"managementMode": "central", "site": site},
            "stages": {"initramfs": [{"files": [settings]}]},
        }
        user_data = root / "user-data"
        user_data.touch(0o600)
        user_data.write_text("#cloud-config\n" + json.dumps(content, indent=1), "utf-8")
        with (root / "agent.log").open("a", encoding="utf-8") as log:
            return subprocess.Popen(
                [str(BIN / "palette-agent"), "start", "--stylus-root", str(root), "--config", str(user_data)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                text=True,
                start_new_session=True,
            )


def hosts_of_the_example(env: Mapping[str, str]) -> list[str]:
    """The machines of the example inventory."""
    done = subprocess.run(
        [str(BIN / "ansible-inventory"), "-i", INVENTORY, "--list"],
        cwd=ROOT,
        env=dict(env),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise Stop(f"the inventory {INVENTORY} cannot be read: {done.stderr.strip()}")
    hosts: list[str] = json.loads(done.stdout)["palette_hosts"]["hosts"]
    return hosts


@contextmanager
def plane_in(folder: Path, speed: float, listen: str) -> Iterator[tuple[Plane, subprocess.Popen[str]]]:
    """Starts a plane on data in the folder, and ends it with the block. By TLS, which kubectl asks for."""
    # named by this process: a plane that is kept on this folder has one of its own
    ready, log = folder / f"ready-{os.getpid()}.json", folder / "plane.log"
    ready.unlink(missing_ok=True)
    command = [str(BIN / "paletteops-plane"), "--listen", listen, "--tls", "--speed", str(speed)]
    command += ["--data", str(folder / "plane.sqlite"), "--key-file", str(folder / "plane.key")]
    command += ["--ready-file", str(ready)]
    try:
        with log.open("a", encoding="utf-8") as written:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=written, stderr=written, text=True, start_new_session=True
            )
    except OSError as error:
        raise Stop(f"the embedded plane cannot be started ({error.strerror}); mend it with: make venv") from None
    try:
        deadline = time.monotonic() + START_SECONDS
        while not ready.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                said = log.read_text("utf-8", errors="replace").strip().splitlines() or ["it said nothing"]
                hint = " (make plane ARGS='--listen 127.0.0.1:0' takes any)" if "in use" in said[-1] else ""
                raise Stop(f"the embedded plane did not start: {said[-1]}{hint}")
            time.sleep(0.05)
        yield Plane(folder, json.loads(ready.read_text("utf-8"))), process
    finally:
        end(process)


def environment(plane: Plane, folder: Path) -> dict[str, str]:
    """The environment of Ansible: this plane and nothing of what the user has set for others."""
    own = {
        "PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".venv" / "collections"),
        "ANSIBLE_CONFIG": str(folder / "ansible.cfg"),
        "ANSIBLE_HOME": str(folder / "ansible"),
        "ANSIBLE_CALLBACK_RESULT_FORMAT": "yaml",
        "ANSIBLE_FORCE_COLOR": str(sys.stdout.isatty()),
        "EXAMPLE_WAIT_INTERVAL": "2",
        "PALETTE_API_URL": plane.url,
        "PALETTE_API_KEY": plane.key_file.read_text("utf-8").strip(),
        "PALETTE_CA_PATH": str(plane.ca_file),
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("ANSIBLE_", "PALETTE_", "EXAMPLE_"))}
    return {**kept, **own}


def site(env: Mapping[str, str], folder: Path, shown: bool) -> dict[str, int]:
    """Runs the playbook on the example; returns how much it changed for each host. Raises Stop where it fails."""
    variables = {"palette_kubeconfig": str(folder / "kubeconfigs" / "{{ inventory_hostname }}")}
    command = [str(BIN / "ansible-playbook"), "paletteops.modes.site", "-i", INVENTORY]
    process = subprocess.Popen(
        [*command, "-e", json.dumps(variables)],
        cwd=ROOT,
        env=dict(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    changed: dict[str, int] = {}
    said = []
    try:
        assert process.stdout is not None
        for line in process.stdout:
            found = RECAP.match(COLOUR.sub("", line))
            if found:
                changed[found["host"]] = int(found["changed"])
            said.append(line)
            if shown or found:
                print(line, end="", flush=True)
        code = process.wait()
    finally:
        end(process)
    if code:
        if not shown:
            print("".join(said), end="", flush=True)
        raise Stop(f"ansible-playbook ended with {code}; what it says is above")
    return changed


def show_nodes(kubeconfig: Path, env: Mapping[str, str]) -> None:
    """The nodes of a cluster, by kubectl where there is one, else by the Python client."""
    if shutil.which("kubectl"):
        say(f"$ kubectl --kubeconfig {kubeconfig} get nodes")
        done = subprocess.run(["kubectl", "--kubeconfig", str(kubeconfig), "get", "nodes"], env=dict(env), check=False)
        if done.returncode:
            raise Stop("kubectl could not read the nodes")
        return
    import kubernetes

    say(f"(by the Python client with {kubeconfig}; kubectl is not installed here)")
    client = kubernetes.config.new_client_from_config(str(kubeconfig))
    nodes: list[Any] = kubernetes.client.CoreV1Api(client).list_node().items
    for node in nodes:
        ready = any(one.type == "Ready" and one.status == "True" for one in node.status.conditions)
        version = node.status.node_info.kubelet_version
        say(f"{node.metadata.name:<40}{'Ready' if ready else 'NotReady':<12}{version}")


# --- the two commands ---


def quickstart(speed: float) -> None:
    started = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="paletteops-"))  # for this user alone
    try:
        (folder / "ansible.cfg").touch()
        title("An embedded management plane, with nothing in it")
        with plane_in(folder, speed, "127.0.0.1:0") as (plane, _process):
            say(f"{plane.url} (a small open implementation of Palette's API; its data are in {folder})")
            env = environment(plane, folder)
            hosts = hosts_of_the_example(env)
            with Agents(folder / "hosts", speed, plane, hosts):
                title(f"Agents on {len(hosts)} hosts: processes of yours, with a simulated Kubernetes")
                say(f"{', '.join(hosts)} (they register as soon as the inventory's token is there)")
                say(REAL_HOSTS)

                title("The example inventory: four clusters on two clouds, two on hosts, and what they share")
                say(f"$ ansible-playbook paletteops.modes.site -i {INVENTORY}")
                first = site(env, folder, shown=True)

                title("The same once more")
                say(f"$ ansible-playbook paletteops.modes.site -i {INVENTORY}")
                second = site(env, folder, shown=False)
                left = {host: number for host, number in second.items() if number}
                if left or not second or set(first) != set(second):
                    raise Stop(f"the second run was to change nothing, and it changed: {left or second}")
                say(f"{sum(first.values())} changes in the first run, 0 in the second.")

                for cluster in (SHOWN, SHOWN_OF_HOSTS):
                    title(f"The nodes of {cluster}, asked of the cluster itself")
                    show_nodes(folder / "kubeconfigs" / cluster, env)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    title(f"Done in {time.monotonic() - started:.0f} s. Nothing is left running.")
    say(WHAT_NEXT)


REAL_HOSTS = "Real hosts and a real Kubernetes, as root on Debian: make e2e-agent"

WHAT_NEXT = f"""
What next
  Look at {INVENTORY}/: it is all that was needed. Copy it and change it.
  Keep a plane running, and try the playbooks on it (check mode, scale, upgrade, teardown):
    make plane
  Read docs/controller-mode.md, and docs/agent.md for hosts of your own.

The same inventory on a real Palette
  In {INVENTORY}/group_vars: your cloud's credentials (credentials.yml, by ansible-vault), and the names that are
  yours: region and key pair, data centre, private cloud gateway. The projects are made if the key may do that.
    export PALETTE_API_URL=https://api.spectrocloud.com      # or your own Palette
    export PALETTE_API_KEY=…                                 # an API key of yours
    export PALETTE_PROJECT=…                                 # where palette_project names none
    export ANSIBLE_COLLECTIONS_PATH={ROOT / ".venv" / "collections"}
    .venv/bin/ansible-playbook paletteops.modes.site -i {INVENTORY} --check --diff
    .venv/bin/ansible-playbook paletteops.modes.site -i {INVENTORY}"""


def keep_plane(speed: float, listen: str) -> None:
    """Keeps a plane running until it is told to end. Its data outlive it."""
    KEPT.mkdir(mode=0o700, exist_ok=True)
    KEPT.chmod(0o700)
    with ExitStack() as stack:
        plane, process = stack.enter_context(plane_in(KEPT, speed, listen))
        stack.enter_context(Agents(KEPT / "hosts", speed, plane, hosts_of_the_example(environment(plane, KEPT))))
        settings = KEPT / "env"
        settings.write_text(
            "# sourced by a shell: tools and connection for this plane\n"
            f"export PATH={shlex.quote(str(BIN))}:$PATH\n"
            f"export ANSIBLE_COLLECTIONS_PATH={shlex.quote(str(ROOT / '.venv' / 'collections'))}\n"
            f"export PALETTE_API_URL={shlex.quote(plane.url)}\n"
            f"export PALETTE_API_KEY=$(cat {shlex.quote(str(plane.key_file))})\n"
            f"export PALETTE_CA_PATH={shlex.quote(str(plane.ca_file))}\n"
            "export EXAMPLE_WAIT_INTERVAL=2\n"
            "unset PALETTE_PROJECT PALETTE_VALIDATE_CERTS PALETTE_TIMEOUT\n"
            "export NO_PROXY=127.0.0.1,localhost\n",
            "utf-8",
        )
        say(
            f"""The embedded plane runs at {plane.url}
  API key      in {shown(plane.key_file)}
  certificate  of the authority in {shown(plane.ca_file)}
  data         in {shown(KEPT / "plane.sqlite")}: they stay when it ends; remove {shown(KEPT)}/ to begin anew
  log          in {shown(KEPT / "plane.log")}
  hosts        in {shown(KEPT / "hosts")}/: their agents register as soon as the inventory's token is there

In another terminal, here:
  . {shown(settings)}
  ansible-playbook paletteops.modes.site -i {INVENTORY} --check --diff
  ansible-playbook paletteops.modes.site -i {INVENTORY}
  kubectl --kubeconfig ~/.kube/paletteops/shops/{SHOWN} get nodes
  ansible-playbook paletteops.modes.teardown -i {INVENTORY} --limit {SHOWN} -e palette_confirm_teardown={SHOWN}

Ctrl-C ends it."""
        )
        code = process.wait()
        raise Stop(f"the plane ended with {code}; look at {shown(KEPT / 'plane.log')}")


def shown(path: Path) -> str:
    """A path as the user would type it here."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plane", action="store_true", help="keep a plane running, and say how to use it")
    parser.add_argument("--speed", type=float, default=SPEED, help="of the simulated clouds; 1 is realistic minutes")
    parser.add_argument("--listen", default=KEPT_ADDRESS, metavar="HOST:PORT", help="with --plane; port 0: any")
    options = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, on_signal)
    try:
        if options.plane:
            keep_plane(options.speed, options.listen)
        else:
            quickstart(options.speed)
    except Stop as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except Signalled as ended:
        say()
        return 0 if options.plane else 128 + ended.number
    return 0


if __name__ == "__main__":
    sys.exit(main())
