# SPDX-License-Identifier: GPL-3.0-or-later
"""Content bundles: a good one, and what bad ones get: a clear error, and nothing left behind."""

from __future__ import annotations

import os
import re
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bundles import MEMBERS, Keys, Maker, compress, entry

from paletteops_agent import content
from paletteops_agent.config import Trust
from paletteops_agent.content import ContentError, InUse, Unpacked
from paletteops_agent.hostinfo import architecture


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return Keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture
def maker(tmp_path: Path, keys: Keys) -> Maker:
    (tmp_path / "made").mkdir()
    return Maker(tmp_path / "made", keys)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "content"


def unpack(path: Path, target: Path, keys: Keys, in_use: InUse | None = None, **trust: Any) -> Unpacked:
    return content.unpack(
        path,
        target,
        Trust(keys.public, **trust),
        architecture(),
        lambda pack, version: in_use or InUse(),
        ("edge-k8s", "1.35.4"),
    )


def refused(reason: str, path: Path, target: Path, keys: Keys, **more: Any) -> str:
    with pytest.raises(ContentError) as caught:
        unpack(path, target, keys, **more)
    assert caught.value.reason == reason, caught.value
    assert not target.exists() or os.listdir(target) == [], "something was left behind"
    return caught.value.message


def test_a_good_bundle(maker: Maker, target: Path, keys: Keys) -> None:
    found = unpack(maker.make(), target, keys)
    assert found.folder == target / f"edge-k8s-1.35.4-{architecture()}"
    assert found.bundle.images == {"pause": "registry.k8s.io/pause:3.10"}
    for name, (data, mode) in MEMBERS.items():
        assert (found.folder / name).read_bytes() == data
        assert oct((found.folder / name).stat().st_mode & 0o7777) == oct(int(mode, 8))
    assert content.unpacked(target, "edge-k8s", "1.35.4", architecture()) == found
    assert content.unpacked(target, "edge-k8s", "1.35.5", architecture()) is None
    assert unpack(maker.make(), target, keys) == found, "again"


CHANGES: dict[str, tuple[str, Callable[[Maker], Any], str]] = {
    "other key": ("SignatureWrong", lambda m: setattr(m, "keys", Keys(m.folder / "other")), "configured public key"),
    "changed after signing": ("SignatureWrong", lambda m: _changed(m), "its content was changed"),
    "unsigned": ("BundleUnsigned", lambda m: setattr(m, "signature", b""), "not signed"),
    "other architecture": ("ArchitectureWrong", lambda m: setattr(m, "arch", "riscv64"), "is for riscv64"),
    "other version": ("BundleUnexpected", lambda m: setattr(m, "version", "1.36.1"), "edge-k8s 1.35.4 was asked for"),
    "other pack": ("BundleUnexpected", lambda m: setattr(m, "name", "edge-rke2"), "this is edge-rke2"),
    "other format": ("FormatUnknown", lambda m: m.manifest.update(format=2), "format is 2; this agent knows 1"),
    "endless serial": ("BundleRefused", lambda m: m.manifest.update(serial=float("inf")), "the serial is inf"),
    "no members": ("BundleRefused", lambda m: m.manifest.update(members=None), "does not hold what it should"),
    "version of a path": ("BundleRefused", lambda m: m.manifest.update(version="../1"), "no name or version"),
    "wrong hash": ("HashWrong", lambda m: m.listed.update({"bin/kubelet": {"sha256": "0" * 64}}), "bin/kubelet"),
    "wrong size": (
        "SizeWrong",
        lambda m: m.listed.update({"bin/kubelet": {"size": 7}}),
        "bytes, and 7 are listed",
    ),
    "negative size": ("BundleRefused", lambda m: m.listed.update({"bin/kubelet": {"size": -1}}), "is -1"),
    "setuid": ("BundleRefused", lambda m: m.listed.update({"bin/kubelet": {"mode": "4755"}}), "mode of bin/kubelet"),
    "path up": ("BundleRefused", lambda m: m.members.update({"bin/../../x": (b"x", "0644")}), "'bin/../../x'"),
    "absolute path": ("BundleRefused", lambda m: m.members.update({"/etc/x": (b"x", "0644")}), "'/etc/x'"),
    "other folder": ("BundleRefused", lambda m: m.members.update({"etc/x": (b"x", "0644")}), "members are below bin"),
    "hidden file": ("BundleRefused", lambda m: m.members.update({"bin/.x": (b"x", "0644")}), "'bin/.x'"),
    "unlisted member": (
        "BundleRefused",
        lambda m: m.more.append(entry("bin/extra", b"x")),
        "'bin/extra' is not",
    ),
    "missing member": ("BundleTruncated", lambda m: setattr(m, "entries", []), "bin/kubelet is missing"),
    "other order": (
        "BundleRefused",
        lambda m: setattr(m, "entries", [entry(n, MEMBERS[n][0]) for n in reversed(MEMBERS)]),
        "'images/pause.tar' stands where 'bin/kubelet' should",
    ),
    "symbolic link": (
        "BundleRefused",
        lambda m: setattr(m, "entries", [entry("bin/kubelet", kind=tarfile.SYMTYPE, linkname="/etc/shadow")]),
        "'bin/kubelet' is a symbolic link",
    ),
    "hard link": (
        "BundleRefused",
        lambda m: setattr(m, "entries", [entry("bin/kubelet", kind=tarfile.LNKTYPE, linkname="/etc/shadow")]),
        "is a link",
    ),
    "device": (
        "BundleRefused",
        lambda m: setattr(m, "entries", [entry("bin/kubelet", kind=tarfile.CHRTYPE, devmajor=1, devminor=5)]),
        "is a device",
    ),
    "folder": ("BundleRefused", lambda m: setattr(m, "entries", [entry("bin", kind=tarfile.DIRTYPE)]), "is a folder"),
    "fifo": (
        "BundleRefused",
        lambda m: setattr(m, "entries", [entry("bin/p", kind=tarfile.FIFOTYPE)]),
        "of the kind '6'",
    ),
    "long name": (
        "BundleRefused",
        lambda m: _long_name(m, tarfile.GNU_FORMAT, "bin/"),
        "of the kind 'L'",
    ),
    "pax header": (
        "BundleRefused",
        lambda m: _long_name(m, tarfile.PAX_FORMAT, "bin/ü"),
        "of the kind 'x'",
    ),
    "something behind": ("BundleRefused", lambda m: setattr(m, "tail", b"x" * 512), "after the archive's end"),
    "endless zeros": ("BundleRefused", lambda m: setattr(m, "tail", b"\0" * (1 << 20)), "the archive does not end"),
    "large manifest": ("BundleRefused", lambda m: m.manifest.update(pad="x" * (5 << 20)), "larger than"),
    "too much": (
        "DiskFull",
        lambda m: m.listed.update({name: {"size": 16 << 30} for name in MEMBERS} | _many(m)),
        "must stay free",
    ),
}


