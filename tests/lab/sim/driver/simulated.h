/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Copyright (c) 2026 The gpunode.ready maintainers */
#ifndef GPUNODE_SIMULATED_H
#define GPUNODE_SIMULATED_H

/* What `modinfo -F license` prints decides, for everybody who looks, whether a driver is the open or the
 * proprietary one; so the simulation of either says what the real one says. */
#ifdef NV_PROPRIETARY
#define NV_LICENSE "NVIDIA"
#define NV_FLAVOUR_TEXT "UNIX x86_64 Kernel Module"
#else
#define NV_LICENSE "Dual MIT/GPL"
#define NV_FLAVOUR_TEXT "UNIX Open Kernel Module for x86_64"
#endif

/* nvidia.ko exports it, its companions use it: so they hold it, as the real ones do. */
int gpunode_simulated_nvidia_hold(void);

#endif
