# SPDX-License-Identifier: GPL-3.0-or-later
"""Cloud configs of clusters: what they are in their cloud, their machine pools, their machines.

The routes of every cloud follow from ``clouds.CLOUDS``.
"""

from __future__ import annotations

from typing import Any

from paletteops_plane.clouds import CLOUDS, fixed_change
from paletteops_plane.errors import ApiError, invalid, not_found
from paletteops_plane.filters import filtered, ordered
from paletteops_plane.paging import page
from paletteops_plane.provisioner import engine
from paletteops_plane.resources import edge_native, pools
from paletteops_plane.resources.cluster_state import CLUSTER, CONFIG, MACHINE, machines_of, pool_config
from paletteops_plane.resources.clusters import attached_to, changeable, refuse_while_repave_pending
from paletteops_plane.routing import Call, operation, visible
from paletteops_plane.store import Document, new_uid

_ACTIONS = {"cordon": True, "uncordon": False}


def _find(call: Call, cloud: str | None = None) -> Document:
    uid = call.path["configUid"]
    config = call.find(CONFIG, uid, "cloud config")
    if cloud is not None and config.body["kind"] != cloud:
        raise not_found(f"{cloud} cloud config", uid)
    return config


def _cluster(call: Call, config: Document) -> Document:
    cluster = call.plane.store.get(CLUSTER, config.parent)
    if cluster is None:
        raise not_found("cluster", config.parent)
    return changeable(cluster)


def _pool_of(call: Call, config: Document) -> dict[str, Any]:
    name = call.path["machinePoolName"]
    pool = pool_config(config, name)
    if pool is None:
        raise ApiError("ResourceNotFound", f"the cluster {config.name!r} has no machine pool {name!r}", {"name": name})
    return pool


def _machine(call: Call, config: Document) -> Document:
    _pool_of(call, config)
    uid = call.path["machineUid"]
    machine = call.plane.store.get(MACHINE, uid)
    if machine is None or machine.parent != config.uid or machine.body["_pool"] != call.path["machinePoolName"]:
        raise not_found("machine", uid)
    return machine


def _change(call: Call, config: Document, cluster: Document, made: list[dict[str, Any]]) -> None:
    """Store other pools and hand them to the provisioner."""
    refuse_while_repave_pending(cluster)
    config.body["spec"]["machinePoolConfig"] = made
    wanted = cluster.body["_wanted"]
    skipping = {pool["name"] for pool in made if pools.skips_upgrades(pool)}
    wanted["pinned"] = {name: pin for name, pin in wanted.get("pinned", {}).items() if name in skipping}
    if CLOUDS[config.body["kind"]].hosts:
        wanted["emptied"] = [
            pool["name"] for pool in made if pool["name"] in wanted.get("emptied", []) and not pool["hosts"]
        ]
    call.plane.touch(config)
    engine.wake(call.plane, cluster)


def _check_hosts(
    call: Call, cluster: Document, config: Document, pool: dict[str, Any], before: dict[str, Any] | None
) -> None:
    """Check the hosts of a pool that is new, or that takes the place of another one."""
    spec = config.body["spec"]
    edge_native.complete(call, pool, before, spec["clusterConfig"], cluster, "body")
    others = [known for known in spec["machinePoolConfig"] if known is not before]
    edge_native.check(
        call.plane, spec["clusterConfig"], [*others, pool], attached_to(call, cluster), "body.cloudConfig"
    )
    if before is not None and pools.skips_upgrades(before) and not pools.skips_upgrades(pool):
        edge_native.check_catching_up(call.plane, cluster, pool, "body.poolConfig.skipK8sUpgrade")


def _shown(config: Document) -> dict[str, Any]:
    """A cloud config as the API shows it; v1EdgeNativeCloudConfig lacks some of what other clouds' have."""
    body = visible(config.body)
    if CLOUDS[config.body["kind"]].hosts:
        shown = [
            {key: value for key, value in pool.items() if key != "skipK8sUpgrade"}
            for pool in body["spec"]["machinePoolConfig"]
        ]
        body["spec"] = {**body["spec"], "machinePoolConfig": shown}
        del body["kind"]
    return body