def _long_name(maker: Maker, archive_format: int, begin: str) -> None:
    maker.format = archive_format
    maker.entries = [entry(begin + "x" * 300)]


def _changed(maker: Maker) -> None:
    signed = maker.keys.sign(maker.bundle_json(), maker.folder)
    maker.signature = signed
    maker.serial = 99


def _many(maker: Maker) -> dict[str, dict[str, Any]]:
    """Members that together are larger than any disk here."""
    free = shutil.disk_usage(maker.folder).free
    names = [f"images/{number}.tar" for number in range(free // (16 << 30) + 1)]
    maker.members.update(dict.fromkeys(names, (b"", "0644")))
    return {name: {"size": 16 << 30} for name in names}


@pytest.mark.parametrize("case", CHANGES)
def test_a_bad_bundle(case: str, maker: Maker, target: Path, keys: Keys) -> None:
    reason, change, said = CHANGES[case]
    change(maker)
    assert said in refused(reason, maker.make("bundle.tar.zst"), target, keys)


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.97, 0.999])
def test_a_truncated_file(share: float, maker: Maker, target: Path, keys: Keys) -> None:
    maker.members["images/large.tar"] = (os.urandom(1 << 20), "0644")
    path = maker.make()
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    message = refused("BundleTruncated", path, target, keys)
    assert message.startswith(f"{path.name}: the bundle ends before its content does")
    assert "zstd says: " in message or not share, message
    assert message.endswith("copy it anew from where it is whole")


def test_a_truncated_archive(maker: Maker, target: Path, keys: Keys) -> None:
    maker.folder.joinpath("x.zst").write_bytes(compress(maker.archive()[:-20000]))
    refused("BundleTruncated", maker.folder / "x.zst", target, keys)


def test_a_damaged_file(maker: Maker, target: Path, keys: Keys) -> None:
    maker.members["images/large.tar"] = (os.urandom(1 << 20), "0644")
    path = maker.make()
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 0xFF
    path.write_bytes(damaged)
    with pytest.raises(ContentError) as caught:
        unpack(path, target, keys)
    assert caught.value.reason in ("HashWrong", "BundleDamaged", "BundleTruncated")
    assert os.listdir(target) == []


@pytest.mark.parametrize("data", [b"", b"hello", compress(b"hello" * 1000), compress(b"\0" * 2048)])
def test_what_is_no_bundle(data: bytes, tmp_path: Path, target: Path, keys: Keys) -> None:
    path = tmp_path / "x"
    path.write_bytes(data)
    with pytest.raises(ContentError):
        unpack(path, target, keys)
    assert os.listdir(target) == []


