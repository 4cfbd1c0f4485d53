// Users of the clock's names and fields, outside its own files.

// Prototypes that moved to kvmclock.h.
@protos@ type T; identifier f = {get_kvmclock_ns, kvm_get_wall_clock_epoch, kvm_get_monotonic_and_clockread, kvm_guest_time_update}; @@
- T f(...);

// Fields that moved to struct kvm_clock and struct kvm_vcpu_clock.  The wall clock is the
// VM's, and another vCPU may write it right now.
@wall_clock@ expression v; @@
- v->arch.wall_clock
+ READ_ONCE(v->arch.clock.wall_clock)
@system_time@ expression v; @@
- v->arch.time
+ v->arch.clock.system_time

@included@ @@
  #include "kvmclock.h"
@include_kvmclock depends on !included@ @@
  #include "x86.h"
+ #include "kvmclock.h"
