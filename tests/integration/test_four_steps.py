# SPDX-License-Identifier: GPL-3.0-or-later
"""Each resource made, changed and removed, each in four steps: check mode, run, check mode, run; both ways to run."""

from __future__ import annotations

import pytest
from support.hosts import hosts_for, until
from support.project import Project
from support.runs import Outcome, Step, Values, assert_quartet
from support.specs import SUBJECTS, Subject

WAYS = ("action", "module")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("subject", SUBJECTS, ids=str)
def test_four_steps(project: Project, subject: Subject, way: str) -> None:
    name = project.name + "-x"
    change = subject.changes[0]
    specs = [subject.named(name), subject.named(name, change.of(subject.base)), subject.absent(name)]
    steps = [Step(subject.module, spec, check=check) for spec in specs for check in (True, False, True, False)]
    project.ansible.prepare(subject.prepare)
    api = project.tenant if subject.tenant else project.api
    with hosts_for(project, subject, [name]):
        outcomes = project.ansible.steps(way, steps)
        # nobody waited for what takes its time
        until(lambda: name not in api.names(LISTINGS[subject.module]))
    made, changed, removed = outcomes[:4], outcomes[4:8], outcomes[8:]
    for quartet in (made, changed, removed):
        assert_quartet(quartet)
    assert made[0].diff["before"] == ""
    assert removed[1].diff["after"] == ""
    assert_returned(made, subject, name)
    assert_returned(changed, subject, name)


LISTINGS = {
    "project": "projects",
    "registration_token": "registration_tokens",
    "edge_host": "edge_hosts",
    "cloud_account": "cloudaccounts",
    "cluster_profile": "clusterprofiles",
    "cluster": "spectroclusters",
}


def assert_returned(quartet: list[Outcome], subject: Subject, name: str) -> None:
    """All four return the object; check mode knows its uid only where it exists."""
    foretold, done, *again = (returned(outcome, subject) for outcome in quartet)
    assert done["uid"]
    for key in subject.keys:
        assert done[key] == name
    assert foretold["uid"] in ("", done["uid"])
    assert {**foretold, "uid": done["uid"]} == done
    for outcome in again:
        assert outcome["uid"] == done["uid"]


def returned(outcome: Outcome, subject: Subject) -> Values:
    found: Values = outcome.result[subject.module]
    return found
