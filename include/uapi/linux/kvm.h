/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/* Fragment: replaces the definitions of the same names in the kernel's file of this path. */

/*
 * Flags of struct kvm_clock_data. KVM_CHECK_EXTENSION(KVM_CAP_ADJUST_CLOCK)
 * returns those that KVM knows. The value 1 is not a flag: kernels without
 * flags returned it for the capability.
 *
 * TSC_STABLE	GET: all vCPUs compute the same clock, and it is exactly @clock.
 *		SET: ignored.
 * REALTIME	GET: @realtime is valid, of the same instant as @clock.
 *		SET: advance @clock by the wall time passed since @realtime.
 * HOST_TSC	GET: @host_tsc is valid, of the same instant as @clock.
 *		SET: ignored.
 */
#define KVM_CLOCK_TSC_STABLE		2
#define KVM_CLOCK_REALTIME		(1 << 2)
#define KVM_CLOCK_HOST_TSC		(1 << 3)

struct kvm_clock_data {
	__u64 clock;		/* the guest's kvmclock, in ns */
	__u32 flags;
	__u32 pad0;
	__u64 realtime;		/* CLOCK_REALTIME of the host, in ns */
	__u64 host_tsc;		/* in cycles of the host, not scaled */
	__u32 pad[4];
};
