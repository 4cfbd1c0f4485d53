// SPDX-License-Identifier: GPL-2.0
/*
 * The host's side of the KVM clock: where its time comes from, and the events
 * on the host that the clocks of all VMs must follow.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/cpufreq.h>
#include <linux/cpuhotplug.h>
#include <linux/irq_work.h>
#include <linux/kvm_host.h>
#include <linux/pvclock_gtod.h>
#include <linux/timekeeper_internal.h>
#include <linux/timekeeping.h>
#include <linux/workqueue.h>

#include <asm/hypervisor.h>
#include <asm/mshyperv.h>
#include <asm/tsc.h>

#include "kvmclock.h"
#include "x86.h"

/* Without constant TSC: this CPU's frequency, 0 while the CPU is offline. */
static DEFINE_PER_CPU(u32, cpu_tsc_khz);
static u32 max_tsc_khz;

/* The host's clocksource, as of the last call of the timekeeper's notifier. */
static const struct clocksource *host_clocksource;
static int host_vclock_mode = VDSO_CLOCKMODE_NONE;

int kvmclock_host_vclock_mode(void)
{
	return READ_ONCE(host_vclock_mode);
}

/*
 * On Hyper-V, the TSC is marked unstable because its frequency changes with
 * migration, but Hyper-V's TSC page makes up for it.
 */
bool kvm_check_tsc_unstable(void)
{
	if (kvmclock_host_vclock_mode() == VDSO_CLOCKMODE_HVCLOCK)
		return false;

	return check_tsc_unstable();
}

/*
 * Get the host TSC that the timekeeper computed @snap from.  kvm-clock names
 * the TSC as its hardware counter as well, but as the clocksource of a nested
 * host it may be set and redrawn at any time, and does not qualify.
 */
static bool kvmclock_snapshot_tsc(const struct system_time_snapshot *snap, u64 *tsc)
{
	if (!IS_ENABLED(CONFIG_X86_64))
		return false;

	if (snap->cs_id == CSID_X86_TSC || snap->cs_id == CSID_X86_TSC_EARLY) {
		*tsc = snap->cycles;
		return true;
	}

	if (kvmclock_host_vclock_mode() == VDSO_CLOCKMODE_HVCLOCK &&
	    snap->hw_csid == CSID_X86_TSC && snap->cs_id != CSID_X86_KVM_CLK) {
		*tsc = snap->hw_cycles;
		return true;
	}

	return false;
}

/*
 * Get the host's clocks and TSC at one instant.  CLOCK_MONOTONIC_RAW does not
 * count the time that the host is suspended, whereas guests expect their clock
 * to, hence the boot offset.  It changes only while no task can run.
 *
 * Without a clocksource based on the TSC there is no such instant.  The TSC is
 * read last then: a line that ends at it passes what it had reached before.
 */
void kvmclock_get_instant(clockid_t id, struct kvmclock_instant *now)
{
	struct system_time_snapshot snap = {};

	ktime_get_snapshot_id(id, &snap);
	if (unlikely(!snap.valid)) {
		snap.systime = id == CLOCK_MONOTONIC ? ktime_get() : ktime_get_real();
		snap.monoraw = ktime_get_raw();
	}

	now->sys_ns = ktime_to_ns(snap.systime);
	now->boot_ns = ktime_to_ns(ktime_mono_to_any(snap.monoraw, TK_OFFS_BOOT));
	now->tsc_based = snap.valid && kvmclock_snapshot_tsc(&snap, &now->tsc);
	if (!now->tsc_based)
		now->tsc = rdtsc_ordered();
}

/*
 * The frequency of this CPU's TSC.  Without constant TSC, 0 while the CPU goes
 * offline.  A constant TSC's may change as well, when its calibration is refined
 * shortly after boot; the clocksource changes with it, and the notifier follows.
 */
u32 kvmclock_host_khz(void)
{
	if (cpu_feature_enabled(X86_FEATURE_CONSTANT_TSC))
		return tsc_khz;

	return raw_cpu_read(cpu_tsc_khz);
}

u32 kvmclock_default_tsc_khz(void)
{
	return max_tsc_khz ? : tsc_khz;
}

static void kvmclock_update_all_vms(void)
{
	struct kvm *kvm;

	mutex_lock(&kvm_lock);
	list_for_each_entry(kvm, &vm_list, vm_list)
		kvmclock_update(kvm);
	mutex_unlock(&kvm_lock);
}

static void kvmclock_clocksource_work_fn(struct work_struct *work)
{
	kvmclock_update_all_vms();
}

static DECLARE_WORK(kvmclock_clocksource_work, kvmclock_clocksource_work_fn);

/* queue_work() takes locks under which others may read the time. */
static void kvmclock_irq_work_fn(struct irq_work *work)
{
	queue_work(system_long_wq, &kvmclock_clocksource_work);
}

static DEFINE_IRQ_WORK(kvmclock_irq_work, kvmclock_irq_work_fn);

/*
 * Called at each update of the timekeeper, within its write section: reading
 * the time or taking a lock here would be a deadlock.
 */
static int kvmclock_timekeeper_notify(struct notifier_block *nb, unsigned long was_set,
				      void *priv)
{
	const struct timekeeper *tk = priv;
	const struct clocksource *cs = tk->tkr_mono.clock;

	if (likely(cs == host_clocksource))
		return 0;

	host_clocksource = cs;
	WRITE_ONCE(host_vclock_mode, cs->vdso_clock_mode);
	irq_work_queue(&kvmclock_irq_work);
	return 0;
}

static struct notifier_block kvmclock_timekeeper_notifier = {
	.notifier_call = kvmclock_timekeeper_notify,
};

