# SPDX-License-Identifier: GPL-3.0-or-later
"""Lists of the API: at most fifty items an answer, and a mark by which the next answer goes on.

``listmeta`` holds what the description says of it: ``count`` (items of the whole list), ``limit`` (items in this
answer), ``offset`` (where the next answer begins) and ``continue``: empty on the last page, else the text to send as
query ``continue``. A limit of 0, or above fifty, is fifty.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any, TypeVar

from paletteops_plane.errors import ApiError

Item = TypeVar("Item")

PAGE_SIZE = 50


def page(
    items: Sequence[Item], query: dict[str, Any], *, zero_is_all: bool = False
) -> tuple[list[Item], dict[str, Any]]:
    """The part of the list that the query (``limit``, ``offset``, ``continue``) asks for, and its ``listmeta``.

    ``zero_is_all``: for the lists of which the vendor's SDK asks ``limit=0`` and takes the answer as whole.
    """
    limit = query.get("limit", PAGE_SIZE)
    if limit < 0:
        raise ApiError("InvalidRequest", f"the parameter limit is {limit}, below 0", {"field": "limit"})
    if limit == 0 and zero_is_all:
        limit = max(len(items), 1)
    elif limit == 0 or limit > PAGE_SIZE:
        limit = PAGE_SIZE
    offset = _decode(query["continue"]) if query.get("continue") else query.get("offset", 0)
    if offset < 0:
        raise ApiError("InvalidRequest", f"the parameter offset is {offset}, below 0", {"field": "offset"})
    chosen = list(items[offset : offset + limit])
    following = offset + limit
    return chosen, {
        "count": len(items),
        "limit": len(chosen),
        "offset": offset + len(chosen),
        "continue": _encode(following) if following < len(items) else "",
    }


def _encode(offset: int) -> str:
    return base64.urlsafe_b64encode(f"offset:{offset}".encode()).decode().rstrip("=")


def _decode(mark: str) -> int:
    try:
        text = base64.b64decode(mark + "=" * (-len(mark) % 4), altchars=b"-_", validate=True).decode()
        word, _, number = text.partition(":")
        if word == "offset" and number.isascii() and number.isdigit() and len(number) < 16:
            return int(number)
    except ValueError:  # also of base64 and of UTF-8
        pass
    raise ApiError("InvalidRequest", f"the parameter continue is not one that this plane gave: {mark[:40]!r}")
