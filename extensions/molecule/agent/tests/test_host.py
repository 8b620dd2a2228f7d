# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role leaves on a host: an agent that runs, and files for root alone."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import testinfra
from testinfra.host import Host

FOLDER = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "plane"


@pytest.fixture(scope="module")
def machine() -> Iterator[Host]:
    """The host, as root, over SSH."""
    address, user = os.environ["SCENARIO_ADDRESS"], os.environ["SCENARIO_USER"]
    with tempfile.NamedTemporaryFile("w", suffix=".ssh") as config:
        yield testinfra.get_host(
            f"ssh://{user}@{address}?sudo=true", ssh_extra_args=os.environ["SCENARIO_SSH"], ssh_config=config.name
        )


def test_the_agent_runs_and_starts_with_the_host(machine: Host) -> None:
    service = machine.service("spectro-palette-agent-start.service")
    assert service.is_running
    assert service.is_enabled


@pytest.mark.parametrize("path", ["/var/lib/spectro/userdata", "/var/lib/paletteops/agent.json"])
def test_what_holds_secrets_is_for_root_alone(machine: Host, path: str) -> None:
    file = machine.file(path)
    assert file.is_file
    assert (file.user, file.mode) == ("root", 0o600)


def test_the_packages_that_the_role_installed_are_listed(machine: Host) -> None:
    listed = machine.file("/var/lib/paletteops/packages").content_string.split()
    assert listed
    for name in listed:
        assert machine.package(name).is_installed, name


def test_what_was_installed_is_what_was_built(machine: Host) -> None:
    note = json.loads(machine.file("/var/lib/paletteops/agent.json").content_string)
    built = FOLDER / "agent" / f"{Path(note['from']).name}.sha256"
    assert note["checksum"] == built.read_text("ascii").split()[0]
    installed = machine.run("/opt/spectrocloud/bin/palette-agent version")
    assert installed.rc == 0, installed.stderr


def test_no_token_is_in_what_the_agent_writes_or_in_lists_of_processes(machine: Host) -> None:
    token = next(
        line.split(":", 1)[1].strip()
        for line in machine.file("/var/lib/spectro/userdata").content_string.splitlines()
        if "edgeHostToken" in line
    )
    assert token
    assert token not in machine.run("journalctl --no-pager -u 'spectro-palette-agent*'").stdout
    assert token not in machine.run("ps -ewwo args").stdout


def test_the_kubeconfig_is_for_its_owner_alone() -> None:
    kubeconfig = FOLDER / "kubeconfigs" / "store"
    assert kubeconfig.stat().st_mode & 0o777 == 0o600
    assert (
        subprocess.run(["stat", "-c", "%a", str(kubeconfig.parent)], capture_output=True, text=True, check=True).stdout
        == "700\n"
    )
