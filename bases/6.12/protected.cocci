// Set for a vCPU whose TSC KVM does not control.  This KVM has no such vCPUs.
@protected_field@ @@
  struct kvm_vcpu_arch {
  ...
  bool tsc_always_catchup;
+ bool guest_tsc_protected;
  ...
  };
