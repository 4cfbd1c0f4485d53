/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the KVM clock calls and this kernel has not got, or not in a header.
 */
#ifndef __KVM_X86_KVMCLOCK_COMPAT_H
#define __KVM_X86_KVMCLOCK_COMPAT_H

#include <linux/kvm_host.h>
#include <linux/mutex.h>

/* x86.c */
u64 kvm_compute_l1_tsc_offset(struct kvm_vcpu *vcpu, u64 target_tsc);
void kvm_vcpu_write_tsc_offset(struct kvm_vcpu *vcpu, u64 l1_offset);
void adjust_tsc_offset_guest(struct kvm_vcpu *vcpu, s64 adjustment);
void adjust_tsc_offset_host(struct kvm_vcpu *vcpu, s64 adjustment);

static inline void kvm_unlock_first_vcpus(struct kvm *kvm, unsigned long nr)
{
	while (nr--)
		mutex_unlock(&kvm_get_vcpu(kvm, nr)->mutex);
}

static inline void kvm_unlock_all_vcpus(struct kvm *kvm)
{
	lockdep_assert_held(&kvm->lock);

	kvm_unlock_first_vcpus(kvm, atomic_read(&kvm->online_vcpus));
}

static inline int kvm_trylock_all_vcpus(struct kvm *kvm)
{
	struct kvm_vcpu *vcpu;
	unsigned long i;

	lockdep_assert_held(&kvm->lock);

	/* A vCPU that is being created would not be among them. */
	if (kvm->created_vcpus != atomic_read(&kvm->online_vcpus))
		return -EBUSY;

	kvm_for_each_vcpu(i, vcpu, kvm) {
		if (!mutex_trylock(&vcpu->mutex)) {
			kvm_unlock_first_vcpus(kvm, i);
			return -EINTR;
		}
		/*
		 * Lockdep has no room for as many locks as a VM has vCPUs.  Nested
		 * in kvm->lock, they are one.
		 */
		mutex_release(&vcpu->mutex.dep_map, _THIS_IP_);
		mutex_acquire_nest(&vcpu->mutex.dep_map, 0, 1, &kvm->lock.dep_map, _THIS_IP_);
	}
	return 0;
}

#endif
