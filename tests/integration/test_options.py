# SPDX-License-Identifier: GPL-3.0-or-later
"""Every option that describes an object is compared, sent and restored; what is not stands in a table, with its reason.

For each option a task with another value is what changes the object behind the first task's back. The plane itself is
looked at in between, past the collection. There is a class for each subject; what one play can do for all options of a
subject is done once, when its first test asks.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
from collections.abc import Callable
from typing import Any, ClassVar

import pytest
from support.collection import REPOSITORY
from support.hosts import hosts_for
from support.plane import RunningPlane
from support.project import Project, fresh_project
from support.runs import Outcome, Step, assert_quartet
from support.specs import (
    AWS_ACCOUNT,
    AWS_CLUSTER,
    CLUSTERS,
    EDGE_CLUSTER,
    EDGE_HOST,
    NOT_COMPARED_VALUES,
    PROFILE,
    PROJECT,
    REGISTRATION_TOKEN,
    SUBJECTS,
    VSPHERE_ACCOUNT,
    VSPHERE_CLUSTER,
    Change,
    NotCompared,
    Subject,
    Why,
    differences,
    options,
)


@dataclasses.dataclass
class Story:
    """What became of one object: made, changed by another task, restored by the first one; and how it looked then."""

    made: Outcome
    changed: list[Outcome]
    restored: list[Outcome]
    looks: list[Any]


def stories_of(project: Project, subject: Subject) -> list[Story]:
    """Lives through the changes of a subject, each with an object of its own."""
    api = project.tenant if subject.tenant else project.api
    names = [f"{project.name}-{number}" for number in range(len(subject.changes))]
    bases = [subject.named(name) for name in names]
    others = [subject.named(name, change.of(subject.base)) for name, change in zip(names, subject.changes, strict=True)]

    def groups(specs: list[dict[str, Any]], *checks: bool) -> list[list[Outcome]]:
        steps = [Step(subject.module, spec, check=check) for spec in specs for check in checks]
        outcomes = project.ansible.play(steps).outcomes
        return [outcomes[start : start + len(checks)] for start in range(0, len(outcomes), len(checks))]

    def look() -> list[Any]:
        return [subject.snapshot(api, name) for name in names]

    project.ansible.prepare(subject.prepare)
    with hosts_for(project, subject, names):
        made = [outcome for (outcome,) in groups(bases, False)]
        failed = [outcome.msg for outcome in made if outcome.failed]
        assert not failed, f"the base specification of the {subject} cannot be made: {failed[0]}"
        first = look()
        changed = groups(others, True, False, True, False)
        second = look()
        restored = groups(bases, False, False)
    looks = zip(first, second, look(), strict=True)
    return [Story(*parts) for parts in zip(made, changed, restored, map(list, looks), strict=True)]


def table(subject: Subject) -> dict[str, NotCompared]:
    """What is not compared and can be tried with another value."""
    values = NOT_COMPARED_VALUES if subject in CLUSTERS else {}
    if subject.hosts:  # nothing scales their pools
        values = {option: row for option, row in values.items() if not row.at.startswith("pools.scaled.")}
    return {option: row for option, row in {**subject.not_compared, **values}.items() if row.at}


def attempts_of(project: Project, subject: Subject) -> dict[str, tuple[Outcome, Outcome]]:
    """What comes of another value for each row, on one object, and of the base specification in check mode after it."""
    spec = subject.named(project.name + "-x")
    steps = [*subject.prepare, Step(subject.module, spec)]
    for option, row in table(subject).items():
        steps += [
            Step(
                subject.module, subject.named(project.name + "-x", Change(option, row.at, row.other).of(subject.base))
            ),
            Step(subject.module, spec, check=True),
        ]
    with hosts_for(project, subject, [project.name + "-x"]):
        made, *outcomes = project.ansible.play(steps).outcomes[len(subject.prepare) :]
    assert made.changed
    return dict(zip(table(subject), zip(outcomes[::2], outcomes[1::2], strict=True), strict=True))


class Options:
    """The tests of one subject."""

    subject: ClassVar[Subject]

    @pytest.fixture(scope="class")
    @classmethod
    def stories(cls, plane: RunningPlane, tmp_path_factory: pytest.TempPathFactory) -> list[Story]:
        with fresh_project(plane, tmp_path_factory.mktemp("options")) as project:
            return stories_of(project, cls.subject)

    @pytest.fixture(scope="class")
    @classmethod
    def attempts(
        cls, plane: RunningPlane, tmp_path_factory: pytest.TempPathFactory
    ) -> dict[str, tuple[Outcome, Outcome]]:
        with fresh_project(plane, tmp_path_factory.mktemp("rows")) as project:
            return attempts_of(project, cls.subject)

    def test_drift_of_an_option_is_seen_and_restored(self, stories: list[Story], number: int) -> None:
        story = stories[number]
        assert story.made.changed
        assert_quartet(story.changed)
        assert differences(story.looks[0], story.looks[1]), "the plane has nothing of the change"
        restored, again = story.restored
        assert restored.changed
        assert not again.changed
        assert not again.writes
        assert differences(story.looks[0], story.looks[2]) == [], "the plane has something else than before the change"

    def test_what_is_not_compared_changes_nothing(self, attempts: dict[str, Any], uncompared: str) -> None:
        other, base = attempts[uncompared]
        assert not other.changed, other.diff
        assert not other.writes
        assert not base.changed, base.diff

    def test_every_option_has_a_changed_value_or_a_reason(self) -> None:
        """The argument spec of the subject's cloud against the tables, and the tables against it."""
        module = importlib.import_module(f"ansible_collections.paletteops.modes.plugins.modules.{self.subject.module}")
        spec = set(options(specification(self.subject, module.OPERATION)))
        known = {change.option for change in self.subject.changes} | set(self.subject.not_compared)
        assert spec - known == set(), "neither a changed value nor a reason"
        assert known - spec == set(), "the tables name options that there are not"


