#!/bin/bash
# Boot the Intel host: Bochs, which emulates VMX with EPT and TSC scaling, one instruction a TSC tick.
# Usage: boot-intel.sh RUN [LIMIT], see lab/boot.sh. INTERACTIVE=1 joins the console to the terminal (lab/shell.sh).
# HOST_KHZ is the frequency of the host's TSC, HOST_MB its memory, TIME0 what its RTC shows at first (seconds since 1970; else
# the time). With TSC_KHZ empty, the host believes in its CPUID, 3.5 GHz, and its time runs at a 35th of the speed.
set -euo pipefail
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/boot.sh"
HOST_KHZ=${HOST_KHZ:-100000} HOST_MB=${HOST_MB:-512}

# An ISO, because that is what Bochs boots without a disk image.
make_iso() {
	local iso=$RUN/iso
	rm -rf "$iso"
	mkdir -p "$iso/isolinux"
	cp /usr/lib/ISOLINUX/isolinux.bin /usr/lib/syslinux/modules/bios/ldlinux.c32 "$iso/isolinux/"
	cp "$IMAGE/bzImage" "$iso/bzImage"
	run_initrd "$iso/initrd"
	local khz=${TSC_KHZ-$HOST_KHZ}
	# noxsave: the model's XSTATE size is inconsistent, and the kernel crashes on it. tsc_early_khz: the model's CPUID
	# says 3.5 GHz, but its TSC runs at the `ips` below. clearcpuid: Linux would put a TSC right that was reset before KVM
	# gets to see it.
	cat >"$iso/isolinux/isolinux.cfg" <<-END
		default host
		label host
		kernel /bzImage
		append initrd=/initrd console=ttyS0,115200 $HOST_ARGUMENTS clearcpuid=tsc_adjust noxsave ${khz:+tsc_early_khz=$khz} lab=intel ${APPEND:-}
	END
	genisoimage -quiet -o "$RUN/host.iso" -b isolinux/isolinux.bin -c isolinux/boot.cat -no-emul-boot \
		-boot-load-size 4 -boot-info-table "$iso"
	rm -r "$iso"
}

# No plugin_ctrl here: with it the serial ports are missing.
make_bochsrc() {
	local console="mode=file, dev=$RUN/console.log"
	[ -z "${INTERACTIVE:-}" ] || console="mode=term, dev=$(tty)"
	cat >"$RUN/bochsrc" <<-END
		cpu: model=corei7_skylake_x, count=1, ips=${HOST_KHZ}000
		megs: $HOST_MB
		display_library: term
		romimage: file=/usr/share/bochs/BIOS-bochs-latest
		vgaromimage: file=/usr/share/vgabios/vgabios.bin
		ata0-master: type=cdrom, path=$RUN/host.iso, status=inserted
		boot: cdrom
		clock: sync=none, time0=${TIME0:-utc}
		com1: enabled=1, $console
		com2: enabled=1, mode=file, dev=$RUN/result.ktap
		log: $RUN/bochs.log
		panic: action=fatal
	END
	# Debian's Bochs has the debugger built in: "c" makes it go.
	echo c >"$RUN/bochs.rc"
}

# Bochs draws the screen of its VGA on a pseudo terminal that it opens itself. Nobody looks at it, but it has to be read:
# after some minutes it would be full, and Bochs would wait for ever. Debian has no display without a screen.
drain_screen() {
	local screen="" i
	for ((i = 0; i < 150 && ${#screen} == 0; i++)); do
		sleep 0.2
		screen=$(sed -nE 's|.*connected to screen "(/dev/pts/[0-9]+)".*|\1|p' "$RUN/emulator.log" 2>/dev/null || true)
	done
	[ -n "$screen" ] || return 0
	stty -F "$screen" raw -echo
	exec cat "$screen" >/dev/null 2>&1
}

# script begins a session, in which being nice is worth nothing unless the session is (see emulate()).
emulate_bochs() {
	local drain
	drain_screen &
	drain=$!
	emulate script -qec "{ nice >/proc/self/autogroup; } 2>/dev/null; exec bochs -q -f '$RUN/bochsrc' -rc '$RUN/bochs.rc'" /dev/null
	kill $drain 2>/dev/null || true
}

need bochs genisoimage script stty
run_arguments "$@"
make_iso
make_bochsrc
export TERM=xterm
boot_host emulate_bochs
rm "$RUN/host.iso"
