// The writer of the TSC offset requests the update itself.
@tsc_adjust@ expression v, adj; @@
  adjust_tsc_offset_guest(v, adj);
- kvm_make_request(KVM_REQ_CLOCK_UPDATE, v);

// The page is written by the vCPU on its way into the guest, and not by an ioctl.
@wall_clock_msr@ expression vcpu, data; @@
- vcpu->kvm->arch.wall_clock = data;
- kvm_write_wall_clock(vcpu->kvm, data, 0);
+ kvmclock_set_wall_clock(vcpu, data);
@wall_clock_writer@ parameter list ps; @@
- static void kvm_write_wall_clock(ps)
+ void kvm_write_wall_clock(ps)
  { ... }