class FixedOptions(Options):
    """Of subjects some of whose options cannot be changed."""

    def test_what_cannot_be_changed_is_refused(self, attempts: dict[str, Any], fixed: str) -> None:
        other, base = attempts[fixed]
        value = table(self.subject)[fixed].other
        other.refused(fixed.rpartition(".")[2], value if isinstance(value, str) else json.dumps(value))
        assert not base.changed, base.diff


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if metafunc.cls is None or not issubclass(metafunc.cls, Options):
        return
    subject: Subject = metafunc.cls.subject
    cases: dict[str, Callable[[], list[Any]]] = {
        "number": lambda: [pytest.param(n, id=f"{n}-{change.at}") for n, change in enumerate(subject.changes)],
        "uncompared": lambda: [
            option for option, row in table(subject).items() if row.why in (Why.SECRET, Why.BEHAVIOUR)
        ],
        "fixed": lambda: [option for option, row in table(subject).items() if row.why in (Why.IMMUTABLE, Why.KNOWN)],
    }
    for name, values in cases.items():
        if name in metafunc.fixturenames:
            metafunc.parametrize(name, values())


def specification(subject: Subject, operation: Any) -> dict[str, Any]:
    """The argument spec of a module without the connection; where clouds differ, with the options of one cloud."""
    from ansible_collections.paletteops.modes.plugins.module_utils import clouds
    from ansible_collections.paletteops.modes.plugins.module_utils.clouds.cloud import POOL
    from ansible_collections.paletteops.modes.plugins.module_utils.fields import argument_spec

    spec = dict(operation.options)
    if not subject.cloud:
        return spec
    common = {field.name for field in POOL} | {"state"}
    for option, aspect in clouds.ASPECTS.items():
        if option in spec:
            own = argument_spec(clouds.table(subject.cloud, aspect))
            shared = {key: entry for key, entry in spec[option]["options"].items() if key in common}
            spec[option] = dict(spec[option], options={**(shared if aspect == "pool" else {}), **own})
    return spec


class TestProject(Options):
    subject = PROJECT


class TestRegistrationToken(Options):
    subject = REGISTRATION_TOKEN


class TestEdgeHost(FixedOptions):
    subject = EDGE_HOST


class TestClusterOfHosts(FixedOptions):
    subject = EDGE_CLUSTER


class TestCloudAccountOnAws(FixedOptions):
    subject = AWS_ACCOUNT


class TestCloudAccountOnVsphere(FixedOptions):
    subject = VSPHERE_ACCOUNT


class TestClusterProfile(FixedOptions):
    subject = PROFILE


class TestClusterOnAws(FixedOptions):
    subject = AWS_CLUSTER


class TestClusterOnVsphere(FixedOptions):
    subject = VSPHERE_CLUSTER


def test_every_module_that_writes_is_tested() -> None:
    """A new module has four steps and drift tests, or it says here why it has others."""
    elsewhere = {
        "cluster_kubeconfig": "test_clusters.py: it writes a file",
        "cluster_wait": "test_clusters.py: it changes nothing",
        "inventory_check": "it changes nothing, and reads no plane",
    }
    modules = {path.stem for path in (REPOSITORY / "plugins" / "modules").glob("*.py")} - {"__init__"}
    writing = {name for name in modules if not name.endswith("_info")}
    assert writing - {subject.module for subject in SUBJECTS} - set(elsewhere) == set()


def test_every_cloud_is_tested() -> None:
    from ansible_collections.paletteops.modes.plugins.module_utils import clouds

    for module, names in (("cloud_account", clouds.WITH_ACCOUNT), ("cluster", clouds.NAMES)):
        assert {subject.cloud for subject in SUBJECTS if subject.module == module} == set(names)
    tested = {
        member.subject
        for member in [*Options.__subclasses__(), *FixedOptions.__subclasses__()]
        if member.__name__.startswith("Test")
    }
    assert tested == set(SUBJECTS)
