@raised_fields@ @@
  struct kvm_vm_stat {
  ...
  u64 clock_reanchors;
+ u64 clock_raised;
+ u64 clock_raised_max_ns;
  };
