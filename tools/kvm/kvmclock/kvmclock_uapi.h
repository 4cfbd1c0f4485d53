/* SPDX-License-Identifier: (LGPL-2.1-only OR BSD-2-Clause) */
/*
 * What <linux/kvm.h> has on a kernel with KVM_CLOCK_GUEST_TSC, and the headers of a
 * distribution may not have yet.  Include this one in its place; with newer headers it
 * adds nothing.
 */
#ifndef KVMCLOCK_UAPI_H
#define KVMCLOCK_UAPI_H

#include <linux/kvm.h>

#ifndef KVM_CLOCK_REALTIME
#define KVM_CLOCK_REALTIME		0x4
#define KVM_CLOCK_HOST_TSC		0x8
#endif

/* The ioctls' numbers encode the structure's size, which is the same. */
#ifndef KVM_CLOCK_GUEST_TSC
#define KVM_CLOCK_GUEST_TSC		0x10

struct kvm_clock_data_guest_tsc {
	__u64 clock;
	__u32 flags;
	__s32 tai_offset;
	__u64 realtime;
	__u64 host_tsc;
	__u64 guest_tsc;
	__u32 tsc_to_system_mul;
	__s8  tsc_shift;
	__u8  pad[3];
};

#define kvm_clock_data			kvm_clock_data_guest_tsc
#endif

#ifndef KVM_CLOCK_MONOTONIC
#define KVM_CLOCK_MONOTONIC		0x20
#endif
#ifndef KVM_CLOCK_TAI
#define KVM_CLOCK_TAI			0x40
#endif
#ifndef KVM_CLOCK_GUEST_STOPPED
#define KVM_CLOCK_GUEST_STOPPED		0x80
#endif

#ifndef KVM_VCPU_TSC_CTRL
#define KVM_VCPU_TSC_CTRL		0
#define KVM_VCPU_TSC_OFFSET		0
#endif
#ifndef KVM_CAP_VM_TSC_CONTROL
#define KVM_CAP_VM_TSC_CONTROL		214
#endif

/* The interface of a vCPU. */
#ifndef KVM_CAP_CLOCK_GUEST
#define KVM_CAP_CLOCK_GUEST		252
#endif
#ifndef KVM_SET_CLOCK_GUEST
struct pvclock_vcpu_time_info {
	__u32 version;
	__u32 pad0;
	__u64 tsc_timestamp;
	__u64 system_time;
	__u32 tsc_to_system_mul;
	__s8  tsc_shift;
	__u8  flags;
	__u8  pad[2];
};

#define KVM_SET_CLOCK_GUEST		_IOW(KVMIO, 0xd6, struct pvclock_vcpu_time_info)
#define KVM_GET_CLOCK_GUEST		_IOR(KVMIO, 0xd7, struct pvclock_vcpu_time_info)
#endif
#ifndef KVM_VCPU_TSC_SCALE
#define KVM_VCPU_TSC_SCALE		1

struct kvm_vcpu_tsc_scale {
	__u64 tsc_ratio;
	__u64 tsc_frac_bits;
};
#endif

#endif /* KVMCLOCK_UAPI_H */
