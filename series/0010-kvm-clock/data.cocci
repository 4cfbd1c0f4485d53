// file-scope data and types that go
@has_master@ expression E; @@
- static atomic_t kvm_guest_has_master_clock = E;

@macros@ identifier m = {KVM_CLOCK_VALID_FLAGS}; expression e; @@
- #define m e
