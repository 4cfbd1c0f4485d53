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

// Which TSC writes match is decided as before; the clock follows what is written.
@sync@ parameter list ps; symbol vcpu, offset, matched; @@
- static void __kvm_synchronize_tsc(ps)
+ void __kvm_synchronize_tsc(ps)
  {
  ...
- kvm_vcpu_write_tsc_offset(vcpu, offset);
+ kvmclock_write_offset(vcpu, offset);
  ...
- kvm_track_tsc_matching(vcpu, !matched);
+ kvmclock_track_tsc(vcpu);
  }
@guest_tsc@ type T; parameter list ps; @@
- static T compute_guest_tsc(ps)
+ T compute_guest_tsc(ps)
  { ... }
@last_guest_tsc_written@ expression vcpu, tsc; @@
- vcpu->arch.last_guest_tsc = tsc;
@first_tsc@ symbol vcpu, user_value, offset, data, ns, matched; @@
  kvm_synchronize_tsc(...) {
  ...
+ if (!user_value)
+ 	kvmclock_find_first_tsc(vcpu, &offset, &data, &ns);
+
  __kvm_synchronize_tsc(...);
+ if (!user_value)
+ 	kvmclock_join(vcpu);
  ...
  }
@created@ symbol vcpu; @@
  kvm_synchronize_tsc(vcpu, NULL);
+ kvmclock_update(vcpu->kvm, NULL);

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

// The lock is the clock's.
@lock@ expression kvm; @@
- kvm->arch.tsc_write_lock
+ kvm->arch.clock.tsc_write_lock
