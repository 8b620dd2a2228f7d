# SPDX-License-Identifier: GPL-3.0-or-later
"""Every option that describes an object is compared, sent and restored; what is not stands in a table, with its reason.

For each option a task with another value is what changes the object behind the first task's back. The plane itself is
looked at in between, past the collection.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.collection import REPOSITORY
from support.plane import RunningPlane
from support.project import Project, fresh_project
from support.runs import Outcome, Step
from support.specs import (
    CLUSTERS,
    NOT_COMPARED_VALUES,
    SUBJECTS,
    Change,
    NotCompared,
    Subject,
    Why,
    differences,
    options,
)

CHANGES = [
    pytest.param(
        subject, change, id=f"{subject}-{number}-{change}", marks=pytest.mark.xdist_group(f"options {subject}")
    )
    for subject in SUBJECTS
    for number, change in enumerate(subject.changes)
]


@dataclasses.dataclass
class Story:
    """What became of one object: made, changed by another task, restored by the first one."""

    made: Outcome
    changed: list[Outcome]
    restored: list[Outcome]
    looks: list[Any]


def told(project: Project, subject: Subject, changes: list[Change]) -> dict[int, Story]:
    """Lives through the changes, each with an object of its own, in three plays for all of them together."""
    api = project.tenant if subject.tenant else project.api
    names = [f"{project.name}-{number}" for number in range(len(changes))]
    bases = [subject.named(name) for name in names]
    others = [subject.named(name, change.of(subject.base)) for name, change in zip(names, changes, strict=True)]

    def groups(specs: list[dict[str, Any]], *checks: bool) -> list[list[Outcome]]:
        steps = [Step(subject.module, spec, check=check) for spec in specs for check in checks]
        outcomes = project.ansible.play(steps).outcomes
        return [outcomes[start : start + len(checks)] for start in range(0, len(outcomes), len(checks))]

    def look() -> list[Any]:
        return [subject.snapshot(api, name) for name in names]

    for outcome in project.ansible.play([*subject.prepare]).outcomes if subject.prepare else []:
        assert not outcome.failed, outcome.msg
    made = project.ansible.play([Step(subject.module, spec) for spec in bases]).outcomes
    failed = [outcome.msg for outcome in made if outcome.failed]
    assert not failed, f"the base specification of the {subject} cannot be made: {failed[0]}"
    first = look()
    changed = groups(others, True, False, True, False)
    second = look()
    restored = groups(bases, False, False)
    third = look()
    return {
        number: Story(made[number], changed[number], restored[number], [first[number], second[number], third[number]])
        for number in range(len(changes))
    }


@pytest.fixture(scope="module")
def stories(plane: RunningPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The story of a change; those of one subject are lived through together, by the first test that asks."""
    known: dict[str, dict[int, Story]] = {}

    def story(subject: Subject, change: Change) -> Story:
        if subject.label not in known:
            folder: Path = tmp_path_factory.mktemp("options")
            with fresh_project(plane, folder) as project:
                known[subject.label] = told(project, subject, list(subject.changes))
        return known[subject.label][subject.changes.index(change)]

    yield story


def assert_quartet(quartet: list[Outcome]) -> None:
    """Check mode says changed, the run is changed, then neither is; check mode foretold what the run did."""
    foretold, done, *again = quartet
    assert foretold.changed, "check mode does not see the difference"
    assert not foretold.writes, f"check mode wrote: {foretold.writes}"
    assert done.changed
    assert done.writes, "it is reported as changed, and nothing was sent"
    assert foretold.diff == done.diff
    assert done.diff["before"] != done.diff["after"]
    for outcome in again:
        assert not outcome.changed, f"the second run differs: {outcome.diff}"
        assert not outcome.writes, f"nothing was to do, and this was sent: {outcome.writes}"


@pytest.mark.parametrize(("subject", "change"), CHANGES)
def test_drift_of_an_option_is_seen_and_restored(stories: Any, subject: Subject, change: Change) -> None:
    story: Story = stories(subject, change)
    assert story.made.changed
    assert_quartet(story.changed)
    assert differences(story.looks[0], story.looks[1]), "the plane has nothing of the change"
    restored, again = story.restored
    assert restored.changed
    assert not again.changed
    assert not again.writes
    assert differences(story.looks[0], story.looks[2]) == [], "the plane has something else than before the change"


