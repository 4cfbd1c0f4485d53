// What happens to the host's time.

// A CPU that comes up, other than when the host resumes, is no TSC reset: its TSC is in sync with the others', or Linux has
// found it unstable.
@cpu_up@ symbol local_tsc; @@
  kvm_arch_enable_virtualization_cpu(void) {
  ...
+ if (system_state != SYSTEM_SUSPEND)
+ 	return 0;
+
  local_tsc = rdtsc();
  ...
  }
@tsc_reset@ symbol kvm, max_tsc; @@
  kvm->arch.backwards_tsc_observed = true;
+ kvmclock_note_tsc_reset(kvm, max_tsc);

// The clocksource: whoever needs a VM's clock next finds out what it means.
@clocksource_work@ @@
  pvclock_gtod_update_fn(...)
  {
- ...
+ kvmclock_note_host_event();
  }
@clocksource@ symbol priv; @@
  pvclock_gtod_notify(...)
  {
- ...
+ if (kvmclock_note_clocksource(priv))
+ 	irq_work_queue(&pvclock_irq_work);
+ return 0;
  }

// This host, a guest of Hyper-V, was migrated, and its TSC jumps.
@hyperv@ iterator name list_for_each_entry; statement S1, S2; @@
  kvm_hyperv_tsc_notifier(void) {
- struct kvm *kvm;
  ...
- mutex_lock(&kvm_lock);
- list_for_each_entry(kvm, &vm_list, vm_list) S1
+ kvmclock_leave_tsc();
  ...
- list_for_each_entry(kvm, &vm_list, vm_list) S2
- mutex_unlock(&kvm_lock);
+ kvmclock_return_to_tsc();
  }
