# SPDX-License-Identifier: GPL-3.0-or-later
"""What the values of packs say that matters to clusters on hosts: the image of the hosts, ranges of addresses.

Keys are the vendor's: ``options.system.uri`` of the pack ``edge-native-byoi``, where the keys below ``options`` have
dots in their names; ``cluster.config.clusterConfiguration.networking`` of the pack ``edge-k8s``, where ``config`` is
YAML in a text, or what that would be.
"""

from __future__ import annotations

import ipaddress
from typing import Any

import yaml

from paletteops_plane import variables
from paletteops_plane.catalogue import catalogue
from paletteops_plane.errors import invalid
from paletteops_plane.resources import attachments

#: What ``options.system.uri`` says where the hosts keep the operating system that they have.
NO_IMAGE = "NA"

#: The ranges of a cluster whose values name none.
POD_RANGE, SERVICE_RANGE = "10.244.0.0/16", "10.96.0.0/12"


def pack_of(attached: list[attachments.Attachment], layer: str) -> tuple[attachments.Attachment, dict[str, Any]] | None:
    """The pack of a layer of which a cluster has one, and the profile that brings it."""
    return next(((item, pack) for item in attached for pack in item["packs"] if pack["layer"] == layer), None)


def values_of(item: attachments.Attachment, pack: dict[str, Any], where: str = "") -> dict[str, Any]:
    """The values of a pack as data, its variables resolved; those of the catalogue where the profile has none.

    422 for what is no YAML, when ``where`` says what sent it; else it counts as nothing.
    """
    text: str = pack["values"]
    if not text.strip():
        known = catalogue().by_uid.get(pack["uid"])
        text = known.values if known else ""
    loaded = load(variables.resolve(text, attachments.values_of(item)))
    if loaded is None and where:
        raise invalid(f"{where}: the values of the pack {pack['name']!r} are not YAML with keys", field=where)
    return loaded or {}


def load(text: str) -> dict[str, Any] | None:
    """YAML with keys as data, empty for nothing; None for anything else."""
    try:
        loaded = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (yaml.YAMLError, ValueError, RecursionError):
        return None
    if loaded is None:
        return {}
    return loaded if isinstance(loaded, dict) else None


def system_uri(values: dict[str, Any]) -> str:
    """The image of the hosts that the values of the operating system name; empty when they name none."""
    options = values.get("options")
    if not isinstance(options, dict):
        return ""
    system = options.get("system")
    found = options.get("system.uri", system.get("uri", "") if isinstance(system, dict) else "")
    return str(found or "").strip()


def ranges(values: dict[str, Any]) -> tuple[str, str]:
    """The ranges of pods and services that the values of Kubernetes name, as they are written there."""
    config = _below(values, "cluster").get("config")
    if isinstance(config, str):
        config = load(config) or {}
    networking = _below(_below(config if isinstance(config, dict) else {}, "clusterConfiguration"), "networking")
    return str(networking.get("podSubnet") or POD_RANGE), str(networking.get("serviceSubnet") or SERVICE_RANGE)


def _below(values: dict[str, Any], key: str) -> dict[str, Any]:
    found = values.get(key)
    return found if isinstance(found, dict) else {}


def kubernetes_of(attached: list[attachments.Attachment]) -> dict[str, Any]:
    """``{"pack", "pod_cidr", "service_cidr"}`` of a cluster's Kubernetes layer."""
    found = pack_of(attached, "k8s")
    if found is None:
        return {"pack": "", "pod_cidr": POD_RANGE, "service_cidr": SERVICE_RANGE}
    pods, services = ranges(values_of(*found))
    return {"pack": found[1]["name"], "pod_cidr": pods, "service_cidr": services}


def network(text: str, what: str, where: str) -> ipaddress.IPv4Network:
    """A range as such; 422 for what is none."""
    try:
        return ipaddress.IPv4Network(text)
    except ValueError:
        raise invalid(
            f"{where}: {text!r} is no IPv4 range for {what}, such as {POD_RANGE}", field=where, value=text
        ) from None
