# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wanted of this host, read from its wire form (JSON) into the engine's own words.

The wire form is kept on the disk as it came, so that a host goes on with it while whoever asks is away.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import yaml

from .engine import Cluster, Endpoint, Manifest, Member, Pack, Peer, Taint

STEPS = ("prepare", "bootstrap", "join", "run", "leave")
TASKS = ("admit", "drain", "uncordon", "forget", "renew-certificates")
#: what may come over the wire
VERSION = re.compile(r"v?\d+\.\d+\.\d+([-+][0-9A-Za-z.+-]+)?")
NODE_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
PACK_NAME = re.compile(r"[a-z0-9]([-a-z0-9._]{0,126}[a-z0-9])?")


class DesiredError(Exception):
    """A wanted state that this agent cannot read; the message names the key."""


@dataclass(frozen=True)
class Task:
    """Something that is to be done once. The fields that do not belong to its kind are empty."""

    id: str
    kind: str
    member_uid: str = ""
    control_plane: bool = False
    node_name: str = ""
    timeout: int = 300
    address: str = ""


@dataclass(frozen=True)
class Wanted:
    """The wanted state of a host. ``cluster`` is None where it is to be in none."""

    generation: str
    reset: str | None = None
    logs: str | None = None
    step: str = ""
    cluster: Cluster | None = None
    member: Member | None = None
    packs: Sequence[Pack] = ()
    tasks: Sequence[Task] = ()
    wire: Mapping[str, Any] = field(default_factory=dict, repr=False)


