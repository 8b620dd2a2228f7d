# SPDX-License-Identifier: GPL-3.0-or-later
"""An agent's process that kills itself: ``worker.py FOLDER POINT``.

The point is a write of its journal, or a line of its log. Its engine wants content where ``FOLDER/public.pem`` is.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from pathlib import Path

from stock import StockedEngine

from paletteops_agent.config import Configuration, Trust
from paletteops_agent.engine import Surroundings
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

    class Watch(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            checkpoint(record.getMessage())

    logging.getLogger().addHandler(Watch())
    options = {"speed": 1000, "directory": str(folder / "world"), "api": False}
    data = parse((folder / "userdata").read_text())
    configuration, engine, key = Configuration("simulated", options=options), None, folder / "public.pem"
    if key.exists():
        configuration = Configuration("simulated", Trust(key.read_text("ascii")), options)
        engine = StockedEngine(Surroundings(folder / "host", options))
    agent = Agent(Paths(folder / "host"), data, configuration, checkpoint=checkpoint, engine=engine)
    agent.run(stop)
    os._exit(0)


main()