@pytest.mark.parametrize("size", [b"-0000000001\0", b"+0000000001\0", b"0000000_001\0", b"           \0"])
def test_the_size_in_a_header_is_digits_alone(size: bytes, tmp_path: Path, target: Path, keys: Keys) -> None:
    """A size below nothing would read all that follows, before any signature is looked at."""
    header = bytearray(entry("bundle.json")[0].tobuf(tarfile.USTAR_FORMAT))
    header[124:136] = size
    header[148:156] = b"%06o\0 " % (sum(header[:148]) + 8 * 32 + sum(header[156:]))
    path = tmp_path / "signed-by-nobody.tar.zst"
    path.write_bytes(compress(bytes(header) + b"\0" * (1 << 20)))
    assert "a header of the archive cannot be read" in refused("BundleDamaged", path, target, keys)


def test_a_bomb_is_not_unpacked(tmp_path: Path, target: Path, keys: Keys, maker: Maker) -> None:
    """Gigabytes of nothing behind a good beginning: reading stops at what is listed."""
    import subprocess
    import time

    head = maker.archive()[:-1024].rstrip(b"\0")
    path = tmp_path / "bomb"
    with open(path, "wb") as out:
        process = subprocess.Popen(["zstd", "-q", "-c"], stdin=subprocess.PIPE, stdout=out)
        assert process.stdin is not None
        process.stdin.write(head + b"\0" * (-len(head) % 512) + b"\0" * 512)
        for _ in range(256):
            process.stdin.write(b"\1" * (1 << 20))
        process.stdin.close()
        process.wait()
    began = time.monotonic()
    refused("BundleRefused", path, target, keys)
    assert time.monotonic() - began < 5


def test_no_public_key(maker: Maker, target: Path) -> None:
    with pytest.raises(ContentError, match=r"NoPublicKey: .*content\.public_key"):
        content.unpack(maker.make(), target, Trust(), architecture())


def test_unsigned_content_where_the_configuration_allows_it(maker: Maker, target: Path) -> None:
    maker.signature = b""
    content.unpack(maker.make(), target, Trust(allow_unsigned=True), architecture())


def test_a_wrong_signature_is_not_the_same_as_none(maker: Maker, target: Path, keys: Keys) -> None:
    maker.keys = Keys(maker.folder / "other")
    refused("SignatureWrong", maker.make(), target, keys, allow_unsigned=True)


@pytest.mark.parametrize(
    ("in_use", "said"),
    [(InUse("1.36.3", 0), "1.36.3 is in use"), (InUse("1.35.4", 2), "serial 1, and 2"), (InUse("", 5), "and 5")],
)
def test_older_than_what_is_in_use(in_use: InUse, said: str, maker: Maker, target: Path, keys: Keys) -> None:
    path = maker.make()
    assert said in refused("BundleOlder", path, target, keys, in_use=in_use)
    unpack(path, target, keys, in_use, allow_older=True)


def test_not_older(maker: Maker, target: Path, keys: Keys) -> None:
    unpack(maker.make(), target, keys, InUse("1.35.4", 1))


def test_a_full_disk_in_the_middle(maker: Maker, target: Path, keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel's own answer, at a file size limit that stands for the disk."""
    import resource
    import signal

    maker.members["images/large.tar"] = (os.urandom(4 << 20), "0644")
    path = maker.make()
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limits[1]))
    try:
        with pytest.raises(ContentError, match=r"DiskError: File too large"):
            unpack(path, target, keys)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert os.listdir(target) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_disk_that_is_really_full(tmp_path: Path, keys: Keys, maker: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    import subprocess

    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(disk)], capture_output=True).returncode:
        pytest.skip("this machine does not mount")
    try:
        maker.members["images/large.tar"] = (os.urandom(4 << 20), "0644")
        path = maker.make()
        assert "MiB free" in refused("DiskFull", path, disk, keys)
        # what another process fills after the look
        monkeypatch.setattr(content, "_room", lambda *_: None)
        assert "is full; what was unpacked is removed" in refused("DiskFull", path, disk, keys)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_what_a_killed_unpacking_left_goes(target: Path) -> None:
    (target / ".unpacking-abc/bin").mkdir(parents=True)
    (target / "downloads").mkdir()
    content.clean(target)
    assert os.listdir(target) == ["downloads"]


def test_without_zstd(maker: Maker, target: Path, keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    path = maker.make()
    monkeypatch.setenv("PATH", "/nowhere")
    assert re.search("no zstd: install", refused("CommandMissing", path, target, keys))


@pytest.mark.parametrize(
    ("older", "newer"),
    [("1.35.4", "1.35.10"), ("1.9.9", "1.10.0"), ("v1.35.4", "1.36.0"), ("1.36.0-rc.1", "1.36.0")],
)
def test_versions_are_compared_as_numbers(older: str, newer: str) -> None:
    assert content.version_key(older) < content.version_key(newer)
