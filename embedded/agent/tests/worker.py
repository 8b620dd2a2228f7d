# SPDX-License-Identifier: GPL-3.0-or-later
"""An agent's process that kills itself at a write of its journal: ``worker.py FOLDER POINT``."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from pathlib import Path

from paletteops_agent.config import Configuration
from paletteops_agent.paths import Paths
from paletteops_agent.service import Agent
from paletteops_agent.userdata import parse


def main() -> None:
    folder, point = Path(sys.argv[1]), sys.argv[2]
    logging.basicConfig(level=logging.INFO)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())

    def checkpoint(word: str) -> None:
        if word == point:
            os.kill(os.getpid(), signal.SIGKILL)

    options = {"speed": 1000, "directory": str(folder / "world"), "api": False}
    data = parse((folder / "userdata").read_text())
    agent = Agent(Paths(folder / "host"), data, Configuration("simulated", options=options), checkpoint=checkpoint)
    agent.run(stop)
    os._exit(0)


main()
