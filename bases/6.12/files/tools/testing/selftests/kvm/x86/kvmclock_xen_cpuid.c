// SPDX-License-Identifier: GPL-2.0-only
/*
 * Verify that Xen's CPUID leaf about the TSC has what the guest's page has, and the
 * frequency of its TSC.  KVM fills it in where user space has made room for it.
 */
#include <string.h>

#include "kvmclock.h"

/* Behind KVM's own leaves.  The third is about the TSC. */
#define XEN_CPUID	0x40000100
#define XEN_TSC		(XEN_CPUID + 3)

static struct kvmclock_vm kc;

static struct kvm_cpuid_entry2 *add(struct kvm_cpuid2 *cpuid, u32 function, u32 index, u32 flags)
{
	struct kvm_cpuid_entry2 *entry = &cpuid->entries[cpuid->nent++];

	memset(entry, 0, sizeof(*entry));
	entry->function = function;
	entry->index = index;
	entry->flags = flags;
	return entry;
}

/* As user space does before the vCPU runs. */
static void add_xen_leaves(struct kvm_vcpu *vcpu)
{
	const struct kvm_cpuid2 *kvm = kvm_get_supported_cpuid();
	struct kvm_cpuid2 *cpuid = allocate_kvm_cpuid2(kvm->nent + 4);
	struct kvm_cpuid_entry2 *entry;
	u32 i;

	memcpy(cpuid->entries, kvm->entries, kvm->nent * sizeof(*kvm->entries));
	cpuid->nent = kvm->nent;
	entry = add(cpuid, XEN_CPUID, 0, 0);
	entry->eax = XEN_TSC;
	memcpy(&entry->ebx, "XenV", 4);
	memcpy(&entry->ecx, "MMXe", 4);
	memcpy(&entry->edx, "nVMM", 4);
	for (i = 0; i < 3; i++)
		add(cpuid, XEN_TSC, i, KVM_CPUID_FLAG_SIGNIFCANT_INDEX);
	vcpu_init_cpuid(vcpu, cpuid);
	free(cpuid);
}

static bool is_right(void)
{
	u32 khz = kvmclock_scale(kvmclock_host_khz(), kc.ratio);
	const struct kvm_cpuid_entry2 *rate, *freq;
	struct pvclock_vcpu_time_info line;

	kvmclock_snapshot(kc.page[0], &line);
	vcpu_ioctl(kc.vcpu[0], KVM_GET_CPUID2, kc.vcpu[0]->cpuid);
	rate = get_cpuid_entry(kc.vcpu[0]->cpuid, XEN_TSC, 1);
	freq = get_cpuid_entry(kc.vcpu[0]->cpuid, XEN_TSC, 2);

	return check(rate->ecx == line.tsc_to_system_mul, "mul %u, in the page %u", rate->ecx,
		     line.tsc_to_system_mul) &
	       check((s32)rate->edx == line.tsc_shift, "shift %d, in the page %d",
		     (s32)rate->edx, line.tsc_shift) &
	       check(freq->eax == khz, "%u kHz, and not %u", freq->eax, khz);
}

static bool test_leaf(u32 khz)
{
	bool ok;

	kvmclock_vm_init(&kc, khz, 1);
	kvmclock_vcpu_add(&kc);
	add_xen_leaves(kc.vcpu[0]);
	kvmclock_enable(&kc, 0, 0);
	kvmclock_settle(&kc);
	ok = is_right();
	kvmclock_vm_destroy(&kc);
	return ok;
}

int main(void)
{
	const struct kvmclock_mode *mode = kvmclock_modes();
	int i;

	TEST_REQUIRE(kvm_has_cap(KVM_CAP_XEN_HVM));
	kvmclock_start(0, 1);

	for (i = 0; i < kvmclock_nr_modes(); i++, mode++)
		ksft_test_result(test_leaf(mode->khz), "leaf %s\n", mode->name);

	kvmclock_finished();
}
