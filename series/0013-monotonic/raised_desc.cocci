@raised_descs@ @@
  const struct kvm_stats_desc kvm_vm_stats_desc[] = {
  ...,
  STATS_DESC_COUNTER(VM, clock_reanchors),
+ STATS_DESC_COUNTER(VM, clock_raised),
+ STATS_DESC_PEAK(VM, clock_raised_max_ns, KVM_STATS_UNIT_SECONDS,
+ 		KVM_STATS_BASE_POW10, -9),
  ...
  };
