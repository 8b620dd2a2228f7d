# SPDX-License-Identifier: GPL-3.0-or-later
"""ARP in pure Python (AF_PACKET, root): who has an address, and telling the network that we have it now.

RFC 826 for the packet, RFC 5227 for probes (sender address zero) and announcements.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
import time
from pathlib import Path
from typing import NamedTuple

ETHERTYPE_ARP = 0x0806
BROADCAST = b"\xff" * 6
REQUEST, REPLY = 1, 2
_HEADER = struct.Struct("!6s6sH")
_ARP = struct.Struct("!HHBBH6s4s6s4s")


class Arp(NamedTuple):
    operation: int
    sender_mac: bytes
    sender_ip: str
    target_mac: bytes
    target_ip: str


def pack(source_mac: bytes, destination_mac: bytes, message: Arp) -> bytes:
    """An Ethernet frame with an ARP packet for IPv4."""
    return _HEADER.pack(destination_mac, source_mac, ETHERTYPE_ARP) + _ARP.pack(
        1,
        0x0800,
        6,
        4,
        message.operation,
        message.sender_mac,
        socket.inet_aton(message.sender_ip),
        message.target_mac,
        socket.inet_aton(message.target_ip),
    )


def unpack(frame: bytes) -> Arp | None:
    """The ARP packet in an Ethernet frame, or None when it holds none for IPv4."""
    if len(frame) < _HEADER.size + _ARP.size:
        return None
    if _HEADER.unpack_from(frame)[2] != ETHERTYPE_ARP:
        return None
    hardware, protocol, hlen, plen, operation, smac, sip, tmac, tip = _ARP.unpack_from(frame, _HEADER.size)
    if (hardware, protocol, hlen, plen) != (1, 0x0800, 6, 4):
        return None
    return Arp(operation, smac, socket.inet_ntoa(sip), tmac, socket.inet_ntoa(tip))


def probe_frame(mac: bytes, address: str) -> bytes:
    """The question of RFC 5227: it changes no one's cache, because it names no sender address."""
    return pack(mac, BROADCAST, Arp(REQUEST, mac, "0.0.0.0", b"\0" * 6, address))


def announcement_frames(mac: bytes, address: str) -> tuple[bytes, bytes]:
    """Gratuitous ARP both ways, because some devices listen to one of them only."""
    return (
        pack(mac, BROADCAST, Arp(REQUEST, mac, address, b"\0" * 6, address)),
        pack(mac, BROADCAST, Arp(REPLY, mac, address, BROADCAST, address)),
    )


def claims(message: Arp | None, address: str, own_mac: bytes) -> str | None:
    """The MAC of another machine that has ``address``, or is about to take it, by what it says."""
    if message is None or message.sender_mac == own_mac:
        return None
    probing = message.operation == REQUEST and message.sender_ip == "0.0.0.0" and message.target_ip == address
    if message.sender_ip == address or probing:
        return mac_text(message.sender_mac)
    return None


def mac_text(mac: bytes) -> str:
    return ":".join(f"{byte:02x}" for byte in mac)


def interface_mac(interface: str) -> bytes:
    text = Path(f"/sys/class/net/{interface}/address").read_text().strip()
    return bytes(int(part, 16) for part in text.split(":"))


def owner(interface: str, address: str, *, probes: int = 3, interval: float = 0.4) -> str | None:
    """The MAC of another machine on ``interface``'s network that has ``address``; None when nobody answers."""
    ipaddress.IPv4Address(address)
    mac = interface_mac(interface)
    frame = probe_frame(mac, address)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETHERTYPE_ARP)) as link:
        link.bind((interface, ETHERTYPE_ARP))
        for _ in range(probes):
            link.send(frame)
            end = time.monotonic() + interval
            while True:
                left = end - time.monotonic()
                if left <= 0:
                    break
                link.settimeout(left)
                try:
                    found = claims(unpack(link.recv(128)), address, mac)
                except (socket.timeout, TimeoutError):  # one and the same from Python 3.10 on
                    break
                if found:
                    return found
    return None


def announce(interface: str, address: str) -> None:
    mac = interface_mac(interface)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETHERTYPE_ARP)) as link:
        link.bind((interface, ETHERTYPE_ARP))
        for frame in announcement_frames(mac, address):
            link.send(frame)
