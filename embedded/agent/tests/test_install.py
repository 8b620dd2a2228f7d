# SPDX-License-Identifier: GPL-3.0-or-later
"""Installation and uninstallation below a root of the test's own, with the built file, as another process; identity."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bundles import Keys, Maker
from support import FakePlane, user_data

from paletteops_agent import identity, install, stages
from paletteops_agent.identity import IdentityError
from paletteops_agent.paths import Paths
from paletteops_agent.userdata import parse

ROOT = Path(__file__).resolve().parents[3]
TOOL = ROOT / "tools/agent.py"


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file that is brought to hosts."""
    if not TOOL.exists():
        pytest.skip("the tool that builds the file is not here")
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, str(TOOL), str(folder)], check=True, capture_output=True)
    return folder / "palette-agent-linux-amd64"


class Machine:
    """A tree that stands for a host, and the program that runs on it."""

    def __init__(self, folder: Path, program: Path) -> None:
        self.root = folder / "machine"
        self.root.mkdir()
        (self.root / "etc").mkdir()
        (self.root / "etc/machine-id").write_text("0123456789abcdef0123456789abcdef\n")
        self.program = program
        self.user_data = folder / "given"
        self.user_data.write_text(with_engine(user_data("plane.example")))

    def run(self, *arguments: str, fails: bool = False, **environment: str) -> str:
        # as a module, whose bytecode is kept, where it makes no difference
        command = [sys.executable, "-m", "paletteops_agent", *arguments, "--stylus-root", str(self.root)]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=60, env={**os.environ, **environment}, check=False
        )
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        if fails:
            assert len(done.stderr.strip().splitlines()) == 1 and done.stderr.startswith("error: "), done.stderr
            return done.stderr
        return done.stdout

    def install(self, **more: Any) -> str:
        return self.run("install", "--source", f"file:{self.program}", "--config", str(self.user_data), **more)

    def files(self) -> dict[str, str]:
        return {
            str(path.relative_to(self.root)): path.read_text(errors="replace")
            for path in sorted(self.root.rglob("*"))
            if path.is_file()
        }


def with_configuration(content: str, **more: str) -> str:
    file = {"path": "/etc/spectro/paletteops-agent.yaml", "content": content, **more}
    stages = {"boot": [{"files": [file]}]}
    return "#cloud-config\n" + json.dumps(
        {**json.loads(user_data("plane.example").partition("\n")[2]), "stages": stages}
    )


def with_engine(text: str, **stages_of: Any) -> str:
    content = json.loads(text.partition("\n")[2])
    engine = {"path": "/etc/spectro/paletteops-agent.yaml", "content": "engine: simulated\n"}
    content["stages"] = {"initramfs": [{"name": "engine", "files": [engine]}], **stages_of}
    return "#cloud-config\n" + json.dumps(content)


@pytest.fixture
def machine(tmp_path: Path, program: Path) -> Iterator[Machine]:
    yield Machine(tmp_path, program)


