# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the agent's files lie, below the stylus root: the vendor's names, and below them what is ours alone."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

#: the agent's own units, in the order in which a host starts them
STAGE_UNITS = {
    "initramfs": "spectro-palette-agent-initramfs.service",
    "boot": "spectro-palette-agent-boot.service",
    "network": "spectro-palette-agent-network.service",
}
START_UNIT = "spectro-palette-agent-start.service"
INIT_UNIT = "spectro-init.service"
SLICE = "spectro.slice"


@dataclass(frozen=True)
class Paths:
    root: Path = Path("/")

    @property
    def is_system(self) -> bool:
        """Whether this is the running system, and not a tree below some folder."""
        return os.path.abspath(self.root) == "/"

    def below(self, path: str) -> Path:
        """A path of the host, below the root."""
        return self.root / path.lstrip("/")

    @property
    def binary(self) -> Path:
        return self.root / "opt/spectrocloud/bin/palette-agent"

    @property
    def environment(self) -> Path:
        return self.root / "etc/spectro/environment"

    @property
    def configuration(self) -> Path:
        return self.root / "etc/spectro/paletteops-agent.yaml"

    @property
    def given_user_data(self) -> Path:
        """Where an archive, or whoever prepares a host, leaves user-data for the installation."""
        return self.root / "var/lib/spectro/userdata"

    @property
    def user_data(self) -> Path:
        """Where it is kept."""
        return self.root / "oem/userdata"

    @property
    def units(self) -> Path:
        return self.root / "etc/systemd/system"

    @property
    def state(self) -> Path:
        """0700: what is in here makes the host who it is."""
        return self.root / "opt/spectrocloud/state"

    @property
    def setup_done(self) -> Path:
        return self.state / "setup_done"

    @property
    def installed(self) -> Path:
        """What was put on the host, for the uninstallation."""
        return self.state / "installed.json"

    @property
    def staged(self) -> Path:
        """What stages changed on the host, and what was there before."""
        return self.state / "staged.json"

    @property
    def identity(self) -> Path:
        return self.state / "identity.json"

    @property
    def journal(self) -> Path:
        return self.state / "journal.json"

    @property
    def desired(self) -> Path:
        return self.state / "desired.json"

    @property
    def cluster_definition(self) -> Path:
        """The definition of the host's cluster as the plane gives it out, for people and for the logs."""
        return self.state / "cluster-definition"

    @property
    def lock(self) -> Path:
        return self.state / "agent.lock"

    @property
    def content(self) -> Path:
        return self.root / "opt/spectrocloud/content"
