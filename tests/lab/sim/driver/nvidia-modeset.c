// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Copyright (c) 2026 The gpunode.ready maintainers */
/* A simulated nvidia-modeset.ko: it is there, it holds nvidia.ko, and it does nothing more. */
#include <linux/fs.h>
#include <linux/module.h>

#include "simulated.h"


static int __init modeset_init(void)
{
	return gpunode_simulated_nvidia_hold();
}

static void __exit modeset_exit(void)
{
}

module_init(modeset_init);
module_exit(modeset_exit);

MODULE_LICENSE(NV_LICENSE);
MODULE_VERSION(NV_VERSION_STRING);
MODULE_DESCRIPTION("Simulated NVIDIA modeset module of gpunode.ready's lab");
