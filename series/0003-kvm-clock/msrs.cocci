// The writer of the TSC offset requests the update itself.
@tsc_adjust@ expression v, adj; @@
  adjust_tsc_offset_guest(v, adj);
- kvm_make_request(KVM_REQ_CLOCK_UPDATE, v);
