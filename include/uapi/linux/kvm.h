/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/* Fragment: replaces the definitions of the same names in the kernel's file of this path. */

/*
 * Flags of struct kvm_clock_data. KVM_CHECK_EXTENSION(KVM_CAP_ADJUST_CLOCK)
 * returns those that KVM knows. The value 1 is not a flag: kernels without
 * flags returned it for the capability.
 *
 * TSC_STABLE	GET: all vCPUs compute the same clock, and @clock is what they
 *		     compute at the instant of the call.
 *		SET: ignored.
 * REALTIME	GET: @realtime is valid, of the same instant as @clock.
 *		SET: add the wall time that has passed since @realtime to
 *		     @clock, or nothing if @realtime is in the future.
 * HOST_TSC	GET: @host_tsc is valid, of the same instant as @clock.
 *		SET: ignored.
 */
#define KVM_CLOCK_TSC_STABLE		2
#define KVM_CLOCK_REALTIME		(1 << 2)
#define KVM_CLOCK_HOST_TSC		(1 << 3)

/*
 * GET returns 0 in the padding, and nothing of use in a field whose flag is not
 * set. SET ignores both, and accepts any value in @clock and @realtime.
 */
struct kvm_clock_data {
	__u64 clock;		/* what the guest's kvmclock reads, in ns */
	__u32 flags;		/* KVM_CLOCK_* */
	__u32 pad0;
	__u64 realtime;		/* CLOCK_REALTIME of the host, in ns since 1970 */
	__u64 host_tsc;		/* TSC of the host, in cycles, neither scaled nor offset */
	__u32 pad[4];
};
