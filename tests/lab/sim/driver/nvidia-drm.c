// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Copyright (c) 2026 The gpunode.ready maintainers */
/* A simulated nvidia-drm.ko: it is there, it holds nvidia.ko, and it does nothing more. */
#include <linux/fs.h>
#include <linux/module.h>

#include "simulated.h"

static bool modeset = true;
module_param(modeset, bool, 0444);

static int __init drm_init(void)
{
	return gpunode_simulated_nvidia_hold();
}

static void __exit drm_exit(void)
{
}

module_init(drm_init);
module_exit(drm_exit);

MODULE_LICENSE(NV_LICENSE);
MODULE_VERSION(NV_VERSION_STRING);
MODULE_DESCRIPTION("Simulated NVIDIA drm module of gpunode.ready's lab");
