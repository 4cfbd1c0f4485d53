// What the clock's files call, which is static in x86.c.
@not_static_inline@ identifier f = {adjust_tsc_offset_guest, adjust_tsc_offset_host}; type T; parameter list ps; @@
- static inline T f(ps)
+ T f(ps)
  { ... }

@not_static@ identifier f = {__kvm_vcpu_write_tsc_offset, kvm_compute_l1_tsc_offset}; type T; parameter list ps; @@
- static
  T f(ps) { ... }

// KVM_VCPU_TSC_OFFSET sets kvm->arch.user_set_tsc as well.
@user_offset@ expression vcpu, kvm, offset; identifier matched, tsc, ns, flags; expression E1, E2; @@
- raw_spin_lock_irqsave(&kvm->arch.tsc_write_lock, flags);
- matched = E1;
- tsc = E2;
- ns = get_kvmclock_base_ns();
- kvm->arch.user_set_tsc = true;
- __kvm_synchronize_tsc(vcpu, offset, ...);
- raw_spin_unlock_irqrestore(&kvm->arch.tsc_write_lock, flags);
+ kvmclock_set_tsc_offset(vcpu, offset);
@user_offset_locals depends on user_offset exists@ identifier x = {tsc, ns, flags, matched, kvm}; type T; expression E; @@
  kvm_arch_tsc_set_attr(...) {
  ... when any
(
- T x;
|
- T x = E;
)
  ... when any
  }

// The notifier of the host's suspend looks at it.
@pv_time_active@ expression v; @@
- v->arch.pv_time.active
+ v->arch.clock.pv_time.active
