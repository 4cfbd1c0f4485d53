// A VMM opts in to new flags.
@enable_cap@ symbol kvm, cap; @@
  kvm_vm_ioctl_enable_cap(...) {
  ...
  if (cap->flags)
  	return -EINVAL;
+
+ if (cap->cap == KVM_CAP_ADJUST_CLOCK)
+ 	return kvmclock_enable_cap(kvm, cap);
  ...
  }
