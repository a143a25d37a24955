// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Copyright (c) 2026 The gpunode.ready maintainers
 *
 * A simulated nvidia.ko: what a node shows of the driver, and nothing of what it does. It binds NVIDIA's PCI
 * functions, answers for character major 195, and writes /proc/driver/nvidia as the real one does. Opening its
 * devices holds the module, so that reloading it under a persistence daemon fails as in life.
 */
#include <linux/cdev.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/proc_fs.h>
#include <linux/seq_file.h>

#include "simulated.h"

#define NV_MAJOR 195

static struct proc_dir_entry *top, *gpus;
static struct cdev device;
static unsigned int minors;

static bool fail_probe;
module_param(fail_probe, bool, 0444);
MODULE_PARM_DESC(fail_probe, "simulate RmInitAdapter failing: no GPU is bound");

int gpunode_simulated_nvidia_hold(void)
{
	return 0;
}
EXPORT_SYMBOL(gpunode_simulated_nvidia_hold);

static int version_show(struct seq_file *out, void *unused)
{
	seq_printf(out, "NVRM version: NVIDIA " NV_FLAVOUR_TEXT "  " NV_VERSION_STRING
		   "  Release Build  (gpunode-simulated)\nGCC version:  gcc version " __VERSION__ "\n");
	return 0;
}

static int params_show(struct seq_file *out, void *unused)
{
	seq_puts(out, "ResmanDebugLevel: 4294967295\nModifyDeviceFiles: 1\nDeviceFileUID: 0\nDeviceFileGID: 0\n"
		      "DeviceFileMode: 438\nInitializeSystemMemoryAllocations: 1\nUsePageAttributeTable: 4294967295\n"
		      "EnableMSI: 1\nDynamicPowerManagement: 3\nEnableGpuFirmware: 18\nRegistryDwords: \"\"\n"
		      "RegistryDwordsPerDevice: \"\"\nRmMsg: \"\"\nGpuBlacklist: \"\"\nExcludedGpus: \"\"\n");
	return 0;
}

static int information_show(struct seq_file *out, void *unused)
{
	struct pci_dev *pci = out->private;
	unsigned long minor = (unsigned long)pci_get_drvdata(pci) - 1;

	seq_printf(out, "Model: \t\t %s\n", pci->device == 0x2335 ? "NVIDIA H200" : "NVIDIA Graphics Device");
	seq_printf(out, "IRQ:   \t\t %u\n", pci->irq);
	seq_printf(out, "GPU UUID: \t GPU-????????-????-????-????-????????????\n");
	seq_puts(out, "Video BIOS: \t ??.??.??.??.??\nBus Type: \t PCIe\nDMA Size: \t 52 bits\n"
		      "DMA Mask: \t 0xfffffffffffff\n");
	seq_printf(out, "Bus Location: \t %s\n", pci_name(pci));
	seq_printf(out, "Device Minor: \t %lu\nGPU Firmware: \t " NV_VERSION_STRING "\nGPU Excluded:\t No\n", minor);
	return 0;
}

static int probe(struct pci_dev *pci, const struct pci_device_id *id)
{
	struct proc_dir_entry *folder;

	if (fail_probe) {
		dev_err(&pci->dev, "NVRM: GPU %s: RmInitAdapter failed! (0x62:0x40:2012) (simulated)\n", pci_name(pci));
		return -ENODEV;
	}
	pci_set_drvdata(pci, (void *)(unsigned long)(++minors));
	folder = proc_mkdir(pci_name(pci), gpus);
	if (folder)
		proc_create_single_data("information", 0444, folder, information_show, pci);
	return 0;
}

static void remove(struct pci_dev *pci)
{
	remove_proc_subtree(pci_name(pci), gpus);
}

static const struct pci_device_id ids[] = {
	{ .vendor = PCI_VENDOR_ID_NVIDIA, .device = PCI_ANY_ID, .subvendor = PCI_ANY_ID, .subdevice = PCI_ANY_ID,
	  .class = PCI_CLASS_DISPLAY_VGA << 8, .class_mask = ~0 },
	{ .vendor = PCI_VENDOR_ID_NVIDIA, .device = PCI_ANY_ID, .subvendor = PCI_ANY_ID, .subdevice = PCI_ANY_ID,
	  .class = PCI_CLASS_DISPLAY_3D << 8, .class_mask = ~0 },
	{ }
};
MODULE_DEVICE_TABLE(pci, ids);

static struct pci_driver driver = { .name = "nvidia", .id_table = ids, .probe = probe, .remove = remove };

static int nv_open(struct inode *inode, struct file *file)
{
	unsigned int minor = iminor(inode);

	return minor == 255 || minor == 254 || minor < minors ? 0 : -ENXIO;
}

static const struct file_operations operations = { .owner = THIS_MODULE, .open = nv_open };

static int __init nv_init(void)
{
	int failed;

	failed = register_chrdev_region(MKDEV(NV_MAJOR, 0), 256, "nvidia");
	if (failed)
		return failed;
	cdev_init(&device, &operations);
	device.owner = THIS_MODULE;
	failed = cdev_add(&device, MKDEV(NV_MAJOR, 0), 256);
	if (failed)
		goto region;
	top = proc_mkdir("driver/nvidia", NULL);
	gpus = proc_mkdir("gpus", top);
	proc_create_single("version", 0444, top, version_show);
	proc_create_single("params", 0444, top, params_show);
	failed = pci_register_driver(&driver);
	if (failed)
		goto proc;
	pr_info("NVRM: loading NVIDIA " NV_FLAVOUR_TEXT "  " NV_VERSION_STRING " (simulated by gpunode.ready's lab)\n");
	return 0;
proc:
	remove_proc_subtree("driver/nvidia", NULL);
	cdev_del(&device);
region:
	unregister_chrdev_region(MKDEV(NV_MAJOR, 0), 256);
	return failed;
}

static void __exit nv_exit(void)
{
	pci_unregister_driver(&driver);
	remove_proc_subtree("driver/nvidia", NULL);
	cdev_del(&device);
	unregister_chrdev_region(MKDEV(NV_MAJOR, 0), 256);
}

module_init(nv_init);
module_exit(nv_exit);

MODULE_LICENSE(NV_LICENSE);
MODULE_VERSION(NV_VERSION_STRING);
MODULE_ALIAS("char-major-195-*");
MODULE_DESCRIPTION("Simulated NVIDIA driver of gpunode.ready's lab");
MODULE_INFO(supported, "external");
