# SPDX-License-Identifier: GPL-3.0-or-later
"""Versions side by side on a host: what stays, and what goes after an upgrade. The images are not looked at here."""

from __future__ import annotations

from pathlib import Path

import pytest

from paletteops_agent.engine import EngineError
from paletteops_agent.engine.kubeadm import payload
from paletteops_agent.engine.kubeadm.layout import Layout

IMAGES = {name: f"registry.k8s.io/{name}:1" for name in payload.IMAGES}


def bundle(folder: Path, version: str) -> Path:
    """An unpacked bundle whose files say which version they are of."""
    names = [f"bin/{name}" for name in payload.BINARIES] + [f"cni/{name}" for name in payload.CNI_PLUGINS]
    for name in [*names, *(f"images/{name}.tar" for name in payload.IMAGES)]:
        path = folder / version / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(version)
    return folder / version


def install(layout: Layout, folder: Path, *versions: str) -> None:
    for version in versions:
        payload.install(layout, bundle(folder, version), version, IMAGES)


def test_the_next_version_lies_beside_the_one_in_use(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "root")
    install(layout, tmp_path, "1.35.4")
    layout.current.symlink_to(layout.versions / "1.35.4")
    install(layout, tmp_path, "1.36.3")
    assert payload.held(layout) == ["1.35.4", "1.36.3"] and payload.current_version(layout) == "1.35.4"
    assert (layout.bin / "kubelet").read_text() == "1.35.4"
    assert (layout.versions / "1.36.3/bin/kubelet").read_text() == "1.36.3"
    payload.prune(layout, "1.35.4")
    assert payload.held(layout) == ["1.35.4", "1.36.3"], "what is to come is no version to remove"


def test_after_an_upgrade_the_version_before_stays_and_older_ones_go(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "root")
    install(layout, tmp_path, "1.34.9", "1.35.4", "1.36.3", "1.36.4")
    payload.prune(layout, "1.36.3")
    assert payload.held(layout) == ["1.35.4", "1.36.3", "1.36.4"]


def test_a_bundle_that_lacks_something_changes_nothing(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "root")
    install(layout, tmp_path, "1.35.4")
    (bundle(tmp_path, "1.36.3") / "bin/kubelet").unlink()
    with pytest.raises(EngineError, match=r"BundleIncomplete: the bundle of 1\.36\.3 lacks bin/kubelet"):
        payload.install(layout, tmp_path / "1.36.3", "1.36.3", IMAGES)
    assert payload.held(layout) == ["1.35.4"]
