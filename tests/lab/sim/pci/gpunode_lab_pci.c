// SPDX-License-Identifier: GPL-3.0-or-later OR GPL-2.0-only
/*
 * Copyright (c) 2026 The gpunode.ready maintainers
 *
 * gpunode_lab_pci - the hardware of a lab node: a PCI root bus of its own domain, with functions that
 * have a configuration space and nothing behind it. So /sys/bus/pci/devices, lspci, modalias, driver
 * binding and hot plug events are the kernel's own, and nothing that looks at them needs a test hook.
 *
 *   devices=2335,2335      PCI device ids, vendor 10de; an id below that starts with 22a3 and so on is
 *                          an NVSwitch (class 0680); "none": an empty bus
 *   subsystem=18be         subsystem device id of all
 *
 * It is a simulation and says so in the kernel log.
 */
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/slab.h>
#include <linux/string.h>

#define VENDOR_NVIDIA 0x10de
#define DOMAIN 1
#define MAX_DEVICES 16
#define SPACE 256

static char *devices = "2335";
module_param(devices, charp, 0444);
MODULE_PARM_DESC(devices, "PCI device ids (hexadecimal, comma separated), or none");

static ushort subsystem = 0x18be;
module_param(subsystem, ushort, 0444);
MODULE_PARM_DESC(subsystem, "PCI subsystem device id");

static u8 space[MAX_DEVICES][SPACE];
static unsigned int count;
static struct pci_bus *bus;
static struct pci_sysdata sysdata = { .domain = DOMAIN, .node = NUMA_NO_NODE };
static struct resource bus_numbers = {
	.name = "gpunode lab PCI bus", .start = 0, .end = 0xff, .flags = IORESOURCE_BUS,
};

static u8 *function_of(struct pci_bus *on, unsigned int devfn)
{
	if (on->number || PCI_FUNC(devfn) || PCI_SLOT(devfn) >= count)
		return NULL;
	return space[PCI_SLOT(devfn)];
}

static int lab_read(struct pci_bus *on, unsigned int devfn, int where, int size, u32 *value)
{
	u8 *function = function_of(on, devfn);

	*value = ~0U;
	if (!function)
		return PCIBIOS_DEVICE_NOT_FOUND;
	if (where < 0 || where + size > SPACE) {
		*value = 0; /* the extended space is empty */
		return PCIBIOS_SUCCESSFUL;
	}
	*value = 0;
	memcpy(value, function + where, size);
	return PCIBIOS_SUCCESSFUL;
}

static int lab_write(struct pci_bus *on, unsigned int devfn, int where, int size, u32 value)
{
	u8 *function = function_of(on, devfn);

	if (!function)
		return PCIBIOS_DEVICE_NOT_FOUND;
	/* only these can be written; base addresses stay zero, so that no function claims memory */
	if (where == PCI_COMMAND || where == PCI_CACHE_LINE_SIZE || where == PCI_LATENCY_TIMER || where == PCI_INTERRUPT_LINE)
		memcpy(function + where, &value, min(size, 2));
	return PCIBIOS_SUCCESSFUL;
}

static struct pci_ops lab_ops = { .read = lab_read, .write = lab_write };

static void fill(u8 *function, u16 device)
{
	/* NVSwitches of the Hopper and Ampere boards are bridges of class 0680; all else here is a 3D controller */
	bool nvswitch = device == 0x22a3 || device == 0x1af1 || device == 0x29bc;

	*(__le16 *)(function + PCI_VENDOR_ID) = cpu_to_le16(VENDOR_NVIDIA);
	*(__le16 *)(function + PCI_DEVICE_ID) = cpu_to_le16(device);
	function[PCI_REVISION_ID] = 0xa1;
	function[PCI_CLASS_DEVICE + 1] = nvswitch ? 0x06 : 0x03;
	function[PCI_CLASS_DEVICE] = nvswitch ? 0x80 : 0x02;
	*(__le16 *)(function + PCI_SUBSYSTEM_VENDOR_ID) = cpu_to_le16(VENDOR_NVIDIA);
	*(__le16 *)(function + PCI_SUBSYSTEM_ID) = cpu_to_le16(subsystem);
}

static int __init lab_init(void)
{
	LIST_HEAD(resources);
	char *copy, *rest, *word;
	u16 device;

	copy = kstrdup(devices, GFP_KERNEL);
	if (!copy)
		return -ENOMEM;
	rest = strim(copy);
	while (strcmp(rest ?: "none", "none") && (word = strsep(&rest, ",")) && count < MAX_DEVICES) {
		if (kstrtou16(word, 16, &device)) {
			pr_err("devices: '%s' is not a hexadecimal PCI device id\n", word);
			kfree(copy);
			return -EINVAL;
		}
		fill(space[count++], device);
	}
	kfree(copy);

	pci_add_resource(&resources, &bus_numbers);
	pci_lock_rescan_remove();
	bus = pci_create_root_bus(NULL, 0, &lab_ops, &sysdata, &resources);
	if (!bus) {
		pci_unlock_rescan_remove();
		pci_free_resource_list(&resources);
		return -ENODEV;
	}
	pci_scan_child_bus(bus);
	pci_bus_add_devices(bus);
	pci_unlock_rescan_remove();
	pr_info("gpunode_lab_pci: %u simulated NVIDIA function(s) on PCI domain %04x\n", count, DOMAIN);
	return 0;
}

static void __exit lab_exit(void)
{
	pci_lock_rescan_remove();
	pci_stop_root_bus(bus);
	pci_remove_root_bus(bus);
	pci_unlock_rescan_remove();
}

module_init(lab_init);
module_exit(lab_exit);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("The gpunode.ready maintainers");
MODULE_DESCRIPTION("Simulated NVIDIA PCI functions for gpunode.ready's lab");
