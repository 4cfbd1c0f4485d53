// VMware's apparent time is the guest's: the KVM clock.
@apparent_time@ expression v; @@
- ktime_get_boottime_ns() + v->kvm->arch.kvmclock_offset
+ get_kvmclock_ns(v->kvm)
