@descs@ @@
  const struct kvm_stats_desc kvm_vm_stats_desc[] = {
  ...,
+ STATS_DESC_COUNTER(VM, clock_updates),
+ STATS_DESC_COUNTER(VM, clock_reanchors),
  STATS_DESC_PCOUNTER(VM, max_mmu_rmap_size),
  ...
  };