# --- what is not compared ---


@pytest.fixture(scope="module")
def attempts(plane: RunningPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """What comes of another value for a row of the table, and of the base specification after it, in check mode.

    The rows of a subject are tried on one object, one after the other, by the first test that asks.
    """
    known: dict[str, dict[str, tuple[Outcome, Outcome]]] = {}

    def attempt(subject: Subject, option: str) -> tuple[Outcome, Outcome]:
        if subject.label not in known:
            with fresh_project(plane, tmp_path_factory.mktemp("rows")) as project:
                known[subject.label] = tried(project, subject)
        return known[subject.label][option]

    yield attempt


def table(subject: Subject) -> dict[str, NotCompared]:
    values = NOT_COMPARED_VALUES if subject in CLUSTERS else {}
    return {option: row for option, row in {**subject.not_compared, **values}.items() if row.at}


def tried(project: Project, subject: Subject) -> dict[str, tuple[Outcome, Outcome]]:
    spec = subject.named(project.name + "-x")
    steps = [*subject.prepare, Step(subject.module, spec)]
    for option, row in table(subject).items():
        other = Change(option, row.at, row.other).of(spec)
        steps += [Step(subject.module, other), Step(subject.module, spec, check=True)]
    outcomes = project.ansible.play(steps).outcomes[len(subject.prepare) :]
    assert outcomes[0].changed
    return dict(zip(table(subject), zip(outcomes[1::2], outcomes[2::2], strict=True), strict=True))


def rows(*reasons: Why) -> list[Any]:
    group = pytest.mark.xdist_group
    return [
        pytest.param(subject, option, row, id=f"{subject}-{option}", marks=group(f"rows {subject}"))
        for subject in SUBJECTS
        for option, row in table(subject).items()
        if row.why in reasons
    ]


@pytest.mark.parametrize(("subject", "option", "row"), rows(Why.SECRET, Why.BEHAVIOUR))
def test_what_is_not_compared_changes_nothing(attempts: Any, subject: Subject, option: str, row: NotCompared) -> None:
    other, base = attempts(subject, option)
    assert not other.changed, f"{option}: {other.diff}"
    assert not other.writes
    assert not base.changed, differences(base.diff["before"], base.diff["after"])


@pytest.mark.parametrize(("subject", "option", "row"), rows(Why.IMMUTABLE, Why.KNOWN))
def test_what_cannot_be_changed_is_refused(attempts: Any, subject: Subject, option: str, row: NotCompared) -> None:
    other, base = attempts(subject, option)
    name = option.rpartition(".")[2]
    other.refused(name, row.other if isinstance(row.other, str) else json.dumps(row.other))
    assert not base.changed, differences(base.diff["before"], base.diff["after"])


@pytest.mark.parametrize("subject", SUBJECTS, ids=str)
def test_every_option_has_a_changed_value_or_a_reason(subject: Subject) -> None:
    """The argument spec of the subject's cloud against the tables, and the tables against it."""
    module = importlib.import_module(f"ansible_collections.paletteops.modes.plugins.modules.{subject.module}")
    spec = specification(subject, module.OPERATION)
    known = {change.option for change in subject.changes} | set(subject.not_compared)
    assert set(options(spec)) - known == set(), "neither a changed value nor a reason"
    assert known - set(options(spec)) == set(), "the tables name options that there are not"


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


def test_every_module_that_writes_is_a_subject() -> None:
    """A new module has four steps and drift tests, or it says here why it has others."""
    elsewhere = {
        "cluster_kubeconfig": "test_clusters.py: it writes a file",
        "cluster_wait": "test_clusters.py: it changes nothing",
        "inventory_check": "it changes nothing, and reads no plane",
    }
    modules = {path.stem for path in (REPOSITORY / "plugins" / "modules").glob("*.py")} - {"__init__"}
    writing = {name for name in modules if not name.endswith("_info")}
    assert writing - {subject.module for subject in SUBJECTS} - set(elsewhere) == set()
