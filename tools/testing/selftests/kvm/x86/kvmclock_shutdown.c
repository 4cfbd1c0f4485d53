// SPDX-License-Identifier: GPL-2.0-only
/*
 * Verify that a vCPU which shuts down keeps its TSC.
 *
 * A triple fault of the guest is an INIT of the vCPU on SVM, where the VMCB is
 * cleared and filled anew.  An INIT does not touch the TSC.  It turns kvmclock off,
 * though: a guest that is started again turns it on again, and finds the clock that
 * the VM has.
 */
#include "kvmclock.h"

/* Far from where the host's TSC is, on either side. */
#define OFFSET		BIT_ULL(45)

static struct kvmclock_vm kc;

/* What cannot be delivered, nor the exception that this makes, nor the next one. */
static void guest_triple_fault(void)
{
	const struct desc_ptr idt = {};

	asm volatile("lidt %0; ud2" : : "m"(idt));
}

/* Shut down, and be where it was before. */
static bool shut_down(struct kvm_vcpu *vcpu)
{
	struct kvm_sregs sregs;
	struct kvm_regs regs;

	vcpu_run_complete_io(vcpu);
	vcpu_sregs_get(vcpu, &sregs);
	vcpu_regs_get(vcpu, &regs);
	vcpu_arch_set_entry_point(vcpu, guest_triple_fault);
	vcpu_run(vcpu);
	vcpu_sregs_set(vcpu, &sregs);
	vcpu_regs_set(vcpu, &regs);
	return check(vcpu->run->exit_reason == KVM_EXIT_SHUTDOWN, "exit reason %u",
		     vcpu->run->exit_reason);
}

/* The guest reads the host's TSC, scaled, and @offset. */
static bool reads_offset(u64 offset)
{
	u64 before, after, tsc;

	before = kvmclock_scale(rdtsc(), kc.ratio) + offset;
	tsc = kvmclock_run(&kc, 0, KVMCLOCK_RDTSC, 0, 0);
	after = kvmclock_scale(rdtsc(), kc.ratio) + offset;
	return check(tsc - before <= after - before, "TSC %lx, not from %lx to %lx", tsc, before,
		     after);
}

static bool keeps_offset(u64 offset)
{
	kvmclock_set_offset(kc.vcpu[0], offset);

	return reads_offset(offset) & shut_down(kc.vcpu[0]) & reads_offset(offset) &
	       check(kvmclock_get_offset(kc.vcpu[0]) == offset, "KVM_VCPU_TSC_OFFSET is %lx",
		     kvmclock_get_offset(kc.vcpu[0]));
}

static bool test_above(void)
{
	return keeps_offset(OFFSET);
}

static bool test_below(void)
{
	return keeps_offset(-OFFSET);
}

static bool test_clock(void)
{
	u64 before, now, after;
	bool ok;

	kvmclock_set_offset(kc.vcpu[0], OFFSET);
	kvmclock_enable(&kc, 0, 0);
	ok = shut_down(kc.vcpu[0]);
	kvmclock_enable(&kc, 0, 0);
	before = kvmclock_get(&kc).clock;
	now = kvmclock_run(&kc, 0, KVMCLOCK_READ, 0, 0);
	after = kvmclock_get(&kc).clock;
	return ok & check(now + 1 >= before && now <= after + 1, "clock %lu, not from %lu to %lu",
			  now, before, after);
}

static const struct kvmclock_test tests[] = {
	{ "tsc_above", test_above },
	{ "tsc_below", test_below },
	{ "clock", test_clock },
};

int main(void)
{
	int i;

	kvmclock_start(ARRAY_SIZE(tests), 0);
	kvmclock_vm_create(&kc, 0, 1, 1);
	for (i = 0; i < ARRAY_SIZE(tests); i++)
		kvmclock_run_test(&tests[i], 0, NULL);
	kvmclock_vm_destroy(&kc);
	kvmclock_finished();
}
