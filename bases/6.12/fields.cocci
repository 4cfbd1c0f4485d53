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
@valid_flags@ identifier m = {KVM_CLOCK_VALID_FLAGS}; expression e; @@
- #define m e
