# SPDX-License-Identifier: GPL-3.0-or-later
"""What tests of several kinds share: a plane in a process of its own, the description, the recorded traffic."""
