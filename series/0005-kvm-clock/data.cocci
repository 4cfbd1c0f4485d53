// file-scope data and types that go
@has_master@ expression E; @@
- static atomic_t kvm_guest_has_master_clock = E;

@cpu_khz@ declarer name DEFINE_PER_CPU; @@
- static DEFINE_PER_CPU(unsigned long, cpu_tsc_khz);

@max_khz@ @@
- static unsigned long max_tsc_khz;

@notifiers@ identifier nb = {pvclock_gtod_notifier, kvmclock_cpufreq_notifier_block}; @@
- static struct notifier_block nb = { ... };

@work@ declarer name DECLARE_WORK; identifier x = {pvclock_gtod_work}; expression list es; @@
- static DECLARE_WORK(x, es);

@irqwork@ declarer name DEFINE_IRQ_WORK; identifier x = {pvclock_irq_work}; expression list es; @@
- static DEFINE_IRQ_WORK(x, es);

@inc_gtod@ @@
- #include <linux/pvclock_gtod.h>
@inc_tk@ @@
- #include <linux/timekeeper_internal.h>
@inc_cpufreq@ @@
- #include <linux/cpufreq.h>
@macros@ identifier m = {KVM_CLOCK_VALID_FLAGS}; expression e; @@
- #define m e