def test_the_built_file_is_self_contained(program: Path) -> None:
    done = subprocess.run([str(program), "version"], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == __import__("paletteops_agent").__version__
    digest = subprocess.run(
        ["sha256sum", "--check", "--status", f"{program.name}.sha256"], cwd=program.parent, check=False
    )
    assert digest.returncode == 0
    names = zipfile.ZipFile(program).namelist()
    assert "yaml/__init__.py" in names and not any(name.endswith((".so", ".pyc")) for name in names)


def test_the_built_file_is_the_same_when_built_again(program: Path, tmp_path: Path) -> None:
    subprocess.run([sys.executable, str(TOOL), str(tmp_path)], check=True, capture_output=True)
    for path in program.parent.iterdir():
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()


def interpreters() -> list[str]:
    found = sorted(Path.home().glob(".pyenv/versions/*/bin/python3.[0-9]*"))
    return [str(path) for path in found if path.name in ("python3.9", "python3.12")]


@pytest.mark.skipif(not interpreters(), reason="no other Python is here")
@pytest.mark.parametrize("python", interpreters())
def test_the_built_file_runs_on_the_pythons_of_hosts(python: str, machine: Machine) -> None:
    command = [python, str(machine.program), "install", "--source", f"file:{machine.program}"]
    command += ["--config", str(machine.user_data), "--stylus-root", str(machine.root)]
    assert "is installed" in subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


def test_what_is_put_on_a_host(machine: Machine) -> None:
    said = machine.install()
    assert "is installed" in said
    files = machine.files()
    assert set(files) >= {
        "opt/spectrocloud/bin/palette-agent",
        "opt/spectrocloud/state/setup_done",
        "etc/spectro/environment",
        "oem/userdata",
        "etc/systemd/system/spectro-palette-agent-start.service",
        "etc/systemd/system/spectro-palette-agent-initramfs.service",
        "etc/systemd/system/spectro-palette-agent-boot.service",
        "etc/systemd/system/spectro-palette-agent-network.service",
        "etc/systemd/system/spectro.slice",
    }
    assert files["etc/spectro/environment"] == f"STYLUS_ROOT={machine.root}\n"
    assert (machine.root / "oem/userdata").stat().st_mode & 0o777 == 0o600
    assert os.access(machine.root / "opt/spectrocloud/bin/palette-agent", os.X_OK)
    link = machine.root / "etc/systemd/system/multi-user.target.wants/spectro-palette-agent-start.service"
    assert os.readlink(link) == "/etc/systemd/system/spectro-palette-agent-start.service"


def test_a_second_installation_changes_nothing(machine: Machine) -> None:
    machine.install()
    before = machine.files()
    assert "as before" in machine.install()
    assert machine.files() == before


def test_new_user_data_for_an_installation(machine: Machine) -> None:
    machine.install()
    machine.user_data.write_text(with_engine(user_data("other.example")))
    assert "(user-data changed)" in machine.install()
    assert "other.example" in machine.files()["oem/userdata"]
    assert "as before" in machine.run("install", "--source", f"file:{machine.program}"), "what is kept is taken"


def test_uninstallation_leaves_nothing(machine: Machine) -> None:
    before = machine.files()
    machine.install()
    machine.run("stage", "initramfs")
    assert "etc/spectro/paletteops-agent.yaml" in machine.files()
    listed = machine.run("uninstall", "--force", "--dry-run")
    assert "remove " + str(machine.root / "oem/userdata") in listed
    assert "remove " + str(machine.root / "etc/spectro/paletteops-agent.yaml") in listed
    assert len(machine.files()) > len(before), "a dry run touches nothing"
    machine.run("uninstall", "--force")
    assert machine.files() == before
    assert sorted(os.listdir(machine.root)) == ["etc"]
    assert os.listdir(machine.root / "etc") == ["machine-id"]
    assert "no agent is installed" in machine.run("uninstall", "--force")


def test_what_was_there_before_is_put_back(machine: Machine) -> None:
    motd = machine.root / "etc/motd"
    motd.write_text("before\n")
    motd.chmod(0o640)
    (machine.root / "etc/environment").write_text("LANG=C\n")
    (machine.root / "opt/spectrocloud").mkdir(parents=True)
    (machine.root / "opt/spectrocloud/mine").write_text("x")
    before = machine.files()
    step = {
        "name": "files",
        "files": [
            {"path": "/etc/motd", "content": "after\n"},
            {"path": "/srv/a/b", "content": "aGk=", "encoding": "b64"},
        ],
        "directories": [{"path": "/srv/data", "permissions": "0700"}],
        "environment": {"EDITOR": "vi"},
    }
    machine.user_data.write_text(with_engine(user_data("plane.example"), boot=[step]))
    machine.install()
    machine.run("stage", "boot")
    files = machine.files()
    assert files["etc/motd"] == "after\n"
    assert files["srv/a/b"] == "hi"
    assert files["etc/environment"] == 'LANG=C\nEDITOR="vi"\n'
    machine.run("uninstall", "--force")
    assert machine.files() == before
    assert motd.stat().st_mode & 0o777 == 0o640
    assert not (machine.root / "srv").exists()


def test_an_interrupted_uninstallation_is_gone_on_with(machine: Machine) -> None:
    before = machine.files()
    machine.install()
    (machine.root / "opt/spectrocloud/state/setup_done").unlink()
    (machine.root / "opt/spectrocloud/bin/palette-agent").unlink()
    machine.run("uninstall", "--force")
    assert machine.files() == before


def test_a_host_in_a_cluster_is_left_alone_without_force(machine: Machine) -> None:
    machine.install()
    state = {"format": 1, "cluster_uid": "c", "cluster_name": "shop", "member": True}
    (machine.root / "opt/spectrocloud/state/journal.json").write_text(json.dumps(state))
    assert "is in the cluster shop" in machine.run("uninstall", fails=True)
    assert (machine.root / "oem/userdata").exists()
    machine.run("uninstall", "--force")
    assert not (machine.root / "oem").exists()


@pytest.mark.parametrize(
    "path", ["opt/spectrocloud/bin/palette-agent", "etc/systemd/system/spectro-palette-agent-bootstrap.service"]
)
def test_a_host_with_the_other_implementation(path: str, machine: Machine) -> None:
    other = machine.root / path
    other.parent.mkdir(parents=True)
    other.write_text("\x7fELF")
    before = machine.files()
    assert "of another agent" in machine.install(fails=True) or "is another agent" in machine.install(fails=True)
    assert "another agent" in machine.run("uninstall", "--force", fails=True)
    assert machine.files() == before


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("us-docker.pkg.dev/edge/stylus:v1", "does not pull images"),
        ("dir:/nowhere", "there is no palette-agent in it"),
        ("file:/nowhere", "there is no such file"),
        ("file:/etc/passwd", "is not the embedded agent"),
    ],
)
def test_sources_that_do_not_do(source: str, said: str, machine: Machine) -> None:
    before = machine.files()
    assert said in machine.run("install", "--source", source, "--config", str(machine.user_data), fails=True)
    assert machine.files() == before


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("#cloud-config\nstylus: [", "it is not YAML"),
        ("#cloud-config\nstylus: {managementMode: remote}", "allowed are 'central', 'local'"),
        ("#cloud-config\nstylus: {}", "stylus.site.paletteEndpoint is missing"),
        ("#cloud-config\nstages: {boot: [{users: {}}]}", "stages.boot[0].users is not supported"),
        ("\xff\xfe", "first line must be #cloud-config"),
        (user_data("plane.example", caCerts=["bm9uc2Vuc2U="]), "stylus.site.caCerts[0] holds no certificate"),
        (user_data("plane.example", "a token"), "stylus.site.edgeHostToken must be"),
        (with_configuration("S3CRET!!", encoding="base64"), "stages.boot[0].files[0].content is no base64"),
        (with_configuration("engine: docker"), "engine is 'docker'; allowed are kubeadm, simulated"),
        (with_configuration("content: {public_key: mine}"), "content.public_key is no public key in PEM form"),
    ],
)
def test_user_data_that_does_not_do_stops_before_anything(text: str, said: str, machine: Machine) -> None:
    machine.user_data.write_text(text)
    before = machine.files()
    assert said in machine.install(fails=True)
    assert machine.files() == before


