/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The KVM clock.  Its files stand on stairs, and each calls only what is declared
 * below it here.
 */
#ifndef __KVM_X86_KVMCLOCK_H
#define __KVM_X86_KVMCLOCK_H

#include <linux/kvm_host.h>

#include <asm/tsc.h>
#include <asm/vdso/clocksource.h>

struct ms_hyperv_tsc_page;
struct timekeeper;

/* What KVM_ENABLE_CAP takes for KVM_CAP_ADJUST_CLOCK. */
#define KVM_CLOCK_OPTIONAL_FLAGS \
	(KVM_CLOCK_GUEST_TSC | KVM_CLOCK_MONOTONIC | KVM_CLOCK_TAI)

#define KVM_CLOCK_VALID_FLAGS \
	(KVM_CLOCK_TSC_STABLE | KVM_CLOCK_REALTIME | KVM_CLOCK_HOST_TSC | \
	 KVM_CLOCK_GUEST_STOPPED | KVM_CLOCK_OPTIONAL_FLAGS)

/* Why a line is redrawn; nothing else may do so. */
enum kvmclock_cause {
	KVMCLOCK_CAUSE_NONE,
	KVMCLOCK_CAUSE_SET,		/* KVM_SET_CLOCK asks for another line */
	KVMCLOCK_CAUSE_MODE,		/* master clock mode is entered or left */
	KVMCLOCK_CAUSE_FREQUENCY,	/* the VM's or the host's TSC frequency changes */
	KVMCLOCK_CAUSE_TSC_RESET,	/* the host's TSC was reset while it was suspended */
	KVMCLOCK_CAUSE_TSC_SET_BACK,	/* a vCPU's TSC was set below the line's anchor */
};

/* One instant on the host. */
struct kvmclock_instant {
	bool tsc_based;		/* all clocks below were computed from @tsc */
	u64 tsc;		/* host TSC, read after the clocks if not @tsc_based */
	u64 raw_ns;		/* CLOCK_MONOTONIC_RAW */
	u64 sys_ns;		/* the clock that was asked for */
	s32 tai_offset;		/* CLOCK_TAI - CLOCK_REALTIME in s, if CLOCK_TAI was */
};

/* kvmclock_set.c: what user space asks for */
int kvm_vm_ioctl_get_clock(struct kvm *kvm, void __user *argp);
int kvm_vm_ioctl_set_clock(struct kvm *kvm, void __user *argp);
int kvmclock_enable_cap(struct kvm *kvm, const struct kvm_enable_cap *cap);
int kvmclock_get_guest(struct kvm_vcpu *vcpu, void __user *argp);
int kvmclock_set_guest(struct kvm_vcpu *vcpu, void __user *argp);
int kvmclock_tsc_scale_attr(struct kvm_vcpu *vcpu, unsigned int ioctl,
			    const struct kvm_device_attr *attr);
void kvmclock_create_debugfs(struct kvm *kvm);

/* kvmclock_pages.c: how guests get to see it */
void kvmclock_init_vcpu(struct kvm_vcpu *vcpu);
void kvmclock_reset(struct kvm_vcpu *vcpu);
void kvmclock_destroy_vcpu(struct kvm_vcpu *vcpu);
int __kvmclock_handle_requests(struct kvm_vcpu *vcpu);
void kvmclock_set_wall_clock(struct kvm_vcpu *vcpu, gpa_t wall_clock);
void kvm_write_system_time(struct kvm_vcpu *vcpu, gpa_t system_time,
			   bool old_msr, bool host_initiated);
int kvm_set_guest_paused(struct kvm_vcpu *vcpu);

/* kvmclock_hyperv.c: the reference TSC page of Hyper-V */
#ifdef CONFIG_KVM_HYPERV
void kvmclock_set_hyperv_page(struct kvm_vcpu *vcpu, u64 msr, bool host_initiated);
bool kvmclock_write_hyperv_page(struct kvm_vcpu *vcpu, gpa_t gpa, struct ms_hyperv_tsc_page *page);
u64 get_time_ref_counter(struct kvm *kvm);
#else
static inline bool kvmclock_write_hyperv_page(struct kvm_vcpu *vcpu, gpa_t gpa,
					      struct ms_hyperv_tsc_page *page)
{
	return false;
}
#endif

