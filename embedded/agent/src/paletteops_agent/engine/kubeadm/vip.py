# SPDX-License-Identifier: GPL-3.0-or-later
"""The control plane's virtual address on this host.

A process of its own (unit ``spectro-vip.service``), so that it goes on while the agent is replaced or away: asks the
host's own API server whether it is ready, takes or renews the Lease through it, and has the address on the NIC just as
long as it holds. A host whose API server is not ready lets the address go at once.

Run as ``python3 -m paletteops_agent.engine.kubeadm.vip CONFIG [--release]``; CONFIG is the JSON file that
``write_config`` makes.
"""

from __future__ import annotations

import datetime
import json
import logging
import signal
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from paletteops_agent.engine import EngineError

from . import arp, files, lease
from .api import Api, ApiError, control_plane_api
from .commands import run

log = logging.getLogger("spectro-vip")

NAMESPACE = "kube-system"
LEASE_NAME = "spectro-control-plane-vip"
LEASES = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases"


@dataclass(frozen=True)
class VipConfig:
    vip: str
    interface: str
    identity: str
    address: str
    port: int


def write_config(path: Path, config: VipConfig) -> bool:
    return files.write_json(path, asdict(config))


def read_config(path: Path) -> VipConfig | None:
    value = files.read_json(path)
    return VipConfig(**value) if isinstance(value, dict) else None


def interface_of(address: str) -> str:
    """The NIC that has ``address``; EngineError when none has."""
    found = run(["ip", "-j", "-4", "address", "show"], deadline=10)
    for link in json.loads(found.out or "[]"):
        for item in link.get("addr_info") or []:
            if item.get("local") == address:
                return str(link["ifname"])
    raise EngineError("NoSuchAddress", f"no network interface of this host has the address {address}")


def present(vip: str, interface: str) -> bool:
    found = run(["ip", "-j", "-4", "address", "show", "dev", interface], check=False, deadline=10)
    return found.ok and any(
        item.get("local") == vip for link in json.loads(found.out or "[]") for item in link.get("addr_info") or []
    )


def take(vip: str, interface: str) -> bool:
    """Put the address on the NIC and tell the network; True when it was not there before."""
    fresh = not present(vip, interface)
    if fresh:
        added = run(["ip", "address", "add", f"{vip}/32", "dev", interface], check=False, deadline=10)
        if not added.ok and not present(vip, interface):
            raise EngineError("VipNotTaken", f"{vip} on {interface}: {added.said()}")
    arp.announce(interface, vip)
    return fresh


def let_go(vip: str, interface: str) -> None:
    run(["ip", "address", "del", f"{vip}/32", "dev", interface], check=False, deadline=10)


def refuse_duplicate(vip: str, interface: str) -> None:
    """EngineError naming the MAC when another machine of the network has the address."""
    mac = arp.owner(interface, vip)
    if mac:
        raise EngineError(
            "VipInUse",
            f"the VIP {vip} is in use by another machine with MAC address {mac} on the network of {interface}; "
            "free it there, or delete the cluster and make it anew with a free address",
        )


class Holder:
    """One host's part in holding the VIP. ``tick`` is called again and again and says whether it holds."""

    def __init__(self, config: VipConfig, api: Api) -> None:
        self.config = config
        self.api = api
        self.election = lease.Election(config.identity)
        self.ticks = 0

    def tick(self) -> bool:
        started = time.monotonic()
        try:
            healthy = self.api.ready(timeout=lease.CALL)
            if healthy:
                self._renew(started)
            elif self.election.renewed_at is not None:
                log.warning("own API server is not ready")
                self.election.lost()
        except ApiError as error:
            # the lease may still be ours: it is let go when it could not be renewed for too long
            log.warning("lease: %s", error.message)
        holds = self.election.holds(time.monotonic())
        self._apply(holds)
        return holds

    def _renew(self, started: float) -> None:
        election = self.election
        current = self.api.find(f"{LEASES}/{LEASE_NAME}")
        election.observe(current, started)
        if not election.may_write(started):
            election.lost()
            return
        record = election.record(LEASE_NAME, NAMESPACE, datetime.datetime.now(datetime.timezone.utc))
        try:
            if current is None:
                written = self.api.request("POST", LEASES, record)
            else:
                written = self.api.request("PUT", f"{LEASES}/{LEASE_NAME}", record)
        except ApiError as error:
            if error.status == 409:
                # another was quicker; who holds shows in the next round
                election.lost()
                return
            raise
        election.written(written, started)

    def _apply(self, holds: bool) -> None:
        vip, interface = self.config.vip, self.config.interface
        if holds:
            try:
                if not present(vip, interface):
                    other = arp.owner(interface, vip, probes=1, interval=0.2)
                    if other:
                        # among members the lease decides; somebody else's machine is for its owner to see
                        log.error("%s is also answered for by %s", vip, other)
                    take(vip, interface)
                    log.info("took %s on %s", vip, interface)
                elif self.ticks % 10 == 0:
                    arp.announce(interface, vip)
            except (EngineError, OSError) as error:
                log.error("%s: %s", vip, error)
            self.ticks += 1
        elif present(vip, interface):
            let_go(vip, interface)
            self.ticks = 0
            log.info("let %s go (holder: %s)", vip, self.election.holder or "nobody")

    def release(self) -> None:
        """Let the address go and give the lease back, so that another takes it at once."""
        let_go(self.config.vip, self.config.interface)
        try:
            current = self.api.find(f"{LEASES}/{LEASE_NAME}")
            self.election.observe(current, time.monotonic())
            if current is not None and self.election.holder == self.config.identity:
                now = datetime.datetime.now(datetime.timezone.utc)
                record = self.election.record(LEASE_NAME, NAMESPACE, now, release=True)
                self.api.request("PUT", f"{LEASES}/{LEASE_NAME}", record, timeout=lease.CALL)
        except ApiError as error:
            log.warning("lease not given back: %s", error.message)


def main(arguments: list[str]) -> int:
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stderr)
    config = read_config(Path(arguments[0])) if arguments else None
    if config is None:
        log.error("no configuration: %s", arguments[0] if arguments else "name its file")
        return 1
    holder = Holder(config, control_plane_api(config.address, config.port, timeout=lease.CALL))
    if "--release" in arguments:
        holder.release()
        return 0
    stopped: list[int] = []

    def stop(number: int, frame: Any) -> None:
        stopped.append(number)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    while not stopped:
        holder.tick()
        end = time.monotonic() + lease.PERIOD
        while not stopped and time.monotonic() < end:
            time.sleep(0.1)
    # the unit's ExecStopPost lets go, also when this process was killed
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
