# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs on a host under test: one call of the engine from standard input, its answer on standard output (JSON)."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

from paletteops_agent.engine import (
    Bundle,
    Cluster,
    Endpoint,
    EngineError,
    JoinMaterial,
    Manifest,
    Member,
    Pack,
    Peer,
    Surroundings,
    Taint,
)
from paletteops_agent.engine.kubeadm import make


def build(kind: str, value: dict[str, Any]) -> Any:
    value = dict(value)
    if kind == "cluster":
        value["endpoint"] = Endpoint(**value["endpoint"])
        value["peers"] = [build("peer", peer) for peer in value.get("peers", [])]
        return Cluster(**value)
    if kind in ("peer", "member"):
        if value.get("taints") is not None:
            value["taints"] = [Taint(**taint) for taint in value["taints"]]
        return (Peer if kind == "peer" else Member)(**value)
    if kind == "material":
        return JoinMaterial(**value)
    if kind == "bundle":
        return Bundle(**value)
    if kind == "path":
        return Path(value["path"])
    if kind == "packs":
        return [Pack(**{**pack, "manifests": [Manifest(**m) for m in pack["manifests"]]}) for pack in value["packs"]]
    raise ValueError(kind)


def plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def main() -> None:
    asked = json.load(sys.stdin)
    engine = make(Surroundings(Path("/")))
    arguments = [
        build(item["kind"], {k: v for k, v in item.items() if k != "kind"}) if isinstance(item, dict) else item
        for item in asked["arguments"]
    ]
    try:
        answer = getattr(engine, asked["call"])(*arguments)
    except EngineError as error:
        print(json.dumps({"error": error.reason, "message": error.message}))
    else:
        print(json.dumps({"answer": plain(answer)}))


if __name__ == "__main__":
    main()
