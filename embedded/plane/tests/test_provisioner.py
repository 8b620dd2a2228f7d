# SPDX-License-Identifier: GPL-3.0-or-later
"""The simulated provisioner: steps, faults, replacement of machines; time is what a test says it is."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paletteops_plane.provisioner import Desired, Happening, Observed, Pack, Pool, faults
from paletteops_plane.provisioner.simulated import Simulated

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC).timestamp()


def pool(name: str, size: int, *, control_plane: bool = False, template: str = "t1", **more: Any) -> Pool:
    config = {"name": name, "instanceType": more.pop("instance_type", "m6i.large")}
    return Pool(name, control_plane, size, template, config, **more)


def desired(*pools: Pool, addons: tuple[str, ...] = ("nginx",), **more: Any) -> Desired:
    packs = [Pack("p1", layer, layer, "1", "spectro", "d1") for layer in ("os", "k8s", "cni", "csi")]
    packs += [Pack("p1", name, "addon", "1", "spectro", "d1") for name in addons]
    wanted = pools or (pool("cp", 3, control_plane=True), pool("w", 2))
    account = more.pop("account", {"accessKey": "AKIA"})
    return Desired("u1", "shop", "aws", wanted, tuple(packs), account, {"region": "eu-central-1"}, **more)


@dataclass
class World:
    """A cluster and its time."""

    wanted: Desired
    speed: float = 1.0
    asked: list[dict[str, Any]] = field(default_factory=list)
    now: float = START
    observed: Observed = field(default_factory=dict)
    happened: list[Happening] = field(default_factory=list)
    next_at: float | None = None

    def look(self, seconds: float = 0) -> World:
        self.now += seconds
        moment = datetime.fromtimestamp(self.now, UTC)
        outcome = Simulated(self.speed, self.asked).reconcile(self.wanted, self.observed, moment)
        # What is stored is JSON.
        self.observed = json.loads(json.dumps(outcome.observed))
        self.happened += outcome.happenings
        self.next_at = outcome.next_at
        return self

    def step(self) -> World:
        """To the next moment at which something happens."""
        assert self.next_at is not None
        return self.look(self.next_at - self.now)

    def rest(self) -> World:
        """Until nothing is on its way."""
        for _ in range(500):
            self.look()
            if self.next_at is None:
                return self
            self.step()
        raise AssertionError("the cluster never comes to rest")

    @property
    def state(self) -> Any:
        return self.observed["state"]

    @property
    def health(self) -> Any:
        return self.observed["health"]["state"] if self.observed["health"] else ""

    def machines(self, name: str, *phases: str) -> list[dict[str, Any]]:
        return [m for m in self.observed["machines"] if m["pool"] == name and (not phases or m["phase"] in phases)]

    def condition(self, kind: str) -> dict[str, Any]:
        found: dict[str, Any] = self.observed["conditions"][kind]
        return found


def running(*pools: Pool, **more: Any) -> World:
    world = World(desired(*pools, **more)).rest()
    assert (world.state, world.health) == ("Running", "Healthy")
    return world


def test_a_cluster_takes_its_steps_in_order() -> None:
    world = World(desired()).look()
    assert world.state == "Pending" and world.next_at == START + 15
    assert world.step().state == "Provisioning"
    assert world.condition("ImageResolutionDone")["status"] == "False"
    world.look(70)
    assert [len(world.machines("cp")), len(world.machines("w"))] == [1, 0]
    world.look(74)
    assert not world.observed["kubeconfig"]
    world.look(1)
    assert world.observed["kubeconfig"] and len(world.machines("cp", "Running")) == 1
    world.look(90)
    assert len(world.machines("cp", "Running")) == 3 and len(world.machines("w", "Provisioning")) == 2
    world.look(70)
    assert (world.state, world.health) == ("Running", "")
    assert world.condition("AddOnDeploymentDone")["status"] == "False"
    world.look(20)
    assert world.condition("AddOnDeploymentDone")["status"] == "True" and world.health == ""
    assert world.look(30).health == "Healthy"
    assert {condition["status"] for condition in world.observed["conditions"].values()} == {"True"}
    assert world.now - START == 370 and not world.next_at
    reasons = [happening.reason for happening in world.happened]
    assert reasons[:3] == ["ClusterPending", "ClusterProvisioning", "ImageResolved"]
    assert reasons[-2:] == ["PackDeployed", "ClusterHealthy"]


def test_speed_divides_every_duration() -> None:
    world = World(desired(), speed=60).rest()
    assert world.now - START == pytest.approx(370 / 60, abs=0.05)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(0.1, 150), min_size=1, max_size=12))
def test_how_often_one_looks_changes_nothing(pauses: list[float]) -> None:
    often, once = World(desired()).look(), World(desired()).look()
    for pause in pauses:
        often.look(pause)
    once.look(often.now - once.now)
    assert {**often.observed, "at": 0} == {**once.observed, "at": 0}
    assert often.happened == once.happened


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["size", "template", "pool", "addon"]), st.integers(0, 4), st.floats(0, 200)),
        max_size=6,
    )
)
def test_whatever_is_asked_for_is_there_in_the_end(changes: list[tuple[str, int, float]]) -> None:
    world = World(desired()).look()
    for kind, number, pause in changes:
        control_plane, workers, *others = world.wanted.pools
        if kind == "size":
            workers = replace(workers, size=number)
        elif kind == "template":
            control_plane = replace(control_plane, template=f"t{number}")
            workers = replace(workers, template=f"t{number}", surge=number % 2, unavailable=1 - number % 2)
        elif kind == "pool":
            others = [pool(f"w{index}", index + 1) for index in range(number)]
        packs = world.wanted.packs
        if kind == "addon":
            packs = packs[:4] + tuple(
                Pack("p1", f"a{index}", "addon", f"{number}", "helm", f"d{number}") for index in range(number)
            )
        world.look()
        world.wanted = replace(world.wanted, pools=(control_plane, workers, *others), packs=packs)
        world.look()
        world.look(pause)
    world.rest()
    assert (world.state, world.health) == ("Running", "Healthy")
    for wanted in world.wanted.pools:
        mine = world.machines(wanted.name)
        assert [machine["template"] for machine in mine] == [wanted.template] * wanted.size
    assert len(world.observed["machines"]) == sum(wanted.size for wanted in world.wanted.pools)
    assert {key: entry["version"] for key, entry in world.observed["packs"].items()} == {
        pack.key: pack.version for pack in world.wanted.packs
    }


def test_a_replacement_adds_before_it_takes_and_the_control_plane_goes_first() -> None:
    world = running(pool("cp", 3, control_plane=True), pool("w", 2))
    world.wanted = replace(world.wanted, pools=tuple(replace(item, template="t2") for item in world.wanted.pools))
    world.look()
    assert world.health == "Progressing" and world.state == "Running"
    most, least = 0, 9
    while world.next_at is not None:
        if any(machine["template"] == "t2" for machine in world.machines("w")):
            assert [machine["template"] for machine in world.machines("cp", "Running")] == ["t2"] * 3
        most = max(most, len(world.machines("w", "Running", "Provisioning")))
        least = min(least, len(world.machines("w", "Running")))
        world.step()
    assert (most, least) == (3, 2)


def test_scale_in_takes_before_it_adds() -> None:
    world = running(pool("cp", 1, control_plane=True), pool("w", 2, surge=0, unavailable=1))
    control_plane, workers = world.wanted.pools
    world.wanted = replace(world.wanted, pools=(control_plane, replace(workers, template="t2")))
    world.look()
    most, least = 0, 9
    while world.next_at is not None:
        most = max(most, len(world.machines("w", "Running", "Provisioning")))
        least = min(least, len(world.machines("w", "Running")))
        world.step()
    assert (most, least) == (2, 1)


def test_a_repave_interval_is_kept() -> None:
    world = running(pool("cp", 1, control_plane=True), pool("w", 2))
    world.wanted = replace(
        world.wanted, pools=(world.wanted.pools[0], pool("w", 2, template="t2", repave_interval=600))
    )
    began = world.now
    world.rest()
    assert world.now - began > 600


@pytest.mark.parametrize(
    ("reason", "condition", "broken", "mended"),
    [
        (
            "InstanceTypeNotFound",
            "WorkerNodeAdditionDone",
            desired(pool("cp", 1, control_plane=True), pool("w", 2, instance_type="x9.huge")),
            desired(pool("cp", 1, control_plane=True), pool("w", 2)),
        ),
        (
            "CredentialsWithoutPermission",
            "CloudInfrastructureReady",
            desired(account={"accessKey": "DENIED1"}),
            desired(),
        ),
        (
            "QuotaExceeded",
            "WorkerNodeAdditionDone",
            desired(pool("cp", 1, control_plane=True), pool("w", 120)),
            desired(pool("cp", 1, control_plane=True), pool("w", 3)),
        ),
    ],
)
def test_a_fault_is_told_once_and_goes_with_its_cause(
    reason: str, condition: str, broken: Desired, mended: Desired
) -> None:
    world = World(broken).look()
    world.look(3000)
    assert (world.state, world.health) == ("Provisioning", "")
    assert world.condition(condition)["reason"] == reason and world.condition(condition)["message"]
    told = [happening for happening in world.happened if happening.reason == reason]
    assert len(told) == 1 and told[0].severity == "Error"
    world.wanted = mended
    world.rest()
    assert (world.state, world.health) == ("Running", "Healthy")
    assert world.condition(condition)["status"] == "True"


def test_a_running_cluster_with_a_fault_is_not_healthy() -> None:
    world = running()
    world.wanted = replace(world.wanted, pools=(*world.wanted.pools, pool("bad", 1, instance_type="x9.huge")))
    world.look()
    assert (world.state, world.health) == ("Running", "Unhealthy")
    assert "x9.huge" in world.observed["health"]["message"]
    world.wanted = desired()
    world.rest()
    assert world.health == "Healthy"


def test_faults_that_are_asked_for_are_counted_down() -> None:
    asked: list[dict[str, Any]] = [
        {"kind": "infrastructure", "cluster": "^sh", "step": "image", "reason": "ImageLost", "times": 2}
    ]
    world = World(desired(), asked=asked).look()
    world.look(16)
    assert world.condition("ImageResolutionDone")["reason"] == "ImageLost" and asked[0]["times"] == 1
    world.rest()
    assert world.health == "Healthy" and not asked
    assert world.now - START == 370 + 2 * 30


def test_a_fault_that_lasted_while_nobody_looked_is_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    tries = 0
    fault_of = faults.of_machine

    def counted(*arguments: Any) -> Any:
        nonlocal tries
        tries += 1
        return fault_of(*arguments)

    wanted = desired(pool("cp", 1, control_plane=True), pool("bad", 1, instance_type="x9.huge"))
    world = World(wanted, speed=100_000.0).look().look(1)
    monkeypatch.setattr(faults, "of_machine", counted)
    world.look(3600)
    assert world.condition("WorkerNodeAdditionDone")["reason"] == "InstanceTypeNotFound"
    assert 0 < tries < 10


def test_a_deletion_takes_the_workers_first_and_ends() -> None:
    world = running()
    world.wanted = replace(world.wanted, deleted=True)
    world.look()
    assert world.state == "Deleting" and world.health == ""
    assert {machine["pool"] for machine in world.observed["machines"] if machine["phase"] == "Deleting"} == {"w"}
    world.rest()
    assert world.state == "Deleted" and not world.observed["machines"] and not world.observed["kubeconfig"]


def test_a_deletion_that_the_cloud_refuses_waits_and_can_be_forced() -> None:
    world = running()
    world.wanted = replace(world.wanted, deleted=True, account={"accessKey": "DENIED"})
    world.look()
    world.look(5000)
    assert world.state == "Deleting"
    assert world.condition("CloudInfrastructureReady")["reason"] == "CredentialsWithoutPermission"
    world.wanted = replace(world.wanted, forced=True)
    assert world.look().state == "Deleted"


def test_a_pack_that_comes_from_another_profile_now_is_not_rolled_out_anew() -> None:
    world = running(addons=("nginx", "prometheus"))
    before = world.observed["packs"]["p1/nginx"]["ended"]
    packs = tuple(replace(pack, profile_uid="p2") for pack in world.wanted.packs)
    world.wanted = replace(world.wanted, packs=(*packs[:-1], replace(packs[-1], version="2", digest="d2")))
    world.look()
    assert world.observed["packs"]["p2/nginx"]["state"] == "Ready"
    assert world.observed["packs"]["p2/prometheus"]["state"] == "Deploying"
    world.rest()
    assert len(world.observed["packs"]) == 6 and world.health == "Healthy"
    assert world.observed["packs"]["p2/nginx"]["ended"] == before
    assert "PackRemoved" not in {happening.reason for happening in world.happened}


def test_a_machine_that_is_taken_out_is_replaced() -> None:
    world = running()
    gone = world.machines("w")[0]["uid"]
    world.wanted = replace(world.wanted, removed=frozenset({gone}))
    world.rest()
    assert len(world.machines("w", "Running")) == 2 and gone not in {item["uid"] for item in world.machines("w")}


def test_machines_of_a_pool_have_names_of_their_own() -> None:
    # This cluster's 2nd and 26th machine draw the same suffix.
    world = World(replace(desired(pool("cp", 1, control_plane=True), pool("w", 29)), uid="u2197")).rest()
    assert len({machine["name"] for machine in world.machines("w")}) == 29
