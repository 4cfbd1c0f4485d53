// Call sites of the vCPU's own interface, in x86.c. 32-bit hosts have no master clock, and do not offer it.

@vcpu_ioctl@ symbol vcpu, ioctl, argp; @@
  kvm_arch_vcpu_ioctl(...) {
  ... when any
+ if (IS_ENABLED(CONFIG_X86_64) && ioctl == KVM_GET_CLOCK_GUEST)
+ 	return kvmclock_get_guest(vcpu, argp);
+
+ if (IS_ENABLED(CONFIG_X86_64) && ioctl == KVM_SET_CLOCK_GUEST)
+ 	return kvmclock_set_guest(vcpu, argp);
+
  vcpu_load(vcpu);
  ... when any
  }

@attr@ symbol vcpu, ioctl, attr; @@
  kvm_vcpu_ioctl_device_attr(...) {
  ...
  if (attr.group != KVM_VCPU_TSC_CTRL)
  	return -ENXIO;
+
+ if (attr.attr == KVM_VCPU_TSC_SCALE)
+ 	return kvmclock_tsc_scale_attr(vcpu, ioctl, &attr);
  ...
  }

@cap@ symbol r, ext; @@
  kvm_vm_ioctl_check_extension(...) {
  int r = 0;
+
+ if (ext == KVM_CAP_CLOCK_GUEST)
+ 	return IS_ENABLED(CONFIG_X86_64);
  ...
  }
