// users in msrs.c, pmu.c, xen.c, x86.h, hyperv.c
// prototypes that moved to kvmclock.h
@protos@ type T; identifier f = {get_kvmclock_ns, kvm_get_wall_clock_epoch, kvm_get_monotonic_and_clockread, kvm_guest_time_update, kvm_synchronize_tsc}; @@
- T f(...);

// moved fields
@moved@ expression v; identifier f = {wall_clock, use_master_clock}; @@
- v->arch.f
+ v->arch.clock.f
@time@ expression v; @@
- v->arch.time
+ v->arch.clock.time
@vmware@ expression v; @@
- ktime_get_boottime_ns() + v->kvm->arch.kvmclock_offset
+ get_kvmclock_ns(v->kvm)
// xen.c
@same_rate@ expression v, h; @@
- h->tsc_shift != v->arch.pvclock_tsc_shift || h->tsc_to_system_mul != v->arch.pvclock_tsc_mul
+ !kvmclock_same_rate(v, h)
@include_x86@ @@
  #include "x86.h"
+ #include "kvmclock.h"
