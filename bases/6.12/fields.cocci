@works_fields@ type T; identifier f = {kvmclock_update_work, kvmclock_sync_work}; @@
  struct kvm_arch {
  ...
- T f;
  ...
  };
@hv_clock_field@ type T; identifier f = {hv_clock}; @@
  struct kvm_vcpu_arch {
  ...
- T f;
  ...
  };
// Set for a vCPU whose TSC KVM does not control.  This KVM has no such vCPUs.
@protected_field@ @@
  struct kvm_vcpu_arch {
  ...
  bool tsc_always_catchup;
+ bool guest_tsc_protected;
  ...
  };
@valid_flags@ identifier m = {KVM_CLOCK_VALID_FLAGS}; expression e; @@
- #define m e
