# SPDX-License-Identifier: GPL-3.0-or-later
"""What ``make dist`` builds is enough: it alone is installed, with an empty HOME, and the example inventory is run."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import pytest
from support.collection import REPOSITORY
from support.plane import RunningPlane

sys.path.insert(0, str(REPOSITORY / "tools"))
import quickstart

#: What a user installs beside the tarball and the wheels: see the README.
BESIDE = ("ansible-core", "jmespath", "kubernetes", "urllib3")

#: The first level of the tarball.
SHIPPED = {
    "CHANGELOG.rst",
    "FILES.json",
    "LICENSE",
    "MANIFEST.json",
    "README.md",
    "changelogs",
    "docs",
    "extensions",
    "inventory",
    "meta",
    "playbooks",
    "plugins",
    "roles",
}

#: Clusters stand at once, so that the test is about what is installed.
SPEED = 100_000.0
SECONDS = 300.0


def run(command: Sequence[str | Path], environment: dict[str, str], cwd: Path) -> str:
    done = subprocess.run(
        [str(word) for word in command],
        env=environment,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout}"
    return done.stdout


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("dist")
    run([sys.executable, REPOSITORY / "tools/distribution.py", target], dict(os.environ), REPOSITORY)
    return target


def test_the_checksums_are_of_all_files(dist: Path) -> None:
    lines = (dist / "SHA256SUMS").read_text("utf-8").splitlines()
    sums = {name: checksum for checksum, name in (line.split("  ") for line in lines)}
    files = {path.name for path in dist.iterdir()} - {"SHA256SUMS"}
    assert set(sums) == files
    assert {name: hashlib.sha256((dist / name).read_bytes()).hexdigest() for name in files} == sums


def test_the_tarball_holds_the_collection_and_no_more(dist: Path) -> None:
    with tarfile.open(next(dist.glob("*.tar.gz"))) as tarball:
        names = [name for name in tarball.getnames() if name != "."]
    assert {name.split("/")[0] for name in names} <= SHIPPED
    assert {"meta/runtime.yml", "plugins/modules/cluster.py", "playbooks/site.yml"} <= set(names)
    assert not [name for name in names if "__pycache__" in name or name.endswith(".pyc")]


def constraints(target: Path) -> Path:
    """The lock's versions. Its hashes would have to cover the wheels that are built here, too."""
    locked = (REPOSITORY / "tools/locks/venv.txt").read_text("utf-8")
    lines = re.findall(r"^[a-zA-Z0-9._-]+==[^\\\n]+", locked, re.MULTILINE)
    target.write_text("\n".join(line.strip() for line in lines), "utf-8")
    return target


@pytest.fixture(scope="module")
def installed(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """The commands of an environment that holds these files alone, and what a process there inherits: a HOME."""
    folder = tmp_path_factory.mktemp("installed")
    home, commands = folder / "home", folder / "venv" / "bin"
    home.mkdir()
    kept = {key: value for key, value in os.environ.items() if key.startswith(("PIP_", "SSL_", "LANG", "LC_"))}
    environment = {**kept, "HOME": str(home), "PATH": f"{commands}:/usr/bin:/bin"}
    run([sys.executable, "-m", "venv", folder / "venv"], environment, folder)
    pip: list[str | Path] = [
        commands / "python",
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-compile",
    ]
    run(
        [*pip, "--constraint", constraints(folder / "constraints.txt"), *BESIDE, *dist.glob("*.whl")],
        environment,
        folder,
    )
    # kubernetes.core, as where Galaxy cannot be reached: from the `ansible` distribution
    collections = home / ".ansible" / "collections" / "ansible_collections"
    (collections / "kubernetes").mkdir(parents=True)
    (collections / "kubernetes" / "core").symlink_to(site_packages() / "ansible_collections" / "kubernetes" / "core")
    galaxy: list[str | Path] = [commands / "ansible-galaxy", "collection", "install", "--offline", "--no-deps"]
    run([*galaxy, next(dist.glob("*.tar.gz"))], environment, folder)
    return commands, environment


def site_packages() -> Path:
    spec = find_spec("ansible")
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent.parent


def recap(output: str) -> dict[str, dict[str, int]]:
    """The play recap: a host's numbers by their names."""
    lines = re.findall(r"^(\S+)\s+: (ok=.*)$", output, re.MULTILINE)
    return {host: {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)", rest)} for host, rest in lines}


def test_what_is_installed_provisions_the_example(
    installed: tuple[Path, dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands, environment = installed
    code = "import paletteops_plane; print(paletteops_plane.__file__)"
    assert run([commands / "python", "-I", "-c", code], environment, tmp_path).startswith(str(commands.parent))
    collection = Path(environment["HOME"], ".ansible/collections/ansible_collections/paletteops/modes")
    monkeypatch.setattr("support.plane.sys.executable", str(commands / "python"))
    monkeypatch.setattr(quickstart, "BIN", commands)
    inventory = collection / "inventory" / "example"
    with RunningPlane(tmp_path / "plane", speed=SPEED, test_controls=False, tls=True) as plane:
        assert plane.ca_file is not None
        connection = {"PALETTE_API_URL": plane.url, "PALETTE_API_KEY": plane.key, "PALETTE_CA_PATH": plane.ca_file}
        listed = run([commands / "ansible-inventory", "-i", inventory, "--list"], environment | connection, tmp_path)
        hosts = set(json.loads(listed[listed.index("{") :])["palette_hosts"]["hosts"])
        agents_of = quickstart.Plane(plane.directory, {"url": plane.url, "ca_file": plane.ca_file})
        play: list[str | Path] = [commands / "ansible-playbook", "paletteops.modes.site", "-i", inventory]
        with quickstart.Agents(tmp_path / "hosts", SPEED, agents_of, sorted(hosts)):
            first = recap(run(play, environment | connection, tmp_path))
            second = recap(run(play, environment | connection, tmp_path))
    clusters = set(first) - hosts
    assert len(clusters) >= 3 and hosts < set(first)
    assert not any(numbers["failed"] for numbers in first.values()), first
    assert all(first[cluster]["changed"] for cluster in clusters), first
    assert {host: numbers["changed"] for host, numbers in second.items()} == dict.fromkeys(first, 0)
