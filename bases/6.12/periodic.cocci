// The clock's delayed and periodic work, which is not needed any more.

@work_fn@ type T; identifier f = {kvmclock_update_fn, kvmclock_sync_fn}; @@
- T f(...) { ... }

@periodic@ @@
- static bool __read_mostly kvmclock_periodic_sync = true;
@periodic_param@ declarer name module_param; @@
- module_param(kvmclock_periodic_sync, ...);
@delays@ identifier m = {KVMCLOCK_UPDATE_DELAY, KVMCLOCK_SYNC_PERIOD}; expression e; @@
- #define m e

@works@ expression kvm; identifier w = {kvmclock_update_work, kvmclock_sync_work}; @@
(
- INIT_DELAYED_WORK(&kvm->arch.w, ...);
|
- cancel_delayed_work_sync(&kvm->arch.w);
)

@first_work@ statement S; @@
- if (kvmclock_periodic_sync && ...) S
@postcreate@ symbol kvm; expression E; @@
  kvm_arch_vcpu_postcreate(...) {
- struct kvm *kvm = E;
  ... when != kvm
  }
