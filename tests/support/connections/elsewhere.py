# SPDX-License-Identifier: GPL-3.0-or-later
"""A connection to "another machine", which is this one: it notes what is put there and run there."""

from __future__ import annotations

import os
from typing import Any

from ansible.plugins.connection.local import Connection as Local

DOCUMENTATION = """
name: elsewhere
short_description: Another machine, for tests
description: Like the local connection, under a name of its own, with a record in the file PALETTEOPS_TEST_ELSEWHERE.
options: {}
"""


class Connection(Local):
    transport = "elsewhere"

    def _note(self, line: str) -> None:
        with open(os.environ["PALETTEOPS_TEST_ELSEWHERE"], "a", encoding="utf-8") as file:
            file.write(line + "\n")

    def exec_command(self, cmd: str, in_data: bytes | None = None, sudoable: bool = True) -> Any:
        self._note(f"exec {cmd}")
        return super().exec_command(cmd, in_data=in_data, sudoable=sudoable)

    def put_file(self, in_path: str, out_path: str) -> None:
        self._note(f"put {out_path}")
        super().put_file(in_path, out_path)
