// The page is set up by an update of any vCPU; the line stays what it is.
@tsc_page_msr@ expression v; @@
- kvm_make_request(KVM_REQ_MASTERCLOCK_UPDATE, v);
+ kvm_make_request(KVM_REQ_CLOCK_UPDATE, v);

// Without a stable TSC the page is invalid but not broken: it is made valid by
// the first update after the TSC has become stable again.
@tsc_page_pending@ expression E1, E2; @@
  if (!compute_tsc_page_parameters(E1, E2))
- 	goto out_err;
+ 	return;