def test_no_user_data(machine: Machine) -> None:
    said = machine.run("install", "--source", f"file:{machine.program}", fails=True)
    assert "there is no user-data: give --config FILE" in said


def test_all_findings_at_once(machine: Machine, tmp_path: Path) -> None:
    machine.user_data.write_text("hello")
    empty = tmp_path / "empty"
    empty.mkdir()
    said = machine.install(fails=True, PATH=str(empty))
    for part in ("#cloud-config", "no openssl", "no zstd"):
        assert part in said


def test_an_unsupported_architecture(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "ppc64le")
    with pytest.raises(install.InstallError, match="the architecture ppc64le is not supported"):
        install.install(Paths(machine.root), f"file:{machine.program}", machine.user_data, print)
    assert list(machine.files()) == ["etc/machine-id"]


def test_another_init_system(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Looked at on the running system only; nothing is written, since there are findings."""
    monkeypatch.setattr(Path, "is_dir", lambda self: str(self) != "/run/systemd/system")
    monkeypatch.setattr(Paths, "is_system", property(lambda self: True))
    with pytest.raises(install.InstallError, match="the init system is not systemd"):
        install.install(Paths(machine.root), f"file:{machine.program}", machine.user_data, print)
    assert list(machine.files()) == ["etc/machine-id"]


def test_a_folder_with_content_as_the_source(machine: Machine, tmp_path: Path) -> None:
    keys = Keys(tmp_path / "keys")
    source = tmp_path / "source"
    source.mkdir()
    (source / "palette-agent").write_bytes(machine.program.read_bytes())
    (tmp_path / "made").mkdir()
    bundle = Maker(tmp_path / "made", keys).make()
    (source / bundle.name).write_bytes(bundle.read_bytes())
    configuration = json.dumps({"engine": "simulated", "content": {"public_key": keys.public}})
    text = user_data("plane.example")
    content = json.loads(text.partition("\n")[2])
    file = {"path": "/etc/spectro/paletteops-agent.yaml", "content": configuration}
    content["stages"] = {"initramfs": [{"files": [file]}]}
    machine.user_data.write_text("#cloud-config\n" + json.dumps(content))
    said = machine.run("install", "--source", f"dir:{source}", "--config", str(machine.user_data))
    assert "edge-k8s 1.35.4 is verified" in said
    assert list((machine.root / "opt/spectrocloud/content").glob("edge-k8s-1.35.4-*/bin/kubelet"))
    machine.run("content-extract", "--source", str(bundle))
    bundle.write_bytes(bundle.read_bytes()[:-100])
    assert "BundleTruncated" in machine.run("content-extract", "--source", str(bundle), fails=True)
    machine.run("uninstall", "--force")
    assert list(machine.files()) == ["etc/machine-id"]


def test_the_archive_for_hosts_without_a_network(program: Path, tmp_path: Path) -> None:
    subprocess.run(
        ["tar", "-xf", str(program.with_name("agent-mode-linux-amd64.tar")), "-C", str(tmp_path)], check=True
    )
    assert (tmp_path / "opt/spectrocloud/bin/palette-agent").read_bytes() == program.read_bytes()
    assert (tmp_path / "var/lib/spectro/stylus/palette-agent").read_bytes() == program.read_bytes()
    link = tmp_path / "etc/systemd/system/multi-user.target.wants/spectro-init.service"
    assert os.readlink(link) == "/etc/systemd/system/spectro-init.service"


def test_what_an_archive_put_there_goes_as_well(machine: Machine) -> None:
    before = machine.files()
    archive = machine.program.with_name("agent-mode-linux-amd64.tar")
    subprocess.run(["tar", "-xf", str(archive), "-C", str(machine.root)], check=True)
    source = f"dir:{machine.root}/var/lib/spectro/stylus"
    machine.run("install", "--source", source, "--config", str(machine.user_data))
    machine.run("uninstall", "--force")
    assert machine.files() == before
    wants = machine.root / "etc/systemd/system/multi-user.target.wants"
    assert not wants.is_dir() or os.listdir(wants) == []
    assert not (machine.root / "opt/spectrocloud").exists() and not (machine.root / "var/lib/spectro").exists()


def test_start_applies_the_stages_and_ends_on_sigterm(machine: Machine, plane: FakePlane) -> None:
    import signal

    from support import until

    machine.user_data.write_text(with_engine(user_data(plane.url)))
    command = [sys.executable, str(machine.program), "start", "--stylus-root", str(machine.root)]
    command += ["--config", str(machine.user_data)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        until(lambda: plane.observed.get("phase") == "idle" and plane.heartbeats, 30)
        assert "etc/spectro/paletteops-agent.yaml" in machine.files()
    finally:
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=10)
    assert process.returncode == 0
    assert "registered with" in said and "token" not in said


def test_start_refuses_what_is_wrong(machine: Machine) -> None:
    machine.user_data.write_text("#cloud-config\nstylus: {managementMode: local}")
    said = machine.run("start", "--config", str(machine.user_data), fails=True)
    assert "stylus.managementMode is 'local'" in said
    assert list(machine.files()) == ["etc/machine-id"]


# --- identity ---


def uid(root: Path, **site: Any) -> str:
    content = {"stylus": {"site": site}}
    return identity.make_uid(parse("#cloud-config\n" + json.dumps(content)), Paths(root))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/machine-id").write_text("0123456789abcdef0123456789abcdef\n")
    (tmp_path / "serial").write_text("  SN 12/34#edge-abc  \n")
    return tmp_path


def test_the_uid_of_a_host(root: Path) -> None:
    paths = [{"name": "/missing"}, {"name": "/serial", "regex": "edge-[a-z]+"}]
    assert uid(root, name="host-1", deviceUIDPaths=paths) == "host-1"
    assert uid(root, deviceUIDPaths=paths) == "edge-abc"
    assert uid(root, deviceUIDPaths=[{"name": "/serial"}]) == "SN1234edge-abc"
    (root / "odd").write_text("Nº 7\0\x1b[ü]b_1")
    assert uid(root, deviceUIDPaths=[{"name": "/odd"}]) == "N7b_1"
    assert uid(root, deviceUIDPaths=[{"name": "/serial", "regex": "nothing"}]) == (
        "edge-0123456789abcdef0123456789abcdef"
    )
    assert uid(root) == "edge-0123456789abcdef0123456789abcdef"
    assert uid(root, prefix="store") == "store-0123456789abcdef0123456789abcdef"
    assert len(uid(root, prefix="s" * 64)) == 97
    assert uid(root, name="$random") != uid(root, name="$random")


def test_a_host_without_a_machine_id(root: Path) -> None:
    (root / "etc/machine-id").write_text("uninitialized\n")
    with pytest.raises(IdentityError, match=r"run systemd-machine-id-setup, or set stylus\.site\.name"):
        uid(root)


def test_a_random_uid_stays(root: Path) -> None:
    data = parse('#cloud-config\nstylus: {site: {name: "$random"}}')
    (root / "opt/spectrocloud/state").mkdir(parents=True)
    assert identity.load(Paths(root), data).uid == identity.load(Paths(root), data).uid


def tags_of(root: Path, **site: Any) -> dict[str, str]:
    return identity.tags(parse("#cloud-config\n" + json.dumps({"stylus": {"site": site}})), Paths(root))


def test_tags_of_all_three_places(root: Path) -> None:
    (root / "tags").write_text("Location:Mumbai,India; Latitude:48.856614; owner:p78125d; nothing")
    script = root / "script"
    script.write_text('#!/bin/sh\necho \'{"rack": 7, "owner": "script", "spare": true}\'\n')
    script.chmod(0o755)
    found = tags_of(
        root,
        tags={"department": "sales", "rack": 9},
        tagsFromFile={"fileName": "/tags", "delimiter": ";"},
        tagsFromScript={"scriptName": "/script"},
    )
    assert found == {
        "Location": "Mumbai,India",
        "Latitude": "48.856614",
        "owner": "script",
        "spare": "true",
        "rack": "9",
        "department": "sales",
    }


@pytest.mark.parametrize(
    ("script", "said"), [("exit 3", "exit status 3"), ("echo hello", "Expecting value"), ("sleep 9", "timed out")]
)
def test_a_script_for_tags_that_fails(script: str, said: str, root: Path) -> None:
    path = root / "script"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    with pytest.raises(IdentityError, match=f"tagsFromScript: /script failed: .*{said}"):
        tags_of(root, tagsFromScript={"scriptName": "/script", "timeout": 1})


# --- stages ---


def test_a_stage_runs_once_a_boot_unless_it_changed(root: Path) -> None:
    def data(text: str) -> Any:
        steps = [{"name": "x", "files": [{"path": "/etc/x", "content": text}]}]
        return parse("#cloud-config\n" + json.dumps({"stages": {"boot": steps}}))

    paths = Paths(root)
    assert stages.run(data("1"), paths, "boot") is True
    (root / "etc/x").write_text("changed by hand")
    assert stages.run(data("1"), paths, "boot") is False
    assert stages.run(data("2"), paths, "boot") is True
    assert (root / "etc/x").read_text() == "2"


def test_what_touches_the_system_is_left_out_below_a_root(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    steps = [{"name": "x", "commands": [f"touch {root}/ran"], "hostname": "other", "sysctl": {"kernel.panic": 1}}]
    data = parse("#cloud-config\n" + json.dumps({"stages": {"boot": steps}}))
    stages.run(data, Paths(root), "boot")
    assert not (root / "ran").exists()
    assert "step x: commands, sysctl, hostname not carried out" in caplog.text
