/* SPDX-License-Identifier: GPL-2.0 */
#ifndef __KVM_X86_KVMCLOCK_H
#define __KVM_X86_KVMCLOCK_H

#include <linux/kvm_host.h>

#define KVM_CLOCK_VALID_FLAGS \
	(KVM_CLOCK_TSC_STABLE | KVM_CLOCK_REALTIME | KVM_CLOCK_HOST_TSC)

/* Why a line is redrawn; nothing else may do so. */
enum kvmclock_cause {
	KVMCLOCK_CAUSE_SET,		/* KVM_SET_CLOCK asks for another line */
	KVMCLOCK_CAUSE_MODE,		/* master clock mode is entered or left */
	KVMCLOCK_CAUSE_FREQUENCY,	/* the VM's or the host's TSC frequency changes */
	KVMCLOCK_CAUSE_TSC_RESET,	/* the host's TSC was reset while it was suspended */
};

/* One instant on the host. */
struct kvmclock_instant {
	bool tsc_based;		/* all clocks below were computed from @tsc */
	u64 tsc;		/* host TSC, read after the clocks if not @tsc_based */
	u64 boot_ns;		/* CLOCK_MONOTONIC_RAW plus the boot offset */
	u64 sys_ns;		/* the clock that was asked for */
};

/* kvmclock.c: the clock */
void kvmclock_init_vm(struct kvm *kvm);
void kvmclock_init_vcpu(struct kvm_vcpu *vcpu);
void kvmclock_reset(struct kvm_vcpu *vcpu);

void kvmclock_get(struct kvm *kvm, struct kvm_clock_data *data);
void kvmclock_set(struct kvm *kvm, const struct kvm_clock_data *data);
u64 get_kvmclock_ns(struct kvm *kvm);
u64 kvmclock_get_monotonic(struct kvm *kvm, s64 *monotonic_ns);
u64 kvm_get_wall_clock_epoch(struct kvm *kvm);

void kvmclock_update(struct kvm *kvm);
void kvmclock_hold(struct kvm *kvm);
void kvmclock_release(struct kvm *kvm);
void kvmclock_leave_on_tsc_reset(struct kvm *kvm, u64 last_tsc,
				 const struct kvmclock_instant *now);
int kvmclock_handle_requests(struct kvm_vcpu *vcpu);
void kvmclock_request_update(struct kvm_vcpu *vcpu);

void kvm_write_wall_clock(struct kvm *kvm, gpa_t wall_clock, int sec_hi_ofs);
void kvm_write_system_time(struct kvm_vcpu *vcpu, gpa_t system_time,
			   bool old_msr, bool host_initiated);
int kvm_set_guest_paused(struct kvm_vcpu *vcpu);
int kvm_pv_clock_pairing(struct kvm_vcpu *vcpu, gpa_t paddr, unsigned long clock_type);

/* kvmclock_tsc.c: the vCPUs' TSCs, as far as the clock follows or moves them */
void kvm_get_time_scale(u64 scaled_hz, u64 base_hz, s8 *shift, u32 *mul);
void kvm_synchronize_tsc(struct kvm_vcpu *vcpu, u64 *user_value);
void kvmclock_set_tsc_offset(struct kvm_vcpu *vcpu, u64 offset);
int kvmclock_tsc_khz_set(struct kvm_vcpu *vcpu, int ret, bool scaled);
void kvmclock_tsc_offset_written(struct kvm_vcpu *vcpu);
void kvmclock_catch_up(struct kvm_vcpu *vcpu, const struct kvmclock_instant *now);
void kvmclock_vcpu_load(struct kvm_vcpu *vcpu, int cpu);
void kvmclock_host_cpu_up(void);

/* kvmclock_host.c: the host's time, and what happens to it */
void kvmclock_init(void);
void kvmclock_exit(void);
void kvmclock_get_instant(clockid_t id, struct kvmclock_instant *now);
int kvmclock_host_vclock_mode(void);
bool kvm_check_tsc_unstable(void);
u32 kvmclock_host_khz(void);
u32 kvmclock_default_tsc_khz(void);

/* kvmclock_ioctl.c */
int kvm_vm_ioctl_get_clock(struct kvm *kvm, void __user *argp);
int kvm_vm_ioctl_set_clock(struct kvm *kvm, void __user *argp);

#endif
