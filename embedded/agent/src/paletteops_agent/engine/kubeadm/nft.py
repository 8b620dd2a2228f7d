# SPDX-License-Identifier: GPL-3.0-or-later
"""Tables of nftables without the command ``nft``: listed and removed through netlink.

kube-proxy brings its own ``nft`` in its image, so a host may have tables and no command to see them. Message formats:
linux/netfilter/nfnetlink.h and linux/netfilter/nf_tables.h.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator

NETLINK_NETFILTER = 12
SUBSYSTEM = 10
BATCH_BEGIN, BATCH_END = 0x10, 0x11
GET_TABLE, DELETE_TABLE, GET_CHAIN, GET_RULE = 1, 2, 4, 7
REQUEST, ACK, DUMP = 0x1, 0x4, 0x300
ERROR, DONE = 2, 3
TABLE_ATTRIBUTE = 1  # NFTA_TABLE_NAME, NFTA_CHAIN_TABLE and NFTA_RULE_TABLE alike
POLICY_ATTRIBUTE = 5  # NFTA_CHAIN_POLICY
DROP = 0
FAMILIES = {1: "inet", 2: "ip", 3: "arp", 5: "netdev", 7: "bridge", 10: "ip6"}
_HEADER = struct.Struct("=IHHII")
_GENERIC = struct.Struct("!BBH")
_ATTRIBUTE = struct.Struct("=HH")


def message(kind: int, flags: int, sequence: int, family: int, resource: int = 0, payload: bytes = b"") -> bytes:
    body = _GENERIC.pack(family, 0, resource) + payload
    return _HEADER.pack(_HEADER.size + len(body), kind, flags, sequence, 0) + body


def attribute(kind: int, value: bytes) -> bytes:
    size = _ATTRIBUTE.size + len(value)
    return _ATTRIBUTE.pack(size, kind) + value + b"\0" * (-size % 4)


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    place = 0
    while place + _ATTRIBUTE.size <= len(data):
        size, kind = _ATTRIBUTE.unpack_from(data, place)
        if size < _ATTRIBUTE.size:
            return
        yield kind & 0x3FFF, data[place + _ATTRIBUTE.size : place + size]
        place += size + (-size % 4)


def messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and body of each message in what was received."""
    place = 0
    while place + _HEADER.size <= len(data):
        size, kind, _, _, _ = _HEADER.unpack_from(data, place)
        if size < _HEADER.size:
            return
        yield kind, data[place + _HEADER.size : place + size]
        place += size + (-size % 4)


def _error(body: bytes) -> None:
    number = -struct.unpack_from("=i", body)[0]
    if number:
        raise OSError(number, os.strerror(number))


def _dump(what: int) -> Iterator[tuple[int, dict[int, bytes]]]:
    """Family and attributes of each object of a kind; nothing where the kernel has no nftables."""
    try:
        link = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
    except OSError:
        return
    with link:
        link.settimeout(10)
        link.send(message(SUBSYSTEM << 8 | what, REQUEST | DUMP, 1, 0))
        while True:
            for kind, body in messages(link.recv(1 << 16)):
                if kind == DONE:
                    return
                if kind == ERROR:
                    _error(body)
                    return
                yield body[0], dict(attributes(body[_GENERIC.size :]))


def _text(value: bytes) -> str:
    return value.split(b"\0")[0].decode("utf-8", "replace")


def _name(family: int, found: dict[int, bytes]) -> str:
    return f"{FAMILIES.get(family, str(family))} {_text(found.get(TABLE_ATTRIBUTE, b''))}"


def tables() -> set[str]:
    """As "ip nat". Empty where the kernel has no nftables."""
    try:
        return {_name(family, found) for family, found in _dump(GET_TABLE)}
    except OSError:
        return set()


def idle_tables() -> set[str]:
    """Tables without any rule, in which no chain drops: nothing happens in them."""
    busy = {_name(family, found) for family, found in _dump(GET_RULE)}
    for family, found in _dump(GET_CHAIN):
        policy = found.get(POLICY_ATTRIBUTE)
        if policy is not None and struct.unpack("!I", policy)[0] == DROP:
            busy.add(_name(family, found))
    return tables() - busy


def delete(table: str) -> None:
    """Remove a table ("ip nat") with all that is in it. One that is not there is no error."""
    family_name, _, name = table.partition(" ")
    family = next(number for number, text in FAMILIES.items() if text == family_name)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER) as link:
        link.settimeout(10)
        link.send(
            message(BATCH_BEGIN, REQUEST, 1, 0, SUBSYSTEM)
            + message(
                SUBSYSTEM << 8 | DELETE_TABLE,
                REQUEST | ACK,
                2,
                family,
                payload=attribute(TABLE_ATTRIBUTE, name.encode() + b"\0"),
            )
            + message(BATCH_END, REQUEST, 3, 0, SUBSYSTEM)
        )
        for kind, body in messages(link.recv(1 << 16)):
            if kind == ERROR:
                try:
                    _error(body)
                except OSError as error:
                    if error.errno != errno.ENOENT:
                        raise
