// Call sites in x86.c.

// Requests: one call where there were three.
@requests@ expression v; @@
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

@look@ symbol vcpu; statement S; @@
  vcpu_enter_guest(...) {
  ... when any
+ kvmclock_look_for_changes(vcpu);
+
  if (kvm_request_pending(vcpu)) S
  ... when any
  }

// What a guest's TSC was when it ran last follows from the host's when it was put.
@last_guest_tsc@ symbol vcpu; @@
- vcpu->arch.last_guest_tsc = kvm_read_l1_tsc(vcpu, rdtsc());

// A vCPU is loaded.  The restart of the Hyper-V timer, which stays, must follow.
@load@ symbol vcpu, cpu; statement S2, S3; @@
  kvm_arch_vcpu_load(...) {
  ...
  if (unlikely(vcpu->cpu != cpu) || kvm_check_tsc_unstable()) {
  	... when any
- 	if (kvm_check_tsc_unstable()) S2
+ 	kvmclock_vcpu_moved(vcpu);
+
  	...
- 	if (!vcpu->kvm->arch.use_master_clock || vcpu->cpu == -1) S3
  	...
  }
  ...
  }

// A VM and a vCPU are created.
@vm_lock@ expression kvm; @@
- raw_spin_lock_init(&kvm->arch.tsc_write_lock);
@vm_seqcount@ expression kvm; @@
- seqcount_raw_spinlock_init(&kvm->arch.pvclock_sc, ...);
@vm_ratelimit@ expression kvm; @@
- ratelimit_state_init(&kvm->arch.kvmclock_update_rs, ...);
@vm_ratelimit_flags@ expression kvm; @@
- ratelimit_set_flags(&kvm->arch.kvmclock_update_rs, ...);
@vm_offset@ expression kvm; @@
- kvm->arch.kvmclock_offset = -get_kvmclock_base_ns();
@vm_copy@ expression kvm; identifier flags; @@
  kvm_arch_init_vm(...) {
  ...
- unsigned long flags;
  ...
- raw_spin_lock_irqsave(&kvm->arch.tsc_write_lock, flags);
- pvclock_update_vm_gtod_copy(kvm);
- raw_spin_unlock_irqrestore(&kvm->arch.tsc_write_lock, flags);
  ...
  }
@vm_init@ expression kvm; @@
  kvm->arch.default_tsc_khz = max_tsc_khz ? : tsc_khz;
+ kvmclock_init_vm(kvm);
@vcpu_init@ expression vcpu; @@
- kvm_gpc_init(&vcpu->arch.pv_time, ...);
+ kvmclock_init_vcpu(vcpu);

// KVM_VCPU_TSC_OFFSET
@set_offset@ expression vcpu, kvm, offset; identifier matched, tsc, ns, flags; expression E1, E2; @@
- raw_spin_lock_irqsave(&kvm->arch.tsc_write_lock, flags);
- matched = E1;
- tsc = E2;
- ns = get_kvmclock_base_ns();
- __kvm_synchronize_tsc(vcpu, offset, ...);
- raw_spin_unlock_irqrestore(&kvm->arch.tsc_write_lock, flags);
+ kvmclock_set_tsc_offset(vcpu, offset);
@set_offset_locals depends on set_offset exists@ identifier x = {tsc, ns, flags, matched, kvm}; type T; expression E; @@
  kvm_arch_tsc_set_attr(...) {
  ... when any
(
- T x;
|
- T x = E;
)
  ... when any
  }

// The writers of a vCPU's TSC offset and frequency.
@offset_writer@ parameter list ps; @@
- void kvm_vcpu_write_tsc_offset(ps)
+ void __kvm_vcpu_write_tsc_offset(ps)
  { ... }
@multiplier_proto@ @@
- static void kvm_vcpu_write_tsc_multiplier(...);
@multiplier_writer@ parameter list ps; @@
- static void kvm_vcpu_write_tsc_multiplier(ps)
+ void kvm_vcpu_write_tsc_multiplier(ps)
  { ... }
@init_khz@ expression vcpu, khz; @@
  kvm_arch_vcpu_create(...) {
  ... when any
- kvm_set_tsc_khz(vcpu, khz);
+ kvmclock_init_tsc_khz(vcpu);
  ... when any
  }
@destroy@ expression vcpu; @@
  kvm_arch_vcpu_destroy(...) {
  ... when any
- kvmclock_reset(vcpu);
+ kvmclock_destroy_vcpu(vcpu);
  ... when any
  }
