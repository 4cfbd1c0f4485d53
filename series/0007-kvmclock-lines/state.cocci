// The state of the clock, in what a VM and a vCPU have (asm/kvm_host.h).
@arch_member@ @@
  struct kvm_arch {
  ...
  u32 default_tsc_khz;
+ struct kvm_clock clock;
  ...
  };
@vcpu_member@ @@
  struct kvm_vcpu_arch {
  ...
+ struct kvm_vcpu_clock clock;
  bool tsc_catchup;
  ...
  };
@stat_fields@ @@
  struct kvm_vm_stat {
  ...
  u64 max_mmu_rmap_size;
+ u64 clock_updates;
+ u64 clock_reanchors;
  };
@include_clock@ @@
+ #include <asm/kvm_clock.h>
  #include <asm/pvclock-abi.h>