class _Reader:
    """Takes values out of a map, and says where one is wrong."""

    def __init__(self, content: Any, where: str) -> None:
        if not isinstance(content, Mapping):
            raise DesiredError(f"{where} is no object")
        self._content = content
        self._where = where

    def text(self, key: str, default: str | None = None, pattern: re.Pattern[str] | None = None) -> str:
        value = self._content.get(key)
        if value is None and default is not None:
            return default
        if not isinstance(value, str) or (pattern and not pattern.fullmatch(value)):
            raise DesiredError(f"{self._where}.{key} is {value!r}")
        return value

    def maybe(self, key: str) -> str | None:
        return self.text(key) if self._content.get(key) is not None else None

    def flag(self, key: str, default: bool = False) -> bool:
        value = self._content.get(key)
        return default if value is None else bool(value)

    def number(self, key: str, default: int) -> int:
        value = self._content.get(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise DesiredError(f"{self._where}.{key} is {value!r}")
        return int(value)

    def strings(self, key: str) -> dict[str, str]:
        value = self._content.get(key) or {}
        if not isinstance(value, Mapping):
            raise DesiredError(f"{self._where}.{key} is no object")
        return {str(name): str(item) for name, item in value.items()}

    def items(self, key: str) -> list[_Reader]:
        value = self._content.get(key) or []
        if not isinstance(value, Sequence) or isinstance(value, str):
            raise DesiredError(f"{self._where}.{key} is no list")
        return [_Reader(item, f"{self._where}.{key}[{place}]") for place, item in enumerate(value)]

    def words(self, key: str) -> list[str]:
        value = self._content.get(key) or []
        if not isinstance(value, Sequence) or isinstance(value, str):
            raise DesiredError(f"{self._where}.{key} is no list")
        return [str(item) for item in value]

    def has(self, key: str) -> bool:
        return self._content.get(key) is not None

    def inner(self, key: str) -> _Reader:
        return _Reader(self._content.get(key), f"{self._where}.{key}")


def read(content: Any, vip_skip: bool = False) -> Wanted:
    """The wanted state from JSON. ``vip_skip``: nobody on this host is to hold the endpoint's address."""
    top = _Reader(content, "desired")
    wanted = Wanted(top.text("generation"), top.maybe("reset"), top.maybe("logs"), wire=content)
    if not top.has("cluster"):
        return wanted
    part = top.inner("cluster")
    step = part.text("step")
    if step not in STEPS:
        raise DesiredError(f"desired.cluster.step is {step!r}; there are {', '.join(STEPS)}")
    member = part.inner("member")
    return replace(
        wanted,
        step=step,
        cluster=_cluster(part, vip_skip),
        member=Member(
            uid=member.text("uid"),
            node_name=member.text("node_name", pattern=NODE_NAME),
            control_plane=member.flag("control_plane"),
            address=member.text("address", ""),
            schedulable=member.flag("schedulable", True),
            pool=member.text("pool", ""),
            labels=member.strings("labels"),
            annotations=member.strings("annotations"),
            taints=_taints(member),
            lead=part.flag("lead"),
        ),
        packs=[
            Pack(
                profile_uid=pack.text("profile_uid", ""),
                name=pack.text("name"),
                version=pack.text("version", ""),
                digest=pack.text("digest", ""),
                manifests=_manifests(pack),
                type=pack.text("type", "manifest"),
            )
            for pack in part.items("packs")
        ],
        tasks=[_task(task) for task in part.items("tasks")],
    )


def _cluster(part: _Reader, vip_skip: bool) -> Cluster:
    endpoint, kubernetes = part.inner("endpoint"), part.inner("kubernetes")
    network = part.inner("network") if part.has("network") else _Reader({}, "desired.cluster.network")
    kind = endpoint.text("type", "VIP")
    return Cluster(
        uid=part.text("uid"),
        name=part.text("name"),
        endpoint=Endpoint(
            endpoint.text("host"), endpoint.number("port", 6443), "External" if vip_skip and kind == "VIP" else kind
        ),
        pack=kubernetes.text("pack", "edge-k8s", PACK_NAME),
        version=kubernetes.text("version", pattern=VERSION).lstrip("v"),
        next_version=kubernetes.text("next_version", "", VERSION).lstrip("v"),
        pod_cidr=kubernetes.text("pod_cidr"),
        service_cidr=kubernetes.text("service_cidr"),
        kubeadm_override=_override(kubernetes.text("kubeadm_override", "")),
        network_pack=network.text("pack", ""),
        network_version=network.text("version", ""),
        network_manifests=_manifests(network),
        peers=[
            Peer(
                uid=peer.text("uid"),
                node_name=peer.text("node_name", pattern=NODE_NAME),
                address=peer.text("address", ""),
                control_plane=peer.flag("control_plane"),
                pod_cidr=peer.maybe("pod_cidr"),
                schedulable=peer.flag("schedulable", True),
                labels=peer.strings("labels") if peer.has("labels") else None,
                annotations=peer.strings("annotations") if peer.has("annotations") else None,
                taints=_taints(peer) if peer.has("taints") else None,
            )
            for peer in part.items("peers")
        ],
        ntp_servers=part.words("ntp_servers"),
        ssh_keys=part.words("ssh_keys"),
    )


def _override(text: str) -> dict[str, Any]:
    if not text.strip():
        return {}
    try:
        content = json.loads(text) if text.lstrip().startswith("{") else yaml.safe_load(text)
    except (ValueError, yaml.YAMLError):
        content = None
    if not isinstance(content, dict):
        raise DesiredError("desired.cluster.kubernetes.kubeadm_override is neither empty nor a JSON object")
    return content


def _manifests(part: _Reader) -> list[Manifest]:
    return [Manifest(item.text("name"), item.text("content", "")) for item in part.items("manifests")]


def _taints(part: _Reader) -> list[Taint]:
    return [Taint(item.text("key"), item.text("effect"), item.text("value", "")) for item in part.items("taints")]


def _task(part: _Reader) -> Task:
    kind = part.text("kind")
    if kind not in TASKS:
        raise DesiredError(f"a task is of the kind {kind!r}; there are {', '.join(TASKS)}")
    return Task(
        id=part.text("id"),
        kind=kind,
        member_uid=part.text("member_uid") if kind == "admit" else "",
        control_plane=part.flag("control_plane"),
        node_name=part.text("node_name", pattern=NODE_NAME) if kind in ("drain", "uncordon", "forget") else "",
        timeout=part.number("timeout", 300),
        address=part.text("address", ""),
    )
