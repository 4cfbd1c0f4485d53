// The clock is set by a function of its own.
@set@ expression s; identifier data, ret; @@
- data.clock = s->clock;
- ret = kvm_vm_ioctl(kvm_state, KVM_SET_CLOCK, &data);
- if (ret < 0) { ... }
+ kvmclock_set(s);

@set_data depends on set@ identifier data; @@
- struct kvm_clock_data data = {};

@set_ret depends on set@ @@
  kvmclock_vm_state_change(...) {
  ... when any
- int ret;
  ... when any
  }
