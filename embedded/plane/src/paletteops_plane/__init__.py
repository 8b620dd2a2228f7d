# SPDX-License-Identifier: GPL-3.0-or-later
"""A small open implementation of Palette's management API, for trying, learning, offline tests and small sites."""

__version__ = "0.1.0"
