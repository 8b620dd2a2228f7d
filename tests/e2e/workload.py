# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs on the clusters: web servers that say which pod they are, in an image of busybox alone."""

from __future__ import annotations

import http.client
import json
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from e2e.hosts import REPOSITORY, Host, HostsError, command, wait_until

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


def addresses(run: Run, host: Host) -> dict[str, str]:
    """Addresses of the pods that are ready, by name."""
    text = run.kubectl(host, "get", "pods", "-l", f"app={NAME}", "-o", "json", check=False)
    pods = json.loads(text)["items"] if text else []
    return {
        pod["metadata"]["name"]: pod["status"]["podIP"]
        for pod in pods
        if any(each["type"] == "Ready" and each["status"] == "True" for each in pod["status"].get("conditions", ()))
        and "deletionTimestamp" not in pod["metadata"]
    }


def spread(run: Run, host: Host) -> set[str]:
    """Makes the pods anew, now that there are all nodes, and says on which they are."""
    run.kubectl(host, "delete", "pods", "-l", f"app={NAME}", "--wait")
    wait_until("the pods are there anew", 120, lambda: len(names(run, host)) >= 4, 1)
    text = run.kubectl(host, "get", "pods", "-l", f"app={NAME}", "-o", "json")
    return {pod["spec"]["nodeName"] for pod in json.loads(text)["items"]}


def names(run: Run, host: Host) -> list[str]:
    """Pods that are ready, provided that their service answers."""
    return sorted(addresses(run, host)) if answers(run, host) else []


def all_reach_each_other(run: Run, host: Host) -> None:
    """Each pod gets the others' names by their addresses and one by their service's, whose name it finds."""
    pods = addresses(run, host)
    # not by wget, which needs the libraries of glibc for names even where it is given an address
    request = r"printf 'GET /name HTTP/1.0\r\n\r\n'"
    script = "; ".join(
        f"{request} | busybox nc -w 5 {address} {PORT} | busybox tail -n 1"
        for address in [*pods.values(), SERVICE_ADDRESS]
    )
    look_up = ["busybox", "nslookup", f"{NAME}.default.svc.cluster.local"]
    for pod in pods:
        said = run.kubectl(host, "exec", pod, "--", "busybox", "sh", "-c", script).split()
        if sorted(said[:-1]) != sorted(pods) or said[-1] not in pods:
            raise HostsError(f"the pod {pod} got {said}, and there are {sorted(pods)}")
        resolved = run.kubectl(host, "exec", pod, "--", *look_up)
        if SERVICE_ADDRESS not in resolved:
            raise HostsError(f"the pod {pod} does not find the service by its name: {resolved}")


class Client:
    """Calls the service all the time from outside the cluster, by a host of it."""

    def __init__(self, run: Run, host: Host) -> None:
        self.calls = 0
        self.failures: list[str] = []
        self._route = [f"{SERVICE_ADDRESS}/32", "via", host.address]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._call, daemon=True)

    def __enter__(self) -> Self:
        command(["ip", "route", "replace", *self._route])
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()
        command(["ip", "route", "del", *self._route], check=False)

    def _call(self) -> None:
        begun = time.monotonic()
        while not self._stop.wait(0.2):
            self.calls += 1
            connection = http.client.HTTPConnection(SERVICE_ADDRESS, PORT, timeout=5)
            try:
                connection.request("GET", "/name")
                if not connection.getresponse().read().startswith(NAME.encode()):
                    self.failures.append("another answer")
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(f"after {time.monotonic() - begun:.1f} s: {error!r}")
            finally:
                connection.close()
