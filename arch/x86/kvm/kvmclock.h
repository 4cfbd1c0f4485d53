/* SPDX-License-Identifier: GPL-2.0 */
#ifndef __KVM_X86_KVMCLOCK_H
#define __KVM_X86_KVMCLOCK_H

#include <linux/kvm_host.h>

/* What KVM_ENABLE_CAP takes for KVM_CAP_ADJUST_CLOCK. */
#define KVM_CLOCK_OPTIONAL_FLAGS \
	(KVM_CLOCK_GUEST_TSC | KVM_CLOCK_MONOTONIC)

#define KVM_CLOCK_VALID_FLAGS \
	(KVM_CLOCK_TSC_STABLE | KVM_CLOCK_REALTIME | KVM_CLOCK_HOST_TSC | \
	 KVM_CLOCK_OPTIONAL_FLAGS)

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

/*
 * A line in the domain of the TSC scaled by @ratio, for the clock to go on with.
 * Where the clock cannot do so with the line itself, because it runs at another
 * rate, it is drawn anew through @ns plus @slack_ns.
 */
struct kvmclock_track {
	struct pvclock_vcpu_time_info line;
	u64 ratio;
	u64 ns;			/* the line's value now */
	unsigned int slack_ns;
};

/* kvmclock.c: the clock */
void kvmclock_init_vm(struct kvm *kvm);

void kvmclock_get(struct kvm *kvm, struct kvm_clock_data *data);
u64 get_kvmclock_ns(struct kvm *kvm);
u64 kvmclock_get_monotonic(struct kvm *kvm, s64 *monotonic_ns);
u64 kvm_get_wall_clock_epoch(struct kvm *kvm);
void kvmclock_note_reading(struct kvm *kvm);

void kvmclock_update(struct kvm *kvm);
int kvmclock_redraw_vcpu(struct kvm_vcpu *vcpu);
void kvmclock_hold(struct kvm *kvm);
void kvmclock_release(struct kvm *kvm);
void kvmclock_leave_on_tsc_reset(struct kvm *kvm, u64 last_tsc,
				 const struct kvmclock_instant *now);

/* kvmclock.c: for who draws another line */
u64 kvmclock_guest_freq(u32 khz, u64 ratio);
u64 kvmclock_ns(const struct kvm_clock *clock, const struct kvmclock_instant *now);
bool kvmclock_same_rate(const struct pvclock_vcpu_time_info *a,
			const struct pvclock_vcpu_time_info *b);
bool kvmclock_can_use_master_clock(struct kvm *kvm, const struct kvmclock_instant *now,
				   u64 *ratio);
void kvmclock_get_track(struct kvm *kvm, const struct kvmclock_instant *now,
			struct kvmclock_track *track);
u64 kvmclock_get_floor(struct kvm *kvm, const struct kvmclock_instant *now,
		       const struct kvmclock_track *track);
int kvmclock_check(struct kvm *kvm, const struct kvmclock_instant *now, bool *offsets_changed);
void kvmclock_redraw(struct kvm *kvm, const struct kvmclock_instant *now, u64 ns,
		     const struct kvmclock_track *from, enum kvmclock_cause cause);
void kvmclock_begin_update(struct kvm *kvm);
void kvmclock_end_update(struct kvm *kvm);

/* kvmclock_pages.c: how guests get to see it */
void kvmclock_init_vcpu(struct kvm_vcpu *vcpu);
void kvmclock_reset(struct kvm_vcpu *vcpu);
int kvmclock_handle_requests(struct kvm_vcpu *vcpu);
void kvmclock_request_update(struct kvm_vcpu *vcpu);
void kvm_write_wall_clock(struct kvm *kvm, gpa_t wall_clock, int sec_hi_ofs);
void kvm_write_system_time(struct kvm_vcpu *vcpu, gpa_t system_time,
			   bool old_msr, bool host_initiated);
int kvm_set_guest_paused(struct kvm_vcpu *vcpu);
int kvm_pv_clock_pairing(struct kvm_vcpu *vcpu, gpa_t paddr, unsigned long clock_type);

/* kvmclock_set.c: KVM_SET_CLOCK */
void kvmclock_set(struct kvm *kvm, const struct kvm_clock_data *data);
int kvmclock_restore(struct kvm *kvm, const struct kvm_clock_data *data);

/* kvmclock_tsc.c: the vCPUs' TSCs, as far as the clock follows or moves them */
void kvm_get_time_scale(u64 scaled_hz, u64 base_hz, s8 *shift, u32 *mul);
void kvm_synchronize_tsc(struct kvm_vcpu *vcpu, u64 *user_value);
void kvmclock_set_tsc_offset(struct kvm_vcpu *vcpu, u64 offset);
int kvmclock_tsc_khz_set(struct kvm_vcpu *vcpu, int ret, bool scaled);
void kvmclock_tsc_offset_written(struct kvm_vcpu *vcpu);
void kvmclock_catch_up(struct kvm_vcpu *vcpu, const struct kvmclock_instant *now);
void kvmclock_vcpu_load(struct kvm_vcpu *vcpu, int cpu);
void kvmclock_host_cpu_up(void);
u32 kvmclock_vm_khz(struct kvm *kvm);
u64 kvmclock_default_ratio(struct kvm *kvm);
u64 kvmclock_move_reference(struct kvm *kvm, const struct kvmclock_instant *now, u64 ratio,
			    u64 offset);
void kvmclock_move_tscs(struct kvm *kvm, u64 cycles);

/* kvmclock_host.c: the host's time, and what happens to it */
void kvmclock_init(void);
void kvmclock_exit(void);
void kvmclock_get_instant(clockid_t id, struct kvmclock_instant *now);
int kvmclock_host_vclock_mode(void);
bool kvm_check_tsc_unstable(void);
u32 kvmclock_host_khz(void);
u32 kvmclock_default_tsc_khz(void);

/* kvmclock_debugfs.c */
void kvmclock_create_debugfs(struct kvm *kvm);

/* kvmclock_ioctl.c */
int kvm_vm_ioctl_get_clock(struct kvm *kvm, void __user *argp);
int kvm_vm_ioctl_set_clock(struct kvm *kvm, void __user *argp);
int kvmclock_enable_cap(struct kvm *kvm, const struct kvm_enable_cap *cap);

/* x86.c: how far a guest's TSC frequency may be off before it is scaled */
extern u32 tsc_tolerance_ppm;
u32 adjust_tsc_khz(u32 khz, s32 ppm);

#endif
