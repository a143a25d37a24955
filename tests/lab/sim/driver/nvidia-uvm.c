// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Copyright (c) 2026 The gpunode.ready maintainers */
/* A simulated nvidia-uvm.ko: it is there, it holds nvidia.ko, and it does nothing more. */
#include <linux/fs.h>
#include <linux/module.h>

#include "simulated.h"

static int major;

static int uvm_open(struct inode *inode, struct file *file)
{
	return 0;
}

static const struct file_operations operations = { .owner = THIS_MODULE, .open = uvm_open };

static int __init uvm_init(void)
{
	major = register_chrdev(0, "nvidia-uvm", &operations);
	return major < 0 ? major : gpunode_simulated_nvidia_hold();
}

static void __exit uvm_exit(void)
{
	unregister_chrdev(major, "nvidia-uvm");
}

module_init(uvm_init);
module_exit(uvm_exit);

MODULE_LICENSE(NV_LICENSE);
MODULE_VERSION(NV_VERSION_STRING);
MODULE_DESCRIPTION("Simulated NVIDIA unified memory module of gpunode.ready's lab");