/*
 * Runs on the CPU whose frequency changes, as all writers of cpu_tsc_khz do:
 * a CPU coming online and a change of its frequency are not ordered otherwise.
 */
static void kvmclock_set_cpu_khz(void *data)
{
	struct cpufreq_freqs *freq = data;
	u32 khz = freq ? freq->new : cpufreq_quick_get(raw_smp_processor_id());

	__this_cpu_write(cpu_tsc_khz, khz ? : tsc_khz);
}

static int kvmclock_cpu_online(unsigned int cpu)
{
	kvmclock_set_cpu_khz(NULL);
	return 0;
}

static int kvmclock_cpu_down_prep(unsigned int cpu)
{
	__this_cpu_write(cpu_tsc_khz, 0);
	return 0;
}

/* Have the vCPUs on @cpu compute with its new frequency before they run on. */
static void kvmclock_request_update_on_cpu(struct kvm *kvm, int cpu)
{
	struct kvm_vcpu *vcpu;
	unsigned long i;

	kvm_for_each_vcpu(i, vcpu, kvm) {
		if (READ_ONCE(vcpu->cpu) != cpu)
			continue;

		kvm_make_request(KVM_REQ_CLOCK_UPDATE, vcpu);
		kvm_vcpu_kick(vcpu);
	}
}

static void kvmclock_cpu_khz_changed(struct cpufreq_freqs *freq, int cpu)
{
	struct kvm *kvm;

	smp_call_function_single(cpu, kvmclock_set_cpu_khz, freq, 1);

	mutex_lock(&kvm_lock);
	list_for_each_entry(kvm, &vm_list, vm_list) {
		kvmclock_request_update_on_cpu(kvm, cpu);
		kvmclock_update(kvm);
	}
	mutex_unlock(&kvm_lock);
}

/*
 * A guest that runs on while its TSC slows down sees its clock run slow until
 * it is updated, one whose TSC speeds up sees it run fast, and go back when it
 * is: follow an increase before it happens, a decrease after.
 */
static int kvmclock_cpufreq_notify(struct notifier_block *nb, unsigned long val, void *data)
{
	struct cpufreq_freqs *freq = data;
	int cpu;

	if (val == CPUFREQ_PRECHANGE && freq->old > freq->new)
		return 0;
	if (val == CPUFREQ_POSTCHANGE && freq->old < freq->new)
		return 0;

	for_each_cpu(cpu, freq->policy->cpus)
		kvmclock_cpu_khz_changed(freq, cpu);

	return 0;
}

static struct notifier_block kvmclock_cpufreq_notifier = {
	.notifier_call = kvmclock_cpufreq_notify,
};

#ifdef CONFIG_X86_64
static void kvmclock_adopt_hyperv_khz(void)
{
	int cpu;

	if (!boot_cpu_has(X86_FEATURE_CONSTANT_TSC)) {
		for_each_present_cpu(cpu)
			per_cpu(cpu_tsc_khz, cpu) = tsc_khz;
	}
	kvm_caps.max_guest_tsc_khz = tsc_khz;
}

/*
 * This host, a guest of Hyper-V, was migrated.  Hyper-V emulates the TSC with
 * its old frequency until told that everyone is ready for the new one.  The TSC
 * jumps with it, so that the VMs' clocks leave it before and come back after.
 */
static void kvmclock_hyperv_tsc_changed(void)
{
	struct kvm *kvm;

	mutex_lock(&kvm_lock);
	list_for_each_entry(kvm, &vm_list, vm_list)
		kvmclock_hold(kvm);

	hyperv_stop_tsc_emulation();
	kvmclock_adopt_hyperv_khz();

	list_for_each_entry(kvm, &vm_list, vm_list)
		kvmclock_release(kvm);
	mutex_unlock(&kvm_lock);
}
#endif

static u32 kvmclock_max_cpu_khz(void)
{
	struct cpufreq_policy *policy = cpufreq_cpu_get(raw_smp_processor_id());
	u32 khz = 0;

	if (policy) {
		khz = policy->cpuinfo.max_freq;
		cpufreq_cpu_put(policy);
	}
	return khz ? : tsc_khz;
}

void kvmclock_init(void)
{
	if (!boot_cpu_has(X86_FEATURE_CONSTANT_TSC)) {
		max_tsc_khz = kvmclock_max_cpu_khz();
		cpufreq_register_notifier(&kvmclock_cpufreq_notifier,
					  CPUFREQ_TRANSITION_NOTIFIER);
		cpuhp_setup_state(CPUHP_AP_X86_KVM_CLK_ONLINE, "x86/kvm/clk:online",
				  kvmclock_cpu_online, kvmclock_cpu_down_prep);
	}

	pvclock_gtod_register_notifier(&kvmclock_timekeeper_notifier);
#ifdef CONFIG_X86_64
	if (hypervisor_is_type(X86_HYPER_MS_HYPERV))
		set_hv_tscchange_cb(kvmclock_hyperv_tsc_changed);
#endif
}

void kvmclock_exit(void)
{
#ifdef CONFIG_X86_64
	if (hypervisor_is_type(X86_HYPER_MS_HYPERV))
		clear_hv_tscchange_cb();
#endif
	pvclock_gtod_unregister_notifier(&kvmclock_timekeeper_notifier);
	irq_work_sync(&kvmclock_irq_work);
	cancel_work_sync(&kvmclock_clocksource_work);
	host_clocksource = NULL;

	if (!boot_cpu_has(X86_FEATURE_CONSTANT_TSC)) {
		cpufreq_unregister_notifier(&kvmclock_cpufreq_notifier,
					    CPUFREQ_TRANSITION_NOTIFIER);
		cpuhp_remove_state_nocalls(CPUHP_AP_X86_KVM_CLK_ONLINE);
	}
}
