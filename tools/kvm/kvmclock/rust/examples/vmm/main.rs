// SPDX-License-Identifier: (LGPL-2.1-only OR BSD-2-Clause)
//! How a VMM in Rust moves the time of its guest with this crate.
//!
//!     cargo run --example vmm -- [-s] [-d] [-t] [COMMAND]
//!
//! Runs a guest, saves its time, destroys it, restores it in another VM a second later, and looks
//! at what the guest reads there. It is right on each kernel, and says who restored the TSCs.
//!
//!     -s       the source does not opt in, as on a kernel that has nothing to opt in to
//!     -d       nor does the destination
//!     -t       vCPU 1's TSC differs from vCPU 0's, as if the guest had written it
//!     COMMAND  run in between, instead of "sleep 1"

mod machine;

use kvmclock::{Caps, Record, Report, VcpuIoctls, Vm, Way};
use machine::{Machine, Reading};
use std::os::unix::io::{AsRawFd, RawFd};
use std::time::{Duration, Instant};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// When a VM is created, on both hosts.
fn opt_in(machine: &Machine, refrain: bool) -> Result<Vm<RawFd>> {
    let mut caps = Caps::new(&machine.vm)?;

    if refrain {
        caps.adjust_clock &= !(kvmclock::KVM_CLOCK_GUEST_TSC | kvmclock::KVM_CLOCK_TAI);
    }
    Ok(Vm::new(machine.vm.as_raw_fd(), &caps))
}

fn save(refrain: bool, skew: bool) -> Result<(Record, Vec<Reading>)> {
    let mut machine = Machine::new()?;
    let vm = opt_in(&machine, refrain)?;

    machine.create_vcpus()?;
    if skew {
        let offset = machine.vcpus[0].kvm_tsc_offset()?;
        machine.vcpus[1].kvm_set_tsc_offset(offset.wrapping_add(1 << 30))?;
    }
    let before = machine.run()?;

    // The vCPUs are stopped. The record can be serialised, and sent to any host.
    Ok((vm.save(&machine.vcpus)?, before))
}

fn restore(record: &Record, refrain: bool) -> Result<(Report, Vec<Reading>)> {
    let mut machine = Machine::new()?;
    let vm = opt_in(&machine, refrain)?;

    // Before the first vCPU is created: the frequency that the line is for.
    vm.set_tsc_khz(record.tsc_khz)?;
    // Their registers and MSRs, but not IA32_TSC.
    machine.create_vcpus()?;
    // As late as possible before the vCPUs run. No TSC is written after it.
    let report = vm.restore(&machine.vcpus, record, kvmclock::KVM_CLOCK_GUEST_STOPPED)?;

    Ok((report, machine.run()?))
}

/// What happens while the guest is away. Returns for how long it was.
fn pause(command: &str) -> Result<Duration> {
    let begin = Instant::now();

    if !std::process::Command::new("sh").args(["-c", command]).status()?.success() {
        return Err(format!("{command}: failed").into());
    }
    Ok(begin.elapsed())
}

/// By how much clock and TSC may have parted.
fn limit_ns(record: &Record, report: &Report) -> u64 {
    let differ = record.tsc_offsets.iter().any(|offset| *offset != record.tsc_offsets[0]);
    let stable = report.get_flags & kvmclock::KVM_CLOCK_TSC_STABLE != 0;

    match report.way {
        Way::Exact => 4,
        // Without master clock, each vCPU's line is drawn anew as it runs, late on a busy host.
        Way::Offset if differ || !stable => 100_000_000,
        // And 1 kHz of the frequency.
        Way::Offset => 1_000 + report.bound_ns + report.elapsed_ns / u64::from(record.tsc_khz),
    }
}

/// Whether both of a vCPU's clocks have gone on, and are as far apart as they were.
fn is_right(before: &Reading, after: &Reading, limit_ns: u64) -> bool {
    let clock_ns = after.clock_ns.wrapping_sub(before.clock_ns) as i64;
    let tsc_ns = before.line_ns(after.tsc.wrapping_sub(before.tsc)) as i64;

    println!("its clock has gained {clock_ns} ns, its TSC {:+} ns more", tsc_ns - clock_ns);
    (tsc_ns - clock_ns).unsigned_abs() <= limit_ns
}

fn main() -> Result<()> {
    let (options, words): (Vec<_>, Vec<_>) =
        std::env::args().skip(1).partition(|word| word.starts_with('-'));
    let has = |option: &str| options.iter().any(|o| o == option);

    let begin = Instant::now();
    let (record, before) = save(has("-s"), has("-t"))?;
    let paused = pause(words.first().map_or("sleep 1", String::as_str))?;
    let (report, after) = restore(&record, has("-d"))?;
    let whole = begin.elapsed();

    println!("{report:?}");
    println!("TSCs restored by {}", if report.way == Way::Exact { "KVM" } else { "the VMM" });
    for (before, after) in before.iter().zip(&after) {
        let gained = Duration::from_nanos(after.clock_ns.wrapping_sub(before.clock_ns));
        let right = is_right(before, after, limit_ns(&record, &report));
        if !right || gained < paused || gained > whole {
            return Err(format!("wrong: {paused:?} to {whole:?} have passed").into());
        }
    }
    Ok(())
}
