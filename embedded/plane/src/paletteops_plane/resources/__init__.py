# SPDX-License-Identifier: GPL-3.0-or-later
"""The resources of the management API: one module each, with its rules and its handlers."""

from __future__ import annotations

from importlib import import_module

#: The modules that bind handlers to operations.
MODULES = (
    "paletteops_plane.resources.health",
    "paletteops_plane.resources.users",
    "paletteops_plane.resources.projects",
    "paletteops_plane.resources.accounts",
    "paletteops_plane.resources.gateways",
    "paletteops_plane.resources.registries",
    "paletteops_plane.resources.packs",
    "paletteops_plane.resources.profiles",
    "paletteops_plane.resources.clusters",
    "paletteops_plane.resources.cluster_profiles",
    "paletteops_plane.resources.cluster_validation",
    "paletteops_plane.resources.cloudconfigs",
    "paletteops_plane.resources.cluster_access",
    "paletteops_plane.resources.cluster_definition",
    "paletteops_plane.resources.edge_clusters",
    "paletteops_plane.resources.edge_tokens",
    "paletteops_plane.resources.edge_hosts",
    "paletteops_plane.resources.edge_host_search",
    "paletteops_plane.resources.host_logs",
    "paletteops_plane.resources.events",
    "paletteops_plane.resources.dashboard",
)


def load() -> None:
    """Import every module that binds handlers."""
    for module in MODULES:
        import_module(module)
