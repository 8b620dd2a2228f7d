# SPDX-License-Identifier: GPL-3.0-or-later
"""Content bundles: what they are made of, how images and bundles are written, and what is said where that cannot be."""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import re
import shutil
import stat
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from support.collection import REPOSITORY

sys.path.insert(0, str(REPOSITORY / "tools"))

import payload

DATA = payload.load_releases()
VERSIONS = payload.known_versions(DATA)

needs_programs = pytest.mark.skipif(
    not (shutil.which("zstd") and shutil.which("openssl")), reason="zstd and openssl write bundles"
)


# -- pins ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_each_release_is_pinned_whole(version: str) -> None:
    wanted = payload.release(DATA, version)
    for project in wanted.projects:
        text = (project.folder / "go.mod").read_text("utf-8")
        tools = re.findall(r"(?m)^(?:tool|\t)\s*(\S+/\S+)$", text)
        assert set(project.commands.values()) <= set(tools), project.folder
        for module in (project.module, *project.also):
            assert f"{module} v{project.version}" in text, project.folder
            assert f"{module} v{project.version} h1:" in (project.folder / "go.sum").read_text("utf-8")


@pytest.mark.parametrize("version", VERSIONS)
def test_each_binary_has_its_place(version: str) -> None:
    wanted = payload.release(DATA, version)
    binaries = {name for project in wanted.projects for name in project.commands} | {"pause"}
    assert set(wanted.paths) | {plan.name for plan in wanted.images} == binaries


def test_what_versions_share_has_one_folder() -> None:
    folders = [{project.folder.name for project in payload.release(DATA, version).projects} for version in VERSIONS]
    unused = {path.name for path in payload.MODULES.iterdir()} - set().union(*folders)
    assert not unused, "no release names them"


def test_references_are_those_of_the_release() -> None:
    images = {plan.name: plan.reference for plan in payload.release(DATA, "v1.36.3").images}
    assert images["kube-proxy"] == "registry.k8s.io/kube-proxy:v1.36.3"
    assert images["etcd"] == "registry.k8s.io/etcd:3.6.8-0"
    assert images["coredns"] == "registry.k8s.io/coredns/coredns:v1.14.2"


def test_an_unknown_version_names_the_known_ones() -> None:
    with pytest.raises(payload.PayloadError, match=r"no pins for Kubernetes 1\.20\.0: take one of .*1\.36\.3"):
        payload.release(DATA, "1.20.0")


def test_the_version_is_stamped_into_kubernetes() -> None:
    kubernetes = payload.release(DATA, "1.36.3").projects[0]
    assert "-X k8s.io/component-base/version.gitVersion=v1.36.3" in kubernetes.linker_flags()
    assert "-X k8s.io/component-base/version.gitMinor=36" in kubernetes.linker_flags()


# -- what this machine lacks -------------------------------------------------------------------------------------------


def test_all_that_is_missing_is_named_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(payload, "search_path", lambda: str(tmp_path))
    with pytest.raises(payload.PayloadError) as caught:
        payload.require(["go", "zstd", "nft"])
    assert str(caught.value) == (
        "building a bundle needs go, zstd, nft; on Debian: apt install nftables zstd; install Go, or take the "
        "projects' release files (--from FOLDER), or a bundle that was built elsewhere"
    )
    assert "\n" not in str(caught.value)


def test_an_older_go_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payload, "_run", lambda *_: "go1.21.3\n")
    with pytest.raises(payload.PayloadError, match=r"need Go 1\.26\.0, this is 1\.21\.3: .*GOTOOLCHAIN=auto"):
        payload.check_go(payload.release(DATA, "1.36.3").projects)


def test_a_key_that_is_not_there_is_named(tmp_path: Path) -> None:
    options = payload.parse(["--key", str(tmp_path / "none.pem")])
    with pytest.raises(payload.PayloadError, match=r"there is no key .*none\.pem"):
        payload.run(options)


@pytest.mark.parametrize(
    ("set_to", "expected"),
    [
        ({"PALETTEOPS_CACHE": "/a"}, "/a/payload"),
        ({"PALETTEOPS_CACHE": "", "XDG_CACHE_HOME": "/b"}, "/b/paletteops/payload"),
        ({"PALETTEOPS_CACHE": "", "XDG_CACHE_HOME": "", "HOME": "/c"}, "/c/.cache/paletteops/payload"),
    ],
)
def test_the_cache_lies_outside_the_work_tree(
    monkeypatch: pytest.MonkeyPatch, set_to: dict[str, str], expected: str
) -> None:
    for name, value in set_to.items():
        monkeypatch.setenv(name, value)
    assert payload.cache_folder() == Path(expected)


