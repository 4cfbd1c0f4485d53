// call sites in x86.c (and, in older bases, what later moved to msrs.c)

// --- requests: one call where there were three
@req@ expression v; @@
- if (kvm_check_request(KVM_REQ_MASTERCLOCK_UPDATE, v))
- 	kvm_update_masterclock(v->kvm);
- if (kvm_check_request(KVM_REQ_GLOBAL_CLOCK_UPDATE, v))
- 	kvm_gen_kvmclock_update(v);
- if (kvm_check_request(KVM_REQ_CLOCK_UPDATE, v)) {
- 	r = kvm_guest_time_update(v);
- 	if (unlikely(r))
- 		goto out;
- }
+ r = kvmclock_handle_requests(v);
+ if (unlikely(r))
+ 	goto out;

// --- vCPU load and put
@load@ symbol vcpu, cpu; statement S1, S2, S3; identifier d; expression E; @@
  kvm_arch_vcpu_load(...) {
  ...
- if (unlikely(vcpu->arch.tsc_offset_adjustment)) S1
+ kvmclock_vcpu_load(vcpu, cpu);
  ...
  if (unlikely(vcpu->cpu != cpu) || kvm_check_tsc_unstable()) {
- 	s64 d = E;
- 	if (d < 0)
- 		mark_tsc_unstable(...);
- 	if (kvm_check_tsc_unstable()) S2
  	...
- 	if (!vcpu->kvm->arch.use_master_clock || vcpu->cpu == -1) S3
  	...
  }
  ...
  }

@put@ expression vcpu; @@
  kvm_arch_vcpu_put(...) {
  ...
- vcpu->arch.last_host_tsc = rdtsc();
+ kvmclock_vcpu_put(vcpu);
  ...
  }

@exit@ expression vcpu; @@
  vcpu_enter_guest(...) {
  <...
- vcpu->arch.last_guest_tsc = kvm_read_l1_tsc(vcpu, rdtsc());
+ kvmclock_vcpu_exit(vcpu);
  ...>
  }

// --- VM and vCPU life
@vm1@ expression kvm; @@
- raw_spin_lock_init(&kvm->arch.tsc_write_lock);
@vm2@ expression kvm; @@
- seqcount_raw_spinlock_init(&kvm->arch.pvclock_sc, ...);
@vm3@ expression kvm; @@
- ratelimit_state_init(&kvm->arch.kvmclock_update_rs, ...);
@vm4@ expression kvm; @@
- ratelimit_set_flags(&kvm->arch.kvmclock_update_rs, ...);
@vm5@ expression kvm; @@
- kvm->arch.kvmclock_offset = -get_kvmclock_base_ns();
@vm6@ expression kvm; identifier flags; @@
  kvm_arch_init_vm(...) {
  ...
- unsigned long flags;
  ...
- raw_spin_lock_irqsave(&kvm->arch.tsc_write_lock, flags);
- pvclock_update_vm_gtod_copy(kvm);
- raw_spin_unlock_irqrestore(&kvm->arch.tsc_write_lock, flags);
  ...
  }
@vm7@ expression kvm; @@
- kvm->arch.default_tsc_khz = max_tsc_khz ? : tsc_khz;
+ kvmclock_init_vm(kvm);
@vm8@ expression kvm; identifier w = {kvmclock_update_work, kvmclock_sync_work}; @@
(
- INIT_DELAYED_WORK(&kvm->arch.w, ...);
|
- cancel_delayed_work_sync(&kvm->arch.w);
)
@vm9@ statement S; @@
- if (kvmclock_periodic_sync && ...) S
@vcpu1@ expression vcpu; @@
- kvm_gpc_init(&vcpu->arch.pv_time, ...);
+ kvmclock_init_vcpu(vcpu);

// --- host CPU comes up
@cpuup@ iterator name list_for_each_entry; statement S1, S2; identifier kvm, l, st, b, m; expression E; @@
  kvm_arch_enable_virtualization_cpu(void) {
  ...
- l = rdtsc();
- st = !kvm_check_tsc_unstable();
- list_for_each_entry(kvm, &vm_list, vm_list) S1
- if (b) S2
+ kvmclock_host_cpu_up();
  ...
  }
@cpuup2 depends on cpuup@ identifier x = {kvm, vcpu, i, local_tsc, max_tsc, stable, backwards_tsc}; type T; expression E; @@
  kvm_arch_enable_virtualization_cpu(void) {
  ... when any
(
- T x;
|
- T x = E;
)
  ... when any
  }
@cpuup3 depends on cpuup@ identifier x = {kvm, vcpu, i, local_tsc, max_tsc, stable, backwards_tsc}; type T; expression E; @@
  kvm_arch_enable_virtualization_cpu(void) {
  ... when any
(
- T x;
|
- T x = E;
)
  ... when any
  }

// --- TSC offset attribute
@attr@ expression vcpu, kvm, offset; identifier matched, tsc, ns, flags; expression E1, E2; @@
- raw_spin_lock_irqsave(&kvm->arch.tsc_write_lock, flags);
- matched = E1;
- tsc = E2;
- ns = get_kvmclock_base_ns();
(
- kvm->arch.user_set_tsc = true;
- __kvm_synchronize_tsc(vcpu, offset, ...);
|
- __kvm_synchronize_tsc(vcpu, offset, ...);
)
- raw_spin_unlock_irqrestore(&kvm->arch.tsc_write_lock, flags);
+ kvmclock_set_tsc_offset(vcpu, offset);
@attr2 depends on attr exists@ identifier x = {tsc, ns, flags, matched, kvm}; type T; expression E; @@
  kvm_arch_tsc_set_attr(...) {
  ... when any
(
- T x;
|
- T x = E;
)
  ... when any
  }
// --- module
@init@ @@
- kvm_timer_init();
+ kvmclock_init();
@init2@ @@
- pvclock_gtod_register_notifier(...);
@init3@ @@
- if (hypervisor_is_type(X86_HYPER_MS_HYPERV))
- 	set_hv_tscchange_cb(...);
@exit1@ @@
- if (hypervisor_is_type(X86_HYPER_MS_HYPERV))
- 	clear_hv_tscchange_cb();
@exit2@ @@
- if (!boot_cpu_has(X86_FEATURE_CONSTANT_TSC)) {
- 	cpufreq_unregister_notifier(...);
- 	cpuhp_remove_state_nocalls(CPUHP_AP_X86_KVM_CLK_ONLINE);
- }
+ kvmclock_exit();
@exit3@ @@
- pvclock_gtod_unregister_notifier(...);
@exit4@ @@
- irq_work_sync(&pvclock_irq_work);
@exit5@ @@
- cancel_work_sync(&pvclock_gtod_work);

// --- capability
@cap@ symbol cap, kvm; @@
  kvm_vm_ioctl_enable_cap(...) {
  ...
  if (cap->flags)
  	return -EINVAL;
+ if (cap->cap == KVM_CAP_ADJUST_CLOCK)
+ 	return kvm_vm_ioctl_enable_clock_cap(kvm, cap);
  ...
  }

