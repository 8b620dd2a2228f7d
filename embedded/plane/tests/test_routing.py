# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers that are files."""

from __future__ import annotations

import pytest

from paletteops_plane.routing import raw


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("base-1.0.0.yaml", 'attachment; filename="base-1.0.0.yaml"'),
        ('a"b.yaml', "attachment; filename=\"a_b.yaml\"; filename*=UTF-8''a%22b.yaml"),
        ("a\r\nX: y.yaml", "attachment; filename=\"a__X__y.yaml\"; filename*=UTF-8''a%0D%0AX%3A%20y.yaml"),
        ("\U00021d3b.yaml", "attachment; filename=\"_.yaml\"; filename*=UTF-8''%F0%A1%B4%BB.yaml"),
    ],
)
def test_any_name_may_be_that_of_a_file(name: str, header: str) -> None:
    assert raw("x", "application/octet-stream", name).headers["content-disposition"] == header
