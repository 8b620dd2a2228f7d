# SPDX-License-Identifier: GPL-3.0-or-later
"""An engine that takes content, and a plane that has it."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

from support import FakePlane

from paletteops_agent.engine import Bundle, Cluster, EngineError, Member, Report, Surroundings, silent
from paletteops_agent.engine.simulated.engine import SimulatedEngine


class StockedEngine(SimulatedEngine):
    """The simulated engine, that wants content: what it holds is in a file, so that it is still so after a kill."""

    def __init__(self, surroundings: Surroundings) -> None:
        super().__init__(surroundings)
        self._stock = surroundings.root / "opt/spectrocloud/simulated/stock.json"
        self.calls: list[str] = []
        #: what taking over fails with, and what a drain waits for
        self.refusals: list[EngineError] = []
        self.gate: threading.Event | None = None

    def put(self, version: str) -> None:
        self._stock.parent.mkdir(parents=True, exist_ok=True)
        partial = self._stock.with_suffix(".partial")
        partial.write_text(json.dumps(sorted({*self.versions(), version})), "utf-8")
        partial.replace(self._stock)

    def versions(self) -> list[str]:
        found: list[str] = json.loads(self._stock.read_text("utf-8")) if self._stock.exists() else []
        return found

    def needs_payload(self) -> bool:
        return True

    def payload(self, bundle_dir: Path, bundle: Bundle, report: Report = silent) -> None:
        self.calls.append(f"payload {bundle.version}")
        if self.refusals:
            raise self.refusals.pop(0)
        assert (bundle_dir / "bin/kubelet").exists()
        report(f"importing {bundle.version}")
        self.put(bundle.version)

    def holds(self, pack: str, version: str) -> bool:
        return version in self.versions()

    def contents(self) -> list[tuple[str, str]]:
        return [("edge-k8s", version) for version in self.versions()]

    def configure(self, cluster: Cluster, member: Member, report: Report = silent) -> None:
        self.calls.append("configure")
        super().configure(cluster, member, report)

    def upgrade(self, cluster: Cluster, member: Member, report: Report = silent) -> None:
        self.calls.append(f"upgrade {cluster.version}")
        assert self.holds(cluster.pack, cluster.version)
        super().upgrade(cluster, member, report)

    def drain(self, node_name: str, timeout: int, report: Report = silent) -> None:
        self.calls.append("drain")
        if self.gate is not None:
            assert self.gate.wait(20)
        super().drain(node_name, timeout, report)


class Contents:
    """Serves a bundle as a plane does: with Range, If-Range and ETag, or worse. Others, by version, beside it."""

    def __init__(self, plane: FakePlane, path: Path, **others: Path) -> None:
        self.data = path.read_bytes()
        self.tag = '"one"'
        self.cut: list[int] = []
        self.ranges: list[str] = []
        #: until it is set nothing is answered
        self.gate: threading.Event | None = None
        self.others = {version: other.read_bytes() for version, other in others.items()}
        plane.answers = self.answer

    def answer(self, method: str, path: str, headers: Any, body: Any) -> Any:
        if "/content?" not in path:
            return None
        asked = headers.get("range", "")
        self.ranges.append(asked)
        if self.gate is not None:
            assert self.gate.wait(20)
        data = next((other for version, other in self.others.items() if f"version={version}&" in path), self.data)
        begin = int(asked.removeprefix("bytes=").rstrip("-")) if asked and headers["if-range"] == self.tag else 0
        if begin >= len(data):
            return 416, {"Content-Range": f"bytes */{len(data)}"}, b""
        rest = data[begin:]
        more = {"ETag": self.tag, "Content-Length": str(len(rest))}
        if self.cut:
            rest = rest[: self.cut.pop(0)]
            more["Connection"] = "close"
        return (206 if begin else 200), more, rest