def _routes(cloud: str) -> None:
    base = f"/v1/cloudconfigs/{cloud}/{{configUid}}"
    one_pool = f"{base}/machinePools/{{machinePoolName}}"
    one_machine = f"{one_pool}/machines/{{machineUid}}"

    @operation(f"GET {base}")
    def get(call: Call) -> dict[str, Any]:
        return _shown(_find(call, cloud))

    @operation(f"PUT {base}/clusterConfig")
    def update(call: Call) -> None:
        config = _find(call, cloud)
        cluster = _cluster(call, config)
        before = config.body["spec"]["clusterConfig"]
        sent = call.body.get("clusterConfig")
        if sent is None:
            raise invalid("body.clusterConfig: is needed", field="body.clusterConfig")
        after = CLOUDS[cloud].cluster_config(sent, "body.clusterConfig")
        fixed = fixed_change(CLOUDS[cloud], before, after)
        if fixed is not None:
            path, old, new = fixed
            where = f"body.clusterConfig.{path}"
            raise invalid(
                f"{where}: is {old!r} and cannot become {new!r}: that takes a new cluster", field=where, value=new
            )
        if after == before:
            return
        refuse_while_repave_pending(cluster)
        if CLOUDS[cloud].hosts:
            made = config.body["spec"]["machinePoolConfig"]
            edge_native.check(call.plane, after, made, attached_to(call, cluster), "body.clusterConfig")
        config.body["spec"]["clusterConfig"] = after
        call.plane.touch(config)
        engine.wake(call.plane, cluster)

    @operation(f"POST {base}/machinePools")
    def add_pool(call: Call) -> dict[str, Any]:
        config = _find(call, cloud)
        cluster = _cluster(call, config)
        spec = config.body["spec"]
        pool = pools.build(cloud, call.body, None, spec["clusterConfig"], "body")
        if pool_config(config, pool["name"]) is not None:
            raise ApiError(
                "ResourceAlreadyExists",
                f"the cluster {config.name!r} has a machine pool {pool['name']!r} already",
                {"name": pool["name"]},
            )
        if pool["isControlPlane"] and any(known["isControlPlane"] for known in spec["machinePoolConfig"]):
            raise invalid(
                f"body.poolConfig.isControlPlane: the cluster {config.name!r} has its control plane",
                field="body.poolConfig.isControlPlane",
            )
        if CLOUDS[cloud].hosts:
            _check_hosts(call, cluster, config, pool, None)
        _change(call, config, cluster, [*spec["machinePoolConfig"], pool])
        return {"uid": new_uid()}

    @operation(f"PUT {one_pool}")
    def update_pool(call: Call) -> None:
        config = _find(call, cloud)
        cluster = _cluster(call, config)
        before, spec = _pool_of(call, config), config.body["spec"]
        pool = pools.build(cloud, call.body, before, spec["clusterConfig"], "body")
        if pool["name"] != before["name"]:
            raise invalid(
                f"body.poolConfig.name: the machine pool {before['name']!r} cannot become {pool['name']!r}",
                field="body.poolConfig.name",
                value=pool["name"],
            )
        if CLOUDS[cloud].hosts:
            _check_hosts(call, cluster, config, pool, before)
        if pool != before:
            made = [pool if known is before else known for known in spec["machinePoolConfig"]]
            _change(call, config, cluster, made)

    @operation(f"DELETE {one_pool}")
    def delete_pool(call: Call) -> None:
        config = _find(call, cloud)
        cluster = _cluster(call, config)
        pool = _pool_of(call, config)
        if pool["isControlPlane"]:
            raise ApiError(
                "ResourceInUse", f"the machine pool {pool['name']!r} is the control plane of {config.name!r}"
            )
        made = [known for known in config.body["spec"]["machinePoolConfig"] if known is not pool]
        _change(call, config, cluster, made)

    @operation(f"GET {one_pool}/machines")
    def list_machines(call: Call) -> dict[str, Any]:
        config = _find(call, cloud)
        pool = _pool_of(call, config)
        machines = [visible(machine.body) for machine in machines_of(call.plane, config, pool["name"])]
        if CLOUDS[cloud].hosts:
            return {"items": machines}  # v1EdgeNativeMachines knows no pages
        chosen, listmeta = page(ordered(filtered(machines, call.query), call.query), call.query)
        return {"items": chosen, "listmeta": listmeta}

    @operation(f"GET {one_machine}")
    def get_machine(call: Call) -> dict[str, Any]:
        return visible(_machine(call, _find(call, cloud)).body)

    @operation(f"DELETE {one_machine}")
    def delete_machine(call: Call) -> None:
        """Another machine takes its place: the size of the pool stays. A host leaves its pool with its machine."""
        config = _find(call, cloud)
        cluster = _cluster(call, config)
        machine = _machine(call, config)
        if CLOUDS[cloud].hosts:
            pool, host = _pool_of(call, config), machine.body["spec"]["edgeHostUid"]
            if any(entry["hostUid"] == host for entry in pool["hosts"]):
                edge_native.take_out(cluster, config, pool, host)
                call.plane.touch(config)
                engine.wake(call.plane, cluster)
            return
        present = {known.uid for known in machines_of(call.plane, config)}
        wanted = cluster.body["_wanted"]
        wanted["removed"] = sorted({*wanted["removed"], machine.uid} & present)
        engine.wake(call.plane, cluster)


for _cloud in CLOUDS:
    _routes(_cloud)


@operation(
    "PUT /v1/cloudconfigs/{cloudType}/{configUid}/machinePools/{machinePoolName}/machines/{machineUid}/maintenance"
)
def maintain(call: Call) -> None:
    """Cordon a machine or take that back; of a cluster in a cloud it is done at once, since no workload has to move."""
    cloud = call.path["cloudType"]
    config = _find(call, cloud)
    cluster = _cluster(call, config)
    machine = _machine(call, config)
    action = call.body.get("action", "")
    if action not in _ACTIONS:
        raise invalid("body.action: say cordon or uncordon", field="body.action", value=action)
    if not machine.body["_ready"]:
        raise ApiError("ResourceStateConflict", f"the machine {machine.name!r} is not a ready node")
    machine.body["_cordoned"] = _ACTIONS[action]
    state = "InProgress" if CLOUDS[cloud].hosts else "Completed"
    machine.body["status"]["maintenanceStatus"] = {"action": action, "message": "", "state": state}
    call.plane.store.save(machine)
    engine.wake(call.plane, cluster)


@operation("GET /v1/cloudconfigs/{configUid}/machinePools/machineUids")
def machine_uids(call: Call) -> dict[str, Any]:
    config = _find(call)
    found: dict[str, dict[str, list[str]]] = {
        pool["name"]: {"machineUids": []} for pool in config.body["spec"]["machinePoolConfig"]
    }
    for machine in machines_of(call.plane, config):
        found.setdefault(machine.body["_pool"], {"machineUids": []})["machineUids"].append(machine.uid)
    return {"machinePools": found}
