// SPDX-License-Identifier: GPL-2.0
/*
 * What happens to the host's time, and the clocks of all VMs must follow.
 *
 * Nobody who creates or destroys a VM waits for that: kvm_lock is held to leave a note
 * in each VM, and whoever needs its clock next acts on it.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/cpufreq.h>
#include <linux/cpuhotplug.h>
#include <linux/irq_work.h>
#include <linux/kvm_host.h>
#include <linux/pvclock_gtod.h>
#include <linux/timekeeper_internal.h>
#include <linux/workqueue.h>

#include <asm/hypervisor.h>
#include <asm/mshyperv.h>
#include <asm/tsc.h>

#include "kvmclock.h"
#include "x86.h"

/* The host's clocksource, as of the last call of the timekeeper's notifier. */
static const struct clocksource *host_clocksource;

/* What it means for a VM is found out, and done, by who needs its clock next. */
static void kvmclock_host_work_fn(struct work_struct *work)
{
	struct kvm *kvm;

	guard(mutex)(&kvm_lock);

	list_for_each_entry(kvm, &vm_list, vm_list)
		kvmclock_note_host_event(kvm);
}

static DECLARE_WORK(kvmclock_host_work, kvmclock_host_work_fn);

/* queue_work() takes locks under which others may read the time. */
static void kvmclock_irq_work_fn(struct irq_work *work)
{
	queue_work(system_long_wq, &kvmclock_host_work);
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
	WRITE_ONCE(kvmclock_vclock_mode, cs->vdso_clock_mode);
	irq_work_queue(&kvmclock_irq_work);
	return 0;
}

static struct notifier_block kvmclock_timekeeper_notifier = {
	.notifier_call = kvmclock_timekeeper_notify,
};

/*
 * A CPU of the host comes up for KVM.  Some hosts reset their TSCs while they are
 * suspended, but keep them in sync: find out on the first CPU that resumes, before
 * anything else can run.  A CPU that comes online at any other time is no reset:
 * either its TSC is in sync with the others', or Linux has found it unstable.
 */
void kvmclock_host_cpu_up(void)
{
	if (likely(system_state != SYSTEM_SUSPEND))
		kvmclock_forget_last_tsc();
	else if (!kvm_check_tsc_unstable())
		kvmclock_find_tsc_reset();
}

/*
 * Runs on the CPU whose frequency changes, as all who set a CPU's frequency do:
 * a CPU coming online and a change of its frequency are not ordered otherwise.
 */
static void kvmclock_follow_cpufreq(void *data)
{
	struct cpufreq_freqs *freq = data;
	u32 khz = freq ? freq->new : cpufreq_quick_get(raw_smp_processor_id());

	kvmclock_set_cpu_khz(raw_smp_processor_id(), khz ? : tsc_khz);
}

static int kvmclock_cpu_online(unsigned int cpu)
{
	kvmclock_follow_cpufreq(NULL);
	return 0;
}

static int kvmclock_cpu_down_prep(unsigned int cpu)
{
	kvmclock_set_cpu_khz(cpu, 0);
	return 0;
}

/* Have the vCPUs on @cpu compute with its new frequency when they next enter the guest. */
static void kvmclock_request_update_on_cpu(struct kvm *kvm, int cpu)
{
	struct kvm_vcpu *vcpu;
	unsigned long i;

	kvm_for_each_vcpu(i, vcpu, kvm) {
		if (READ_ONCE(vcpu->cpu) == cpu)
			kvm_make_request(KVM_REQ_CLOCK_UPDATE, vcpu);
	}
}

static void kvmclock_cpu_khz_changed(struct cpufreq_freqs *freq, int cpu)
{
	struct kvm *kvm;

	smp_call_function_single(cpu, kvmclock_follow_cpufreq, freq, 1);

	mutex_lock(&kvm_lock);
	list_for_each_entry(kvm, &vm_list, vm_list)
		kvmclock_request_update_on_cpu(kvm, cpu);
	mutex_unlock(&kvm_lock);

	/* Whoever is in the guest there has to leave it before the TSC speeds up. */
	if (freq->old < freq->new)
		smp_call_function_single(cpu, kvmclock_follow_cpufreq, freq, 1);
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
/* All vCPUs have to be out of the guest as the TSC jumps: here, a note is not enough. */
static void kvmclock_redraw_all_vms(bool jumped)
{
	struct kvm *kvm;

	guard(mutex)(&kvm_lock);

	list_for_each_entry(kvm, &vm_list, vm_list)
		kvmclock_redraw_for_host(kvm, jumped);
}

static void kvmclock_adopt_hyperv_khz(void)
{
	int cpu;

	if (!boot_cpu_has(X86_FEATURE_CONSTANT_TSC)) {
		for_each_present_cpu(cpu)
			kvmclock_set_cpu_khz(cpu, tsc_khz);
	}
	kvm_caps.max_guest_tsc_khz = tsc_khz;
}

/*
 * This host, a guest of Hyper-V, was migrated.  Hyper-V emulates the TSC with
 * its old frequency until told that everyone is ready for the new one.  The TSC
 * jumps with it, so that the VMs' clocks leave it before and come back after, once
 * no line from before is left.  The vCPUs of a VM that is created meanwhile do not enter
 * the guest before that.
 */
static void kvmclock_hyperv_tsc_changed(void)
{
	kvmclock_hold_tsc(true);
	kvmclock_redraw_all_vms(false);

	hyperv_stop_tsc_emulation();
	kvmclock_adopt_hyperv_khz();

	kvmclock_redraw_all_vms(true);
	kvmclock_hold_tsc(false);
	kvmclock_redraw_all_vms(false);
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

void kvmclock_vendor_init(void)
{
	if (!boot_cpu_has(X86_FEATURE_CONSTANT_TSC)) {
		kvmclock_set_max_khz(kvmclock_max_cpu_khz());
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

void kvmclock_vendor_exit(void)
{
#ifdef CONFIG_X86_64
	if (hypervisor_is_type(X86_HYPER_MS_HYPERV))
		clear_hv_tscchange_cb();
#endif
	pvclock_gtod_unregister_notifier(&kvmclock_timekeeper_notifier);
	irq_work_sync(&kvmclock_irq_work);
	cancel_work_sync(&kvmclock_host_work);
	host_clocksource = NULL;

	if (!boot_cpu_has(X86_FEATURE_CONSTANT_TSC)) {
		cpufreq_unregister_notifier(&kvmclock_cpufreq_notifier,
					    CPUFREQ_TRANSITION_NOTIFIER);
		cpuhp_remove_state_nocalls(CPUHP_AP_X86_KVM_CLK_ONLINE);
	}
}
