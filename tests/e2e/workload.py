# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs on the clusters: web servers that say which pod they are, in an image of busybox alone."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from e2e.hosts import REPOSITORY, Host

sys.path.insert(0, str(REPOSITORY / "tools"))
import payload

if TYPE_CHECKING:
    from e2e.agent import Run

REFERENCE = "example.invalid/workload:1"
NAME = "workload"
SERVICE_ADDRESS = "10.96.100.100"
PORT = 8080
SCRIPT = "busybox mkdir -p /www; busybox hostname > /www/name; exec busybox httpd -f -p 8080 -h /www"


def image(busybox: Path, folder: Path) -> Path:
    target = folder / "workload.tar"
    if not target.exists():
        payload.write_image(target, REFERENCE, {"bin/busybox": busybox}, {}, payload.architecture())
    return target


def manifests(replicas: int) -> str:
    """A deployment spread over the nodes, and a service of a known address, as one text."""
    labels = {"app": NAME}
    container = {
        "name": NAME,
        "image": REFERENCE,
        "imagePullPolicy": "Never",
        "command": ["busybox", "sh", "-c", SCRIPT],
        "ports": [{"containerPort": PORT}],
        "readinessProbe": {"httpGet": {"path": "/name", "port": PORT}, "periodSeconds": 1},
        # a pod that ends goes on answering until nobody asks it any more
        "lifecycle": {"preStop": {"exec": {"command": ["busybox", "sleep", "3"]}}},
    }
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": labels},
    }
    pod = {"containers": [container], "topologySpreadConstraints": [spread], "terminationGracePeriodSeconds": 6}
    items: list[dict[str, Any]] = [
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": NAME, "namespace": "default"},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": pod},
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": NAME, "namespace": "default"},
            "spec": {"clusterIP": SERVICE_ADDRESS, "selector": labels, "ports": [{"port": PORT}]},
        },
    ]
    if replicas > 1:
        items.append(
            {
                "apiVersion": "policy/v1",
                "kind": "PodDisruptionBudget",
                "metadata": {"name": NAME, "namespace": "default"},
                "spec": {"minAvailable": 1, "selector": {"matchLabels": labels}},
            }
        )
    return "---\n".join(json.dumps(item, indent=1) + "\n" for item in items)


def answers(run: Run, host: Host) -> bool:
    """Whether the service answers a client on the host."""
    url = f"http://{SERVICE_ADDRESS}:{PORT}/name"
    return host.run(["curl", "-sf", "-m", "2", url], check=False).startswith(NAME)
