# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What systemd's words for the state of a unit's file mean."""

from __future__ import annotations

# What is started at boot, or can be by others; it has no other way to be enabled. `linked` is known but in no target;
# `enabled-runtime` and `transient` end with this boot. The role host_prep has the same list.
STARTS_AT_BOOT = ("enabled", "static", "alias", "indirect", "generated")