# -- images ------------------------------------------------------------------------------------------------------------


def test_an_image_holds_what_runtimes_import(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(b"#!")
    config = {"Entrypoint": ["/usr/local/bin/program"]}
    written = []
    for name in ("one.tar", "two.tar"):
        payload.write_image(
            tmp_path / name, "example.invalid/program:1", {"usr/local/bin/program": program}, config, "amd64"
        )
        written.append((tmp_path / name).read_bytes())
    assert written[0] == written[1], "the same input gives the same bytes"

    with tarfile.open(tmp_path / "one.tar") as tar:
        files = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
    (entry,) = json.loads(files["manifest.json"])
    assert entry["RepoTags"] == ["example.invalid/program:1"]
    body = files[entry["Config"]]
    assert entry["Config"] == f"{hashlib.sha256(body).hexdigest()}.json"
    image = json.loads(body)
    assert (image["architecture"], image["config"]["Entrypoint"]) == ("amd64", ["/usr/local/bin/program"])
    (layer,) = entry["Layers"]
    assert image["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(files[layer]).hexdigest()}"]
    with tarfile.open(fileobj=io.BytesIO(files[layer])) as tar:
        modes = {member.name: member.mode for member in tar}
    assert modes["usr/local/bin/program"] == 0o755
    assert modes["tmp"] == 0o1777
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.tar", "program", "two.tar"]


def test_a_program_brings_its_libraries() -> None:
    files = payload.with_libraries("openssl") if shutil.which("openssl") else {}
    if not files:
        pytest.skip("a program of this machine is needed")
    assert files["usr/sbin/openssl"].is_file()
    assert any("libc.so" in name or "libc.musl" in name for name in files)
    assert all(path.is_file() for path in files.values())


# -- bundles -----------------------------------------------------------------------------------------------------------


class Bundle:
    """A small release whose binaries are texts."""

    def __init__(self, folder: Path) -> None:
        self.cache, self.output, self.key = folder / "cache", folder / "out", folder / "cache" / "signing.pem"
        project = payload.Project("kubernetes", "1.2.3", "m", {"kubeadm": "p", "kube-apiserver": "p"})
        image = payload.ImagePlan("kube-apiserver", "example.invalid/kube-apiserver:v1.2.3")
        self.release = payload.Release("1.2.3", (project,), (image,), {"kubeadm": "bin/kubeadm"}, "1")
        self.texts = {"kubeadm": "one", "kube-apiserver": "two"}

    def make(self) -> Path:
        self.cache.mkdir(exist_ok=True)
        binaries = {}
        for name, text in self.texts.items():
            path = self.cache / name
            path.write_text(text, "ascii")
            binaries[name] = payload.Built(path, f"{name}-{text}")
        key = payload.signing_key(self.key)
        return payload.assemble(self.release, binaries, self.cache, self.output, key, payload.Progress())


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return Bundle(tmp_path)


@needs_programs
def test_a_bundle_is_described_signed_and_in_order(bundle: Bundle) -> None:
    path = bundle.make()
    assert path.name == f"edge-k8s-1.2.3-{payload.architecture()}.tar.zst"
    description, raw, signature = payload.read_description(path)
    assert payload.verifies(raw, signature, bundle.output / payload.PUBLIC_KEY)
    assert not payload.verifies(raw + b" ", signature, bundle.output / payload.PUBLIC_KEY)
    assert (description["format"], description["name"], description["version"]) == (1, "edge-k8s", "1.2.3")
    assert description["serial"] == 1
    assert description["kubernetes"] == {"images": {"kube-apiserver": "example.invalid/kube-apiserver:v1.2.3"}}

    plain = subprocess.run(["zstd", "-dcq", str(path)], capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(plain)) as tar:
        members = [(member.name, tar.extractfile(member).read(), member.mode) for member in tar]  # type: ignore[union-attr]
    assert [name for name, _, _ in members] == ["bundle.json", "bundle.json.sig", *description["members"]]
    for name, content, mode in members[2:]:
        listed = description["members"][name]
        assert listed == {
            "size": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
            "mode": f"{mode:04o}",
        }


@needs_programs
def test_the_private_key_is_its_owners_alone(bundle: Bundle) -> None:
    bundle.make()
    assert stat.S_IMODE(bundle.key.stat().st_mode) == 0o600
    public = (bundle.output / payload.PUBLIC_KEY).read_text("ascii")
    assert public.startswith("-----BEGIN PUBLIC KEY-----")


@needs_programs
def test_a_bundle_that_holds_the_same_is_kept_and_another_has_the_next_serial(bundle: Bundle) -> None:
    path = bundle.make()
    first = path.stat()
    assert bundle.make().stat().st_mtime_ns == first.st_mtime_ns
    bundle.texts["kubeadm"] = "three"
    bundle.make()
    assert payload.read_description(path)[0]["serial"] == 2


@needs_programs
def test_another_key_signs_anew(bundle: Bundle) -> None:
    path = bundle.make()
    bundle.key = bundle.cache / "other.pem"
    bundle.make()
    _, raw, signature = payload.read_description(path)
    assert payload.verifies(raw, signature, bundle.output / payload.PUBLIC_KEY)


@needs_programs
def test_what_is_no_bundle_is_replaced(bundle: Bundle) -> None:
    path = bundle.make()
    path.write_bytes(b"broken")
    assert payload.read_description(bundle.make())[0]["version"] == "1.2.3"


# -- release files ----------------------------------------------------------------------------------------------------


class ReleaseFiles:
    """A folder as somebody fills it from what the projects publish."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.sums = folder, dict[str, str]()

    def add(self, name: str, content: bytes) -> None:
        (self.folder / name).write_bytes(content)
        self.sums[name] = hashlib.sha256(content).hexdigest()

    def archive(self, name: str, members: dict[str, bytes]) -> None:
        target = io.BytesIO()
        with tarfile.open(fileobj=target, mode="w:gz") as tar:
            for path, content in members.items():
                entry = tarfile.TarInfo(path)
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
        self.add(name, target.getvalue())

    def close(self) -> Path:
        lines = [f"{digest}  {name}\n" for name, digest in self.sums.items()]
        (self.folder / payload.CHECKSUMS).write_text("".join(lines), "ascii")
        return self.folder


@pytest.fixture
def files(tmp_path: Path) -> ReleaseFiles:
    folder = tmp_path / "files"
    folder.mkdir()
    made = ReleaseFiles(folder)
    made.add("kubeadm", b"a")
    made.add("runc.amd64", b"r")
    made.archive("etcd-v3-linux-amd64.tar.gz", {"etcd-v3/etcd": b"e", "etcd-v3/README.md": b"-"})
    return made


def test_binaries_are_found_in_files_and_archives(files: ReleaseFiles, tmp_path: Path) -> None:
    found = payload.from_release_files(files.close(), ["kubeadm", "runc", "etcd"], tmp_path / "cache", "amd64")
    assert {name: built.path.read_bytes() for name, built in found.items()} == {
        "kubeadm": b"a",
        "runc": b"r",
        "etcd": b"e",
    }


def test_what_no_file_holds_is_named(files: ReleaseFiles, tmp_path: Path) -> None:
    with pytest.raises(payload.PayloadError, match="holds bridge, kubelet: add the release files"):
        payload.from_release_files(files.close(), ["kubeadm", "kubelet", "bridge"], tmp_path / "cache", "amd64")


def test_a_file_that_is_not_what_is_pinned_is_refused(files: ReleaseFiles, tmp_path: Path) -> None:
    folder = files.close()
    (folder / "kubeadm").write_bytes(b"other")
    with pytest.raises(payload.PayloadError, match=r"kubeadm has the SHA-256 \w{64}, but .*SHA256SUMS says \w{64}"):
        payload.from_release_files(folder, ["kubeadm"], tmp_path / "cache", "amd64")
    assert not (tmp_path / "cache").exists()


def test_a_folder_without_checksums_is_refused(files: ReleaseFiles, tmp_path: Path) -> None:
    with pytest.raises(payload.PayloadError, match=r"there is no .*SHA256SUMS: write one"):
        payload.from_release_files(files.folder, ["kubeadm"], tmp_path / "cache", "amd64")


@pytest.mark.parametrize("line", ["abc  kubeadm", f"{'0' * 64}  ../kubeadm", f"{'0' * 64}"])
def test_a_line_that_pins_nothing_is_refused(files: ReleaseFiles, line: str) -> None:
    folder = files.close()
    (folder / payload.CHECKSUMS).write_text(line + "\n", "ascii")
    with pytest.raises(payload.PayloadError, match="a line that is not 'SHA-256  FILE'"):
        payload.read_checksums(folder)


def test_a_file_that_is_listed_and_missing_is_named(files: ReleaseFiles) -> None:
    folder = files.close()
    (folder / "kubeadm").unlink()
    with pytest.raises(payload.PayloadError, match="lists kubeadm, which is not there"):
        payload.read_checksums(folder)


def test_versions_are_listed_without_building(capsys: pytest.CaptureFixture[str]) -> None:
    assert payload.run(argparse.Namespace(list=True)) == []
    assert capsys.readouterr().out.split() == VERSIONS
