#!/bin/bash
# Boot the AMD host: QEMU's TCG, which emulates SVM with nested paging. Usage: boot-amd.sh RUN [LIMIT], see lab/boot.sh.
# INTERACTIVE=1 joins the console to the terminal instead (lab/shell.sh). CPUS is how many processors the host has, THREAD=single
# lets them take turns.
set -euo pipefail
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/boot.sh"

need gcc
emulator=$("$ROOT/lab/emulator.sh")
run_arguments "$@"
run_initrd "$RUN/initrd"
# The host's TSC is this machine's. It would calibrate it by other clocks of the emulator's, and has come to a 30th of it on a busy machine.
gcc -O2 -Wall -Wextra -o "$RUN/hostclock" "$ROOT/lab/hostclock.c"
khz=$("$RUN/hostclock" khz)
machine=("$emulator" -accel "tcg,thread=${THREAD:-multi}" -cpu max -smp "${CPUS:-2}" -m 2G -no-reboot
	-nodefaults -display none -kernel "$IMAGE/bzImage" -initrd "$RUN/initrd"
	-append "console=ttyS0 $HOST_ARGUMENTS tsc_early_khz=$khz lab=amd ${APPEND:-}")
if [ "${INTERACTIVE:-}" ]; then
	exec "${machine[@]}" -chardev stdio,id=con,mux=on,signal=off -serial chardev:con -mon con -serial null
fi
boot_host emulate "${machine[@]}" -serial "file:$RUN/console.log" -serial "file:$RUN/result.ktap"
rm "$RUN/initrd"
