// struct fields (asm/kvm_host.h)
@arch_fields@ type T; identifier f = {kvmclock_offset, pvclock_sc, use_master_clock, master_kernel_ns, master_cycle_now, kvmclock_update_rs, boot_vcpu_runs_old_kvmclock, wall_clock, tsc_write_lock}; @@
  struct kvm_arch {
  ...
- T f;
  ...
  };
@vcpu_fields@ type T; identifier f = {time, pvclock_tsc_shift, pvclock_tsc_mul, hw_tsc_khz, pv_time, pvclock_set_guest_stopped_request, last_guest_tsc}; @@
  struct kvm_vcpu_arch {
  ...
- T f;
  ...
  };
@hv_fields@ type T; identifier f = {hv_tsc_page_status, tsc_ref}; @@
  struct kvm_hv {
  ...
- T f;
  ...
  };
@request@ identifier m = {KVM_REQ_MCLOCK_INPROGRESS}; expression e; @@
- #define m e
@hv_status@ @@
- enum hv_tsc_page_status { ... };
@include_gtod@ @@
- #include <linux/pvclock_gtod.h>
