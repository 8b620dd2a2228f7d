# Copyright: (c) 2026, the paletteops.modes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Versions and version ranges, the same for cluster profiles and packs.

A range is a version whose last parts are left open: ``1.2.x``, ``1.x`` or ``x``. It is resolved when something is
made; what satisfies it is kept afterwards, and only an upgrade moves it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from ansible_collections.paletteops.modes.plugins.module_utils.errors import PaletteError, hint


def is_range(version: str) -> bool:
    return bool(re.fullmatch(r"v?(\d+\.)*[xX*]", version))


def satisfies(version: str, wanted: str) -> bool:
    """Whether a version is the wanted one or lies inside the wanted range."""
    if not is_range(wanted):
        return version == wanted
    prefix = wanted[:-1]
    return version.startswith(prefix) and version != prefix


def order(version: str) -> tuple[tuple[int, int, str], ...]:
    """A key to sort versions by: numbers count as numbers, a pre-release stands before its release."""
    main, dash, rest = version.lstrip("vV").partition("-")
    key: list[tuple[int, int, str]] = []
    for part in re.split(r"[.+]", main):
        key.append((1, int(part), "") if part.isdigit() else (0, 0, part))
    key.append((1, 0, "") if not dash else (0, 0, rest))
    return tuple(key)


def newest(versions: Iterable[str]) -> str | None:
    return max(versions, key=order, default=None)


def resolve(wanted: str, available: Iterable[str], what: str) -> str:
    """The version to use: the wanted one, or the newest inside the range.

    what    names the thing in the error, such as ``cluster profile 'base-aws'``
    Raises PaletteError where none fits, with the nearest there are.
    """
    known = sorted({str(item) for item in available}, key=order)
    fitting = [item for item in known if satisfies(item, wanted)]
    found = newest(fitting)
    if found is None:
        raise PaletteError(f"There is no version {wanted} of {what}.{hint(wanted, known)}")
    return found


def choose(wanted: str | None, current: str | None, upgrade: bool) -> str | None:
    """The version that can stay as it is, or None where one must be looked up.

    An exact version stays where it is the current one. A range keeps what satisfies it, unless this is an upgrade.
    """
    if current is None:
        return None
    if wanted is None:
        return current
    if satisfies(current, wanted) and not (upgrade and is_range(wanted)):
        return current
    return None
