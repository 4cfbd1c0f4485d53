// What the clock's files call, which is static in x86.c.
@not_static_inline@ identifier f = {adjust_tsc_offset_guest, adjust_tsc_offset_host}; type T; parameter list ps; @@
- static inline T f(ps)
+ T f(ps)
  { ... }

@not_static@ identifier f = {__kvm_vcpu_write_tsc_offset, kvm_compute_l1_tsc_offset}; type T; parameter list ps; @@
- static
  T f(ps) { ... }

// The notifier of the host's suspend looks at it.
@pv_time_active@ expression v; @@
- v->arch.pv_time.active
+ v->arch.clock.pv_time.active
