// SPDX-License-Identifier: GPL-2.0
/*
 * The clock of each VM in debugfs, beside KVM's statistics.  KVM_GET_CLOCK is for
 * the process that has created the VM only.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/debugfs.h>
#include <linux/fs.h>
#include <linux/kvm_host.h>

#include "kvmclock.h"

static int kvmclock_debugfs_ns(void *data, u64 *val)
{
	struct kvm_clock_data clock = {};

	kvm_get_clock(data, &clock);
	*val = clock.clock;
	return 0;
}

/* As KVM_GET_CLOCK reports them: they tell the mode, and what was opted in to. */
static int kvmclock_debugfs_flags(void *data, u64 *val)
{
	struct kvm_clock_data clock = {};

	kvm_get_clock(data, &clock);
	*val = clock.flags;
	return 0;
}

DEFINE_SIMPLE_ATTRIBUTE(kvmclock_debugfs_ns_fops, kvmclock_debugfs_ns, NULL, "%llu\n");
DEFINE_SIMPLE_ATTRIBUTE(kvmclock_debugfs_flags_fops, kvmclock_debugfs_flags, NULL, "%llu\n");

void kvmclock_create_debugfs(struct kvm *kvm)
{
	debugfs_create_file("clock_ns", 0444, kvm->debugfs_dentry, kvm,
			    &kvmclock_debugfs_ns_fops);
	debugfs_create_file("clock_flags", 0444, kvm->debugfs_dentry, kvm,
			    &kvmclock_debugfs_flags_fops);
}
