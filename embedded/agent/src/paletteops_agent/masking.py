# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets of this process stay out of what it says: the registration token, claims, credentials, proxies' passwords.

No message is meant to hold one. What something unexpected says is not ours, and a traceback may.
"""

from __future__ import annotations

import logging
from typing import TextIO

#: what is shorter is no secret, and would be found in words
_SHORTEST = 8

_secrets: dict[str, None] = {}


def hide(*secrets: str) -> None:
    """From now on these are secrets."""
    for secret in secrets:
        if len(secret) >= _SHORTEST:
            # also as it stands in a repr
            _secrets.update(dict.fromkeys((secret, repr(secret)[1:-1])))


def masked(text: str) -> str:
    for secret in tuple(_secrets):
        text = text.replace(secret, "***")
    return text


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return masked(super().format(record))  # with its traceback


def handler(stream: TextIO) -> logging.Handler:
    """For the log of a process, its one handler."""
    made = logging.StreamHandler(stream)
    made.setFormatter(_Formatter("%(levelname)s: %(message)s"))
    return made