/* kvmclock_tsc.c: the vCPUs' TSCs, as far as the clock follows or moves them */
void kvmclock_write_offset(struct kvm_vcpu *vcpu, u64 offset);
void kvmclock_find_first_tsc(struct kvm_vcpu *vcpu, u64 *offset, u64 *data, u64 *ns);
void kvmclock_track_tsc(struct kvm_vcpu *vcpu);
int kvm_set_tsc_khz(struct kvm_vcpu *vcpu, u32 khz);
void kvmclock_init_tsc_khz(struct kvm_vcpu *vcpu);
void kvmclock_catch_up(struct kvm_vcpu *vcpu, const struct kvmclock_instant *now);
void kvmclock_vcpu_moved(struct kvm_vcpu *vcpu);
u64 kvmclock_move_reference(struct kvm *kvm, const struct kvmclock_instant *now, u64 ratio,
			    u64 offset);
void kvmclock_move_tscs(struct kvm *kvm, u64 cycles);
u64 kvmclock_boot_offset(struct kvm *kvm, u64 ratio);

/* kvmclock.c: the clock */
void kvmclock_init_vm(struct kvm *kvm);
void kvmclock_join(struct kvm_vcpu *vcpu);
void kvmclock_leave(struct kvm_vcpu *vcpu);
void kvmclock_note_tsc(struct kvm_vcpu *vcpu);

void kvm_get_clock(struct kvm *kvm, struct kvm_clock_data *data);
u64 get_kvmclock_ns(struct kvm *kvm);
u64 kvmclock_get_monotonic(struct kvm *kvm, s64 *monotonic_ns);
u64 kvm_get_wall_clock_epoch(struct kvm *kvm);
bool kvmclock_get_vcpu_line(struct kvm_vcpu *vcpu, struct pvclock_vcpu_time_info *line,
			    bool *master);

void kvmclock_publish(struct kvm_clock *clock);
void kvmclock_update(struct kvm *kvm, const struct kvm_vcpu *vcpu);
void kvmclock_update_for(struct kvm_vcpu *vcpu);
void kvmclock_note_host_event(void);
void kvmclock_note_tsc_reset(struct kvm *kvm, u64 last_tsc);
void kvmclock_leave_tsc(void);
void kvmclock_return_to_tsc(void);
u32 kvmclock_host_khz(void);
void kvmclock_request_update(struct kvm_vcpu *vcpu);

/* kvmclock.c: for who draws another line */
u64 kvmclock_guest_freq(u32 khz, u64 ratio);
u64 kvmclock_ns(const struct kvm_clock *clock, const struct kvmclock_instant *now);
void kvmclock_draw_vcpu(struct kvm_vcpu *vcpu, u64 host_tsc, u64 ns, u32 khz);
bool kvmclock_find_ratio(u32 khz, u64 *ratio);
u32 kvmclock_vm_khz(struct kvm *kvm);
bool kvmclock_can_use_master_clock(struct kvm *kvm, bool tsc_based, u64 *ratio);
u64 kvmclock_get_floor(struct kvm *kvm, const struct kvmclock_instant *now, u64 vcpus_ns);
enum kvmclock_cause kvmclock_must_redraw(struct kvm *kvm, bool tsc_based);
void kvmclock_redraw(struct kvm *kvm, const struct kvmclock_instant *now, u64 ns,
		     const struct pvclock_vcpu_time_info *asked, enum kvmclock_cause cause);
void kvmclock_begin_update(struct kvm *kvm, bool locked, clockid_t id,
			   struct kvmclock_instant *now, u64 *vcpus_ns);
