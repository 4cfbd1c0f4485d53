/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/* Fragment: replaces the definitions of the same names in the kernel's file of this path. */

/*
 * Flags of struct kvm_clock_data. KVM_CHECK_EXTENSION(KVM_CAP_ADJUST_CLOCK)
 * returns those that KVM knows, in either direction. The value 1 is not a flag:
 * kernels without flags returned it for the capability.
 *
 * TSC_STABLE	GET: all vCPUs compute the same clock, and @clock is what they
 *		     compute at the instant of the call.
 *		SET: ignored.
 * REALTIME	GET: @realtime is valid, of the same instant as @clock.
 *		SET: add the wall time that has passed since @realtime to
 *		     @clock, or nothing if @realtime is in the future.
 * HOST_TSC	GET: @host_tsc is valid, of the same instant as @clock.
 *		SET: ignored, unless GUEST_TSC is set and REALTIME is not.
 * GUEST_TSC	GET: @guest_tsc, @tsc_to_system_mul and @tsc_shift are valid,
 *		     and with @clock they are the line that the guest computes
 *		     its clock with; @guest_tsc is of the same instant, too.
 *		SET: restore that line. The boot vCPU's TSC moves to where the
 *		     time since then takes it (REALTIME), to where it would be on
 *		     this host had nothing happened (HOST_TSC), or not at all; all
 *		     other TSCs of the VM move by the same number of cycles.
 *		Both only after KVM_ENABLE_CAP(KVM_CAP_ADJUST_CLOCK) with this
 *		flag in args[0].
 * MONOTONIC	GET: never set.
 *		SET: do not go below what the guest may have read already.
 *		With this flag in args[0] of KVM_ENABLE_CAP, each SET does so.
 * TAI		GET: @tai_offset is valid, of the same instant as @realtime. Only
 *		     beside REALTIME, and after KVM_ENABLE_CAP with this flag.
 *		SET: take the time that REALTIME adds from CLOCK_TAI, which has no
 *		     leap seconds, if @tai_offset and this host's are not 0.
 * GUEST_STOPPED GET: never set.
 *		SET: set PVCLOCK_GUEST_STOPPED for all vCPUs that have kvmclock
 *		     enabled, as KVM_KVMCLOCK_CTRL does for one.
 */
#define KVM_CLOCK_TSC_STABLE		2
#define KVM_CLOCK_REALTIME		(1 << 2)
#define KVM_CLOCK_HOST_TSC		(1 << 3)
#define KVM_CLOCK_GUEST_TSC		(1 << 4)
#define KVM_CLOCK_MONOTONIC		(1 << 5)
#define KVM_CLOCK_TAI			(1 << 6)
#define KVM_CLOCK_GUEST_STOPPED		(1 << 7)

/*
 * GET returns 0 in the padding, and nothing of use in a field whose flag is not
 * set. SET ignores both, and accepts any value in @clock and @realtime; only with
 * GUEST_TSC, @pad has to be 0, and values their documented range.
 *
 * Before there is a boot vCPU, @guest_tsc is what a vCPU that is created now would
 * read.
 */
struct kvm_clock_data {
	__u64 clock;		/* what the guest's kvmclock reads, in ns */
	__u32 flags;		/* KVM_CLOCK_* */
	__s32 tai_offset;	/* CLOCK_TAI - CLOCK_REALTIME, in s; 0 if unknown */
	__u64 realtime;		/* CLOCK_REALTIME of the host, in ns since 1970 */
	__u64 host_tsc;		/* TSC of the host, in cycles, neither scaled nor offset */
	__u64 guest_tsc;	/* TSC of the boot vCPU, in cycles */
	__u32 tsc_to_system_mul;	/* not 0, as in pvclock_vcpu_time_info */
	__s8  tsc_shift;	/* -31 to 31, likewise */
	__u8  pad[3];
};
