# SPDX-License-Identifier: GPL-3.0-or-later
"""What a cluster shows of itself: its nodes, namespaces and pods, as Kubernetes objects.

Nothing of it is stored: nodes follow from the machines, pods and namespaces from nodes and packs. Names and uids are
derived, so two looks find the same objects.
"""

from __future__ import annotations

import hashlib
from typing import Any

from paletteops_plane.plane import Plane
from paletteops_plane.resources import cluster_state as state
from paletteops_plane.store import Document

Object = dict[str, Any]

_LABEL = "node-role.kubernetes.io/control-plane"
_SYSTEM = "kube-system"
_REGISTRY = "registry.example.invalid"

#: Pods of each control plane node.
_CONTROL_PLANE = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")


def version(plane: Plane, cluster: Document) -> str:
    """The Kubernetes version of the control plane: that of its oldest node, ``v1.31.4``."""
    nodes = [node for node in state.nodes(plane, cluster) if node.body["_control_plane"]]
    return f"v{nodes[0].body['_kubernetes_version']}" if nodes else "v0.0.0"


def nodes(plane: Plane, cluster: Document) -> list[Object]:
    config = state.config_of(plane, cluster)
    if config is None:
        return []
    made = (
        _node(machine, state.pool_config(config, machine.body["_pool"]) or {}, config)
        for machine in state.nodes(plane, cluster)
    )
    return sorted(made, key=lambda node: str(node["metadata"]["name"]))


def _node(machine: Document, pool: dict[str, Any], config: Document) -> Object:
    body, spec = machine.body, machine.body["spec"]
    control_plane: bool = body["_control_plane"]
    created = _seconds(body["metadata"]["creationTimestamp"])
    addresses = [*body["status"].get("addresses", []), {"type": "Hostname", "address": machine.name}]
    labels = {
        "kubernetes.io/arch": "amd64",
        "kubernetes.io/hostname": machine.name,
        "kubernetes.io/os": "linux",
        **pool.get("additionalLabels", {}),
    }
    if isinstance(spec.get("instanceType"), str):
        labels["node.kubernetes.io/instance-type"] = spec["instanceType"]
    for label, value in (
        ("topology.kubernetes.io/region", config.body["spec"]["clusterConfig"].get("region")),
        ("topology.kubernetes.io/zone", spec.get("az")),
    ):
        if value:
            labels[label] = value
    taints = [
        {key: taint[key] for key in ("key", "value", "effect") if taint.get(key)} for taint in pool.get("taints", [])
    ]
    if control_plane:
        labels[_LABEL] = ""
        if not pool.get("useControlPlaneAsWorker"):
            taints.append({"key": _LABEL, "effect": "NoSchedule"})
    cordoned = bool(body.get("_cordoned"))
    if cordoned:
        taints.append({"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"})
    node_spec: dict[str, Any] = {"providerID": f"{body['kind']}:///{machine.uid}"}
    if taints:
        node_spec["taints"] = taints
    if cordoned:
        node_spec["unschedulable"] = True
    kubernetes = f"v{body['_kubernetes_version']}"
    ready: bool = body["_ready"]
    conditions = [
        _condition("Ready", ready, created, "KubeletReady" if ready else "KubeletNotReady"),
        _condition("MemoryPressure", False, created, "KubeletHasSufficientMemory"),
        _condition("DiskPressure", False, created, "KubeletHasNoDiskPressure"),
        _condition("PIDPressure", False, created, "KubeletHasSufficientPID"),
    ]
    resources = {"cpu": "4", "memory": "16Gi", "pods": "110"}
    metadata = _metadata(machine.name, created, labels, uid=_uuid(machine.uid))
    if pool.get("additionalAnnotations"):
        metadata["annotations"] = dict(pool["additionalAnnotations"])
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": metadata,
        "spec": node_spec,
        "status": {
            "addresses": addresses,
            "allocatable": resources,
            "capacity": resources,
            "conditions": conditions,
            "nodeInfo": {
                "architecture": "amd64",
                "bootID": _uuid(machine.uid, "boot"),
                "containerRuntimeVersion": "containerd://1.7.0",
                "kernelVersion": "6.8.0",
                "kubeProxyVersion": kubernetes,
                "kubeletVersion": kubernetes,
                "machineID": _uuid(machine.uid, "machine").replace("-", ""),
                "operatingSystem": "linux",
                "osImage": "Linux",
                "systemUUID": _uuid(machine.uid, "system"),
            },
        },
    }


def namespaces(cluster: Document) -> list[Object]:
    created = _seconds(cluster.body["metadata"]["creationTimestamp"])
    names = {"default", "kube-node-lease", "kube-public", _SYSTEM, _agent_namespace(cluster)}
    names |= {name for name, _ in _addons(cluster)}
    return [
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": _metadata(
                name, created, {"kubernetes.io/metadata.name": name}, uid=_uuid(cluster.uid, "namespace", name)
            ),
            "spec": {"finalizers": ["kubernetes"]},
            "status": {"phase": "Active"},
        }
        for name in sorted(names)
    ]