void kvmclock_unlock_update(struct kvm *kvm);
void kvmclock_end_update(struct kvm *kvm);

/* kvmclock_instant.c: where time comes from */
extern int kvmclock_vclock_mode;

void kvmclock_get_instant(clockid_t id, struct kvmclock_instant *now);
u64 kvmclock_boot_ns(const struct kvmclock_instant *now);
bool kvmclock_host_is_tsc_based(void);
bool kvmclock_note_clocksource(const struct timekeeper *tk);

/*
 * On Hyper-V, the TSC is marked unstable because its frequency changes with
 * migration, but Hyper-V's TSC page makes up for it.
 */
static inline bool kvm_check_tsc_unstable(void)
{
	return check_tsc_unstable() &&
	       READ_ONCE(kvmclock_vclock_mode) != VDSO_CLOCKMODE_HVCLOCK;
}

/* Nobody looks for pages that no memory slot has before the slots change. */
static inline bool kvmclock_pages_are_old(const struct kvm_vcpu *vcpu, unsigned long generation)
{
	const struct kvm_vcpu_clock *vclock = &vcpu->arch.clock;

	/* Pairs with smp_store_release() in kvmclock_write_pages(). */
	return smp_load_acquire(&vclock->shown) != generation ||
	       (unlikely(READ_ONCE(vclock->unwritten)) &&
		READ_ONCE(vclock->without_slot) != kvm_memslots(vcpu->kvm)->generation);
}

/* The last look before the guest.  Requests are made before a change is over: those come next. */
static inline bool kvmclock_has_changed(const struct kvm_vcpu *vcpu)
{
	return READ_ONCE(vcpu->arch.clock.shown) != READ_ONCE(vcpu->kvm->arch.clock.generation);
}

/* On the way into the guest: look for changes without a request, and pages that were absent. */
static inline void kvmclock_look_for_changes(struct kvm_vcpu *vcpu)
{
	const struct kvm_clock *clock = &vcpu->kvm->arch.clock;
	const struct kvm_vcpu *boot_vcpu = READ_ONCE(clock->boot_vcpu);
	unsigned long generation = READ_ONCE(clock->generation);

	if (unlikely(kvmclock_pages_are_old(vcpu, generation) ||
		     (boot_vcpu && kvmclock_pages_are_old(boot_vcpu, generation))))
		kvm_make_request(KVM_REQ_MASTERCLOCK_UPDATE, vcpu);
}

#define KVMCLOCK_REQUESTS						\
	(BIT_ULL(KVM_REQ_GLOBAL_CLOCK_UPDATE & KVM_REQUEST_MASK) |	\
	 BIT_ULL(KVM_REQ_MASTERCLOCK_UPDATE & KVM_REQUEST_MASK) |	\
	 BIT_ULL(KVM_REQ_CLOCK_UPDATE & KVM_REQUEST_MASK))

/* There are other requests at most entries: no call, and no look for each of these. */
static inline int kvmclock_handle_requests(struct kvm_vcpu *vcpu)
{
	if (likely(!(READ_ONCE(vcpu->requests) & KVMCLOCK_REQUESTS)))
		return 0;

	return __kvmclock_handle_requests(vcpu);
}

/* x86.c, msrs.c: what is left there */
void kvm_write_wall_clock(struct kvm *kvm, gpa_t wall_clock, int sec_hi_ofs);
extern u32 tsc_tolerance_ppm;
unsigned long get_cpu_tsc_khz(void);
void __kvm_synchronize_tsc(struct kvm_vcpu *vcpu, u64 offset, u64 tsc, u64 ns, bool matched,
			   bool user_set_tsc);
u64 compute_guest_tsc(struct kvm_vcpu *vcpu, s64 kernel_ns);
void __kvm_vcpu_write_tsc_offset(struct kvm_vcpu *vcpu, u64 l1_offset);
void kvm_vcpu_write_tsc_multiplier(struct kvm_vcpu *vcpu, u64 l1_multiplier);

#endif
