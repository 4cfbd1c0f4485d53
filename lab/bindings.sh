#!/usr/bin/env bash
# What VMMs in Rust see of the uapi headers: bindgen, which rust-vmm's kvm-bindings are made with, must derive all that these
# promise for each of our structures. It derives nothing for one with an anonymous union in it, which is shown first.
# Usage: lab/bindings.sh, after the kernel headers were installed (lab/build.sh selftests).
set -euo pipefail
. "$(dirname "$0")/common.sh"
STRUCTS=(kvm_clock_data kvm_vcpu_tsc_scale pvclock_vcpu_time_info)
DERIVES='#[derive(Debug, Default, Copy, Clone, PartialEq)]'
INCLUDE=$OURS/usr/include

# bindings HEADER: of our structures.
bindings() {
	bindgen "$1" --allowlist-type "$(IFS='|'; echo "${STRUCTS[*]}")" --with-derive-default --with-derive-partialeq \
		--no-layout-tests -- -I"$INCLUDE"
}

# derives STRUCT: whether the bindings on standard input derive all of it for it.
derives() { grep -xF -A1 "$DERIVES" | grep -qxF "pub struct $1 {"; }

with_union() {
	cat <<-END
		#include <linux/types.h>
		struct kvm_clock_data {
			__u64 clock;
			union {
				__u32 pad[4];
				struct {
					__u64 guest_tsc;
				};
			};
		};
	END
}

need bindgen
mkdir -p "$LOGS"
with_union >"$LOGS/union.h"
if bindings "$LOGS/union.h" 2>"$LOGS/bindings.log" | derives kvm_clock_data; then
	fail "bindings/self-test: a union is not found out"
else
	pass "bindings/self-test"
fi

bindings "$INCLUDE/linux/kvm.h" >"$LOGS/bindings.rs" 2>"$LOGS/bindings.log" || true
for struct in "${STRUCTS[@]}"; do
	if derives "$struct" <"$LOGS/bindings.rs"; then
		pass "bindings/$struct"
	else
		fail "bindings/$struct: does not derive all of ${DERIVES#*derive}"
		tail -n 5 "$LOGS/bindings.log"
	fi
done
totals
