# SPDX-License-Identifier: GPL-3.0-or-later
"""Binaries and images of Kubernetes versions on this host, and our containerd.

A version's binaries lie in a folder of their own, whole or not at all; ``current`` points to the one in use. Images are
imported into containerd and pinned, so that the kubelet's clean-up leaves them until the version goes.
"""

from __future__ import annotations

import shutil
import stat
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from paletteops_agent.engine import EngineError

from . import config, files, services
from .commands import Result, run
from .layout import CONTAINERD_UNIT, Layout
from .probe import HostFacts

BINARIES = (
    "kubeadm",
    "kubelet",
    "kubectl",
    "containerd",
    "containerd-shim-runc-v2",
    "ctr",
    "runc",
    "etcdctl",
    "etcdutl",
)
CNI_PLUGINS = ("bridge", "host-local", "loopback", "portmap")
IMAGES = (
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kube-proxy",
    "etcd",
    "coredns",
    "pause",
)
KEPT_VERSIONS = 2
# for one image: 100 MB took four minutes on an emulated machine, which is slower than any that people run
IMPORT_DEADLINE = 900
NOTE = "payload.json"


def install(layout: Layout, source: Path, version: str, images: Mapping[str, str]) -> None:
    """Put a bundle's binaries in their place. EngineError when the bundle lacks one."""
    place = layout.versions / version
    missing = [f"bin/{name}" for name in BINARIES if not (source / "bin" / name).is_file()]
    missing += [f"cni/{name}" for name in CNI_PLUGINS if not (source / "cni" / name).is_file()]
    missing += [f"images/{name}.tar" for name in IMAGES if not (source / "images" / f"{name}.tar").is_file()]
    missing += [f"image reference {name}" for name in IMAGES if not images.get(name)]
    if missing:
        raise EngineError("BundleIncomplete", f"the bundle of {version} lacks {', '.join(missing)}")
    fresh = layout.versions / f".{version}.new"
    files.remove(fresh)
    for folder in ("bin", "cni"):
        files.clone_tree(source / folder, fresh / folder)
        for item in (fresh / folder).iterdir():
            item.chmod(item.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    files.write_json(fresh / NOTE, {"version": version, "images": dict(images)}, 0o644)
    if place.exists():
        if files.read_json(place / NOTE) is not None and place == layout.current.resolve():
            # the one in use is never taken from under running processes
            shutil.rmtree(fresh)
            return
        files.remove(place)
    fresh.rename(place)


def images_of(layout: Layout, version: str) -> dict[str, str]:
    note = files.read_json(layout.versions / version / NOTE)
    return dict(note.get("images") or {}) if isinstance(note, dict) else {}


def current_version(layout: Layout) -> str | None:
    return layout.current.resolve().name if layout.current.is_symlink() else None


def ensure_containerd(layout: Layout, facts: HostFacts, own_network: bool) -> None:
    """Our containerd runs, with the configuration that the version in use and the host ask for."""
    version = current_version(layout)
    if version is None:
        raise EngineError("NoPayload", "no Kubernetes version is on this host; import a content bundle first")
    pause = images_of(layout, version)["pause"]
    files.private_dir(layout.containerd_root)
    changed = files.write(layout.containerd_config, config.containerd(layout, facts, pause, own_network))
    layout.cni_conf.mkdir(parents=True, exist_ok=True)
    if not own_network:
        Path("/etc/cni/net.d").mkdir(parents=True, exist_ok=True)
    changed = services.install(layout, [CONTAINERD_UNIT]) or changed
    services.enable(CONTAINERD_UNIT)
    if changed and services.active(CONTAINERD_UNIT):
        services.restart(CONTAINERD_UNIT)
    services.start(CONTAINERD_UNIT)


def ctr(layout: Layout, *words: str, deadline: float = 60.0, check: bool = True) -> Result:
    return run(
        [layout.bin / "ctr", "--address", layout.containerd_socket, "--namespace", "k8s.io", *words],
        deadline=deadline,
        check=check,
        reason="ContainerdFailed",
        path=layout.bin,
    )


def image_names(layout: Layout) -> list[str]:
    listed = ctr(layout, "images", "ls", "-q", check=False, deadline=20)
    return listed.out.split() if listed.ok else []


def import_images(layout: Layout, source: Path, version: str, facts: HostFacts, report: Callable[[str], None]) -> None:
    wanted = images_of(layout, version)
    for place, name in enumerate(IMAGES, 1):
        report(f"importing images ({place} of {len(IMAGES)})")
        ctr(
            layout,
            "images",
            "import",
            "--snapshotter",
            facts.snapshotter,
            str(source / "images" / f"{name}.tar"),
            deadline=IMPORT_DEADLINE,
        )
    present = set(image_names(layout))
    missing = sorted(set(wanted.values()) - present)
    if missing:
        raise EngineError(
            "BundleImages", f"the bundle of {version} names images that it does not hold: {', '.join(missing)}"
        )
    for reference in wanted.values():
        # the kubelet's clean-up of images leaves pinned ones alone
        ctr(layout, "images", "label", reference, "io.cri-containerd.pinned=pinned", deadline=20)
    files.write_json(layout.imported_marker(version), wanted)


def complete(layout: Layout, version: str) -> bool:
    """Binaries and images of a version are here; asks containerd where it runs."""
    return version in all_complete(layout, [version])


def all_complete(layout: Layout, versions: Sequence[str] | None = None) -> list[str]:
    """Which of the versions (default: all that are here) are whole."""
    noted = {name: images_of(layout, name) for name in (held(layout) if versions is None else versions)}
    found = [name for name, images in noted.items() if images and layout.imported_marker(name).exists()]
    if not found or not services.active(CONTAINERD_UNIT):
        return found
    present = set(image_names(layout))
    return [name for name in found if set(noted[name].values()) <= present]


def held(layout: Layout) -> list[str]:
    if not layout.versions.is_dir():
        return []
    return sorted(item.name for item in layout.versions.iterdir() if item.is_dir() and not item.name.startswith("."))


def prune(layout: Layout, used: str) -> None:
    """Remove versions older than the one in use and the one before it."""
    older = sorted((name for name in held(layout) if version_key(name) < version_key(used)), key=version_key)
    kept = {
        reference for name in held(layout) if name not in older[:-1] for reference in images_of(layout, name).values()
    }
    for name in older[: -(KEPT_VERSIONS - 1)]:
        for reference in images_of(layout, name).values():
            if reference not in kept:
                ctr(layout, "images", "rm", reference, check=False)
        files.remove(layout.imported_marker(name))
        files.remove(layout.versions / name)


def version_key(version: str) -> tuple[int, ...]:
    return tuple(int(part) if part.isdigit() else 0 for part in version.lstrip("v").split("."))
