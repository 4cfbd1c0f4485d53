// The reference TSC page is the clock's.
@tsc_page_msr@ expression hv, vcpu, data, host; @@
  hv->hv_tsc_page = data;
- if (hv->hv_tsc_page & HV_X64_MSR_TSC_REFERENCE_ENABLE) {
- 	if (!host) { hv->hv_tsc_page_status = HV_TSC_PAGE_GUEST_CHANGED; }
- 	else { hv->hv_tsc_page_status = HV_TSC_PAGE_HOST_CHANGED; }
- 	kvm_make_request(KVM_REQ_MASTERCLOCK_UPDATE, vcpu);
- } else {
- 	hv->hv_tsc_page_status = HV_TSC_PAGE_UNSET;
- }
+ kvmclock_set_hyperv_page(vcpu, data, host);
