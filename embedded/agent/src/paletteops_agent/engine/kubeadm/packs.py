# SPDX-License-Identifier: GPL-3.0-or-later
"""Packs of kind manifest: server-side apply, and taking away what a pack no longer has.

kubectl reads the YAML (``kubectl label --local`` needs no cluster and puts our label on each object), so that there is
the list of objects before any is sent. That list is kept in the cluster, one ConfigMap a pack, written before objects
are applied: whichever control-plane host applies next knows what may be there.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from paletteops_agent.engine import EngineError

from .api import Api
from .commands import Result

Json = dict[str, Any]
MANAGER = "spectro-packs"
PACK_LABEL = "packs.paletteops.io/pack"
INVENTORY_LABEL = "packs.paletteops.io/inventory"
NAMESPACE = "kube-system"
CONFIGMAPS = f"/api/v1/namespaces/{NAMESPACE}/configmaps"
FIRST_KINDS = ("Namespace", "CustomResourceDefinition")
UNMATCHED = re.compile(
    r"no matches for kind|ensure CRDs are installed|the server could not find the requested resource"
)


@dataclass(frozen=True, order=True)
class ObjectKey:
    api_version: str
    kind: str
    namespace: str
    name: str

    def text(self) -> str:
        return "/".join(part for part in (self.kind, self.namespace, self.name) if part)


def key_of(item: Json) -> ObjectKey:
    metadata = item.get("metadata") or {}
    return ObjectKey(
        str(item.get("apiVersion") or ""),
        str(item.get("kind") or ""),
        str(metadata.get("namespace") or ""),
        str(metadata.get("name") or ""),
    )


def inventory_name(profile_uid: str, name: str) -> str:
    """A name that is a valid label value and ConfigMap name and differs for each pack of each profile."""
    digest = hashlib.sha256(f"{profile_uid}\0{name}".encode()).hexdigest()[:10]
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40].strip("-")
    return f"spectro-pack-{plain or 'pack'}-{digest}"


def read_objects(text: str) -> list[Json]:
    """Objects of kubectl's JSON output: one document after another, lists opened."""
    found: list[Json] = []
    decoder = json.JSONDecoder()
    place = 0
    while True:
        while place < len(text) and text[place].isspace():
            place += 1
        if place >= len(text):
            return found
        value, place = decoder.raw_decode(text, place)
        if value.get("kind") == "List" and "items" in value:
            found.extend(value["items"])
        else:
            found.append(value)


def in_order(items: list[Json]) -> tuple[list[Json], list[Json]]:
    """What others need first (namespaces, definitions), and the rest, each in the order of the manifests."""
    return [i for i in items if i.get("kind") in FIRST_KINDS], [i for i in items if i.get("kind") not in FIRST_KINDS]


def inventory_object(name: str, keys: Iterable[ObjectKey], digest: str, version: str) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": {INVENTORY_LABEL: "true"}},
        "data": {
            "objects": json.dumps([[k.api_version, k.kind, k.namespace, k.name] for k in sorted(set(keys))]),
            "digest": digest,
            "version": version,
        },
    }


def inventory_keys(item: Json | None) -> list[ObjectKey]:
    text = ((item or {}).get("data") or {}).get("objects")
    return [ObjectKey(*row) for row in json.loads(text)] if text else []


