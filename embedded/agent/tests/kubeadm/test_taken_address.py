# SPDX-License-Identifier: GPL-3.0-or-later
"""A virtual address that another machine has, and ports that somebody listens on, in networks of the test's own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SOURCES = Path(__file__).resolve().parents[2] / "src"
NAMESPACES = ["unshare", "--user", "--map-root-user", "--net", "--mount"]

pytestmark = pytest.mark.skipif(
    subprocess.run([*NAMESPACES, "mount", "-t", "sysfs", "none", "/sys"], capture_output=True, check=False).returncode
    != 0,
    reason="namespaces need a kernel that lets users make them",
)

#: Two machines on one wire: this one with the NIC here, the other with the NIC there, in its own network namespace.
WIRE = """
mount -t sysfs none /sys
ip link add here type veth peer name there
unshare --net sleep 60 &
other=$!
trap 'kill $other' EXIT
until [ "$(readlink /proc/$other/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do sleep 0.05; done
ip link set there netns $other
nsenter --target $other --net sh -c 'ip addr add 192.0.2.12/24 dev there; {address}
  ip link set there address 02:00:00:00:00:12; ip link set there up'
ip addr add 192.0.2.11/24 dev here
ip link set here up
"""


def inside(shell: str, program: str) -> str:
    """What a Python program prints after the shell's commands, as root of namespaces of its own."""
    script = f'set -eu\n{shell}\nPYTHONPATH={SOURCES} {sys.executable} -c "$0"\n'
    done = subprocess.run(
        [*NAMESPACES, "sh", "-c", script, program], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


REFUSE = """
from paletteops_agent.engine import EngineError
from paletteops_agent.engine.kubeadm import vip
interface = vip.interface_of("192.0.2.11")
try:
    vip.refuse_duplicate("192.0.2.10", interface)
    print("free on", interface)
except EngineError as error:
    print(error.reason, error.message)
print("here" if vip.present("192.0.2.10", interface) else "not taken")
"""


def test_a_virtual_address_that_another_machine_has_is_refused_and_not_taken() -> None:
    said, taken = inside(WIRE.format(address="ip addr add 192.0.2.10/32 dev there;"), REFUSE).splitlines()
    for word in ("VipInUse", "192.0.2.10", "02:00:00:00:00:12", "network of here", "with a free address"):
        assert word in said
    assert taken == "not taken"


def test_one_that_nobody_has_is_free() -> None:
    assert inside(WIRE.format(address=""), REFUSE).splitlines() == ["free on here", "not taken"]


PORTS = """
import socket
from paletteops_agent.engine.kubeadm import probe
listener = socket.create_server(("", 10250))
print([port for port in (6443, 10250) if probe.port_taken(port)])
"""


def test_a_port_that_somebody_listens_on_is_seen() -> None:
    assert inside("ip link set lo up", PORTS).strip() == "[10250]"