def pods(plane: Plane, cluster: Document) -> list[Object]:
    """The pods of the control plane, of the network, of the agent, and one for each add-on that is deployed."""
    machines = state.nodes(plane, cluster)
    if not machines:
        return []
    masters = [machine for machine in machines if machine.body["_control_plane"]]
    workers = [machine for machine in machines if not machine.body["_control_plane"]] or masters
    kubernetes = version(plane, cluster)
    found = [
        _pod(cluster, _SYSTEM, f"{name}-{machine.name}", name, machine, f"{name}:{kubernetes}")
        for machine in masters
        for name in _CONTROL_PLANE
    ]
    for machine in machines:
        found.append(_replica(cluster, _SYSTEM, "kube-proxy", machine, f"kube-proxy:{kubernetes}"))
    layers = {
        (pack["layer"], name, pack["tag"]) for name, pack in _deployed(cluster) if pack["layer"] in ("cni", "csi")
    }
    for layer, name, tag in sorted(layers):
        for machine in machines if layer == "cni" else workers[:1]:
            found.append(_replica(cluster, _SYSTEM, name, machine, f"{name}:{tag}"))
    for number in range(2):
        machine = workers[number % len(workers)]
        found.append(_replica(cluster, _SYSTEM, "coredns", machine, "coredns:1.11.1", number))
    found.append(_replica(cluster, _agent_namespace(cluster), "cluster-agent", workers[0], "cluster-agent:4.8.0"))
    for number, (name, tag) in enumerate(_addons(cluster)):
        found.append(_replica(cluster, name, name, workers[number % len(workers)], f"{name}:{tag}"))
    return sorted(found, key=lambda pod: (str(pod["metadata"]["namespace"]), str(pod["metadata"]["name"])))


def _replica(cluster: Document, namespace: str, app: str, machine: Document, image: str, number: int = 0) -> Object:
    suffix = _digest(cluster.uid, app, machine.uid, str(number))[:5]
    return _pod(cluster, namespace, f"{app}-{suffix}", app, machine, image)


def _pod(cluster: Document, namespace: str, name: str, app: str, machine: Document, image: str) -> Object:
    created = _seconds(machine.body["metadata"]["creationTimestamp"])
    host = next(
        (item["address"] for item in machine.body["status"].get("addresses", []) if item["type"] == "InternalIP"), ""
    )
    digest = hashlib.sha256(name.encode()).digest()
    address = f"192.168.{digest[0]}.{digest[1]}"
    image = f"{_REGISTRY}/{image}"
    status = {
        "phase": "Running",
        "conditions": [
            _condition(kind, True, created) for kind in ("Initialized", "Ready", "ContainersReady", "PodScheduled")
        ],
        "containerStatuses": [
            {
                "name": app,
                "image": image,
                "imageID": f"{image}@sha256:{hashlib.sha256(image.encode()).hexdigest()}",
                "ready": True,
                "restartCount": 0,
                "started": True,
                "state": {"running": {"startedAt": created}},
            }
        ],
        "podIP": address,
        "podIPs": [{"ip": address}],
        "startTime": created,
        "qosClass": "BestEffort",
    }
    if host:
        status["hostIP"] = host
    metadata = _metadata(name, created, {"app": app}, uid=_uuid(cluster.uid, "pod", namespace, name))
    metadata["namespace"] = namespace
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {
            "containers": [{"name": app, "image": image, "imagePullPolicy": "IfNotPresent"}],
            "nodeName": machine.name,
            "restartPolicy": "Always",
        },
        "status": status,
    }


def _agent_namespace(cluster: Document) -> str:
    return f"cluster-{cluster.uid}"


def _addons(cluster: Document) -> list[tuple[str, str]]:
    """The add-ons that are deployed: name and version, each name once."""
    found = {name: pack["tag"] for name, pack in _deployed(cluster) if pack["layer"] == "addon"}
    return sorted(found.items())


def _deployed(cluster: Document) -> list[tuple[str, dict[str, str]]]:
    """The packs that are ready: a name for what they bring, their layer and version."""
    ready = {
        (entry["profileUid"], entry["name"]): entry.get("version", "")
        for entry in cluster.body["status"].get("packs", [])
        if entry.get("condition", {}).get("type") == "Ready" and entry["condition"]["status"] == "True"
    }
    found = []
    for profile in cluster.body["spec"].get("clusterProfileTemplates", []):
        for pack in profile.get("packs", []):
            deployed = ready.get((profile["uid"], pack["name"]))
            if deployed is not None:
                # A pack that is in a profile twice is named "alias--name".
                name = pack["name"].replace("_", "-").lower()
                found.append((name, {"layer": pack["layer"], "tag": deployed or pack.get("version", "")}))
    return found


def _metadata(name: str, created: str, labels: dict[str, str], *, uid: str) -> dict[str, Any]:
    return {"name": name, "uid": uid, "creationTimestamp": created, "labels": labels, "resourceVersion": "1"}


def _condition(kind: str, holds: bool, at: str, reason: str = "") -> dict[str, str]:
    made = {"type": kind, "status": "True" if holds else "False", "lastTransitionTime": at}
    if reason:
        made |= {"reason": reason, "message": "", "lastHeartbeatTime": at}
    return made


def _seconds(stamp: str) -> str:
    """A time of the management API as Kubernetes writes it: without fractions."""
    return stamp.split(".")[0].removesuffix("Z") + "Z"


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _uuid(*parts: str) -> str:
    text = _digest(*parts)
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-8{text[17:20]}-{text[20:32]}"