class Packs:
    """Applies packs through ``kubectl`` (a function that runs it with this host's administrator's kubeconfig)."""

    def __init__(self, api: Api, kubectl: Any) -> None:
        self.api = api
        self.kubectl = kubectl

    def apply(self, profile_uid: str, name: str, version: str, digest: str, manifests: Iterable[str]) -> bool:
        """Make the cluster have the pack's objects and no others of it; False when that was so already."""
        inventory = inventory_name(profile_uid, name)
        known = self.api.find(f"{CONFIGMAPS}/{inventory}")
        if digest and known and (known.get("data") or {}).get("digest") == digest:
            return False
        items = self.read(inventory, manifests)
        wanted, before = [key_of(item) for item in items], inventory_keys(known)
        # until all is done the list holds the old and the new, and no digest
        self._keep(inventory_object(inventory, [*before, *wanted], "", version), known)
        first, rest = in_order(items)
        if first:
            self._send(first, 60)
            definitions = [key.name for key in map(key_of, first) if key.kind == "CustomResourceDefinition"]
            if definitions:
                words = [f"customresourcedefinition/{definition}" for definition in definitions]
                self._checked(self.kubectl("wait", "--for=condition=Established", "--timeout=60s", *words, deadline=70))
        if rest:
            self._send(rest, 120)
        self._delete(sorted(set(before) - set(wanted)))
        done = inventory_object(inventory, wanted, digest, version)
        self._keep(done, self.api.find(f"{CONFIGMAPS}/{inventory}"))
        return True

    def remove_others(self, wanted: Iterable[tuple[str, str]]) -> list[str]:
        """Take away packs that are not among ``wanted`` (profile UID and name); names of their lists."""
        keep = {inventory_name(profile_uid, name) for profile_uid, name in wanted}
        listed = self.api.request("GET", f"{CONFIGMAPS}?labelSelector={INVENTORY_LABEL}%3Dtrue")
        gone = []
        for item in listed.get("items") or []:
            name = str(item["metadata"]["name"])
            if name not in keep:
                self._delete(inventory_keys(item))
                self.api.request("DELETE", f"{CONFIGMAPS}/{name}")
                gone.append(name)
        return gone

    def read(self, label: str, manifests: Iterable[str]) -> list[Json]:
        """Objects of the manifests, with our label; EngineError when they cannot be read."""
        items: list[Json] = []
        for text in manifests:
            if not _has_content(text):
                continue
            shown = self.kubectl(
                "label",
                "--local",
                "--overwrite",
                "-f",
                "-",
                f"{PACK_LABEL}={label}",
                "-o",
                "json",
                stdin=text,
                deadline=30,
            )
            if not shown.ok:
                raise EngineError("ManifestUnreadable", shown.said())
            items.extend(read_objects(shown.out))
        return items

    def _send(self, items: list[Json], deadline: float) -> None:
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
        end = time.monotonic() + deadline
        while True:
            done = self.kubectl(
                "apply", "--server-side", "--force-conflicts", f"--field-manager={MANAGER}", "-f", "-",
                stdin=text, deadline=deadline,
            )  # fmt: skip
            if done.ok:
                return
            # a kind that was defined a moment ago may not be known yet
            if not UNMATCHED.search(done.err) or time.monotonic() > end:
                self._checked(done)
            time.sleep(2)

    def _delete(self, keys: list[ObjectKey]) -> None:
        # the last made first, so that a namespace goes after what is in it
        for key in sorted(keys, key=lambda k: k.kind in FIRST_KINDS):
            stub = {"apiVersion": key.api_version, "kind": key.kind, "metadata": {"name": key.name}}
            if key.namespace:
                stub["metadata"]["namespace"] = key.namespace  # type: ignore[index]
            done = self.kubectl(
                "delete", "--ignore-not-found", "--wait=false", "-f", "-", stdin=json.dumps(stub), deadline=60
            )
            if not done.ok and not UNMATCHED.search(done.err):
                raise EngineError("PruneFailed", f"{key.text()}: {done.said()}")

    def _keep(self, item: Json, known: Json | None) -> None:
        if known is None:
            self.api.request("POST", CONFIGMAPS, item)
        else:
            self.api.request("PUT", f"{CONFIGMAPS}/{item['metadata']['name']}", item)

    def _checked(self, result: Result) -> None:
        if not result.ok:
            raise EngineError("ApplyFailed", result.said())


def _has_content(text: str) -> bool:
    return any(line.strip() and not line.lstrip().startswith(("#", "---")) for line in text.splitlines())
