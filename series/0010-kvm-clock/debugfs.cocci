// The clock stands beside what else there is of a VM.
@create_debugfs@ symbol kvm; @@
  kvm_arch_create_vm_debugfs(...) {
  ...
  debugfs_create_file("mmu_rmaps_stat", ...);
+ kvmclock_create_debugfs(kvm);
  }

@include_debugfs@ @@
+ #include "kvmclock.h"
  #include "lapic.h"
