# SPDX-License-Identifier: GPL-3.0-or-later
"""Who holds the VIP, and what is said about it on the wire."""

from __future__ import annotations

import datetime
from typing import Any

from paletteops_agent.engine.kubeadm import arp, lease

WALL = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)
MAC, OTHER = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")


class ApiServer:
    """The part of an API server that elections use: one object, refused when it changed in between."""

    def __init__(self) -> None:
        self.stored: dict[str, Any] | None = None
        self.version = 0

    def write(self, item: dict[str, Any]) -> dict[str, Any] | None:
        known = item["metadata"].get("resourceVersion")
        if (self.stored is None) != (known is None):
            return None
        if self.stored is not None and self.stored["metadata"]["resourceVersion"] != known:
            return None
        self.version += 1
        self.stored = {**item, "metadata": {**item["metadata"], "resourceVersion": str(self.version)}}
        return self.stored


def tick(election: lease.Election, server: ApiServer, now: float) -> bool:
    """What a host with an API server that is ready does."""
    election.observe(server.stored, now)
    if election.may_write(now):
        written = server.write(election.record("vip", "kube-system", WALL))
        if written is None:
            election.lost()
        else:
            election.written(written, now)
    else:
        election.lost()
    return election.holds(now)


def test_the_first_takes_it_and_keeps_it() -> None:
    server, a, b = ApiServer(), lease.Election("a"), lease.Election("b")
    for second in range(60):
        assert tick(a, server, second)
        assert not tick(b, server, second)
    assert server.stored is not None
    assert server.stored["spec"]["leaseTransitions"] == 0


def test_a_silent_holder_lets_go_before_another_takes_over() -> None:
    server, a, b = ApiServer(), lease.Election("a"), lease.Election("b")
    tick(a, server, 0.0)
    tick(b, server, 0.0)
    taken = None
    for step in range(1, 200):
        now = step * 0.1
        mine = a.holds(now)
        theirs = tick(b, server, now)
        assert not (mine and theirs), now
        if theirs and taken is None:
            taken = now
    assert taken is not None and lease.DURATION <= taken < lease.DURATION + 1


def test_clocks_of_hosts_need_not_agree() -> None:
    server, a, b = ApiServer(), lease.Election("a"), lease.Election("b")
    for second in range(30):
        assert tick(a, server, 1_000_000 + second)
        assert not tick(b, server, float(second))


def test_of_two_at_once_one_wins() -> None:
    server, a, b = ApiServer(), lease.Election("a"), lease.Election("b")
    a.observe(None, 0)
    b.observe(None, 0)
    first = server.write(a.record("vip", "kube-system", WALL))
    assert first is not None and server.write(b.record("vip", "kube-system", WALL)) is None


def test_a_lease_given_back_is_free_at_once() -> None:
    server, a, b = ApiServer(), lease.Election("a"), lease.Election("b")
    tick(a, server, 0)
    tick(b, server, 0)
    a.observe(server.stored, 1)
    assert server.write(a.record("vip", "kube-system", WALL, release=True))
    assert tick(b, server, 1.1)
    assert server.stored is not None and server.stored["spec"]["leaseTransitions"] == 1


def test_a_holder_that_starts_anew_takes_its_own_lease_at_once() -> None:
    server = ApiServer()
    tick(lease.Election("a"), server, 0)
    assert tick(lease.Election("a"), server, 1)


def test_frames_are_what_they_say() -> None:
    frame = arp.probe_frame(MAC, "192.0.2.10")
    assert len(frame) == 42
    message = arp.unpack(frame)
    assert message == arp.Arp(arp.REQUEST, MAC, "0.0.0.0", b"\0" * 6, "192.0.2.10")
    for announcement in arp.announcement_frames(MAC, "192.0.2.10"):
        told = arp.unpack(announcement)
        assert told is not None and (told.sender_ip, told.sender_mac) == ("192.0.2.10", MAC)


def test_who_claims_an_address() -> None:
    reply = arp.Arp(arp.REPLY, OTHER, "192.0.2.10", MAC, "0.0.0.0")
    assert arp.claims(reply, "192.0.2.10", MAC) == "02:00:00:00:00:02"
    assert arp.claims(reply, "192.0.2.11", MAC) is None
    assert arp.claims(arp.unpack(arp.probe_frame(OTHER, "192.0.2.10")), "192.0.2.10", MAC) == "02:00:00:00:00:02"
    assert arp.claims(arp.unpack(arp.probe_frame(MAC, "192.0.2.10")), "192.0.2.10", MAC) is None


def test_other_packets_are_no_arp() -> None:
    assert arp.unpack(b"") is None
    assert arp.unpack(b"\0" * 60) is None
