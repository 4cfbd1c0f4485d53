// SPDX-License-Identifier: (LGPL-2.1-only OR BSD-2-Clause)
//! The rest of the VMM, which is not about time: a VM with memory and vCPUs, whose guest reads
//! its TSC and comes back. A real one has kvm-ioctls for this.

use std::fs::{File, OpenOptions};
use std::io::{Error, Result};
use std::os::raw::{c_int, c_ulong};
use std::os::unix::io::{AsRawFd, FromRawFd};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

pub const NR_VCPUS: usize = 2;

const KVM_CREATE_VM: u32 = 0xae01;
const KVM_CREATE_VCPU: u32 = 0xae41;
const KVM_SET_USER_MEMORY_REGION: u32 = 0x4020ae46;
const KVM_RUN: u32 = 0xae80;
const KVM_SET_REGS: u32 = 0x4090ae82;
const KVM_GET_SREGS: u32 = 0x8138ae83;
const KVM_SET_SREGS: u32 = 0x4138ae84;
const KVM_SET_MSRS: u32 = 0x4008ae89;
const MSR_KVM_SYSTEM_TIME_NEW: u64 = 0x4b564d01;

const CODE: usize = 0x1000;
const TSCS: usize = 0x2000; // 8 bytes for each vCPU
const PVCLOCKS: usize = 0x3000; // struct pvclock_vcpu_time_info, 64 bytes apart
const SIZE: usize = 0x4000;

/// In real mode: rdtsc; mov %eax,(%bx); mov %edx,4(%bx); out %al,$0x10, an exit; and again.
const GUEST: [[u8; 8]; 2] =
    [[0x0f, 0x31, 0x66, 0x89, 0x07, 0x66, 0x89, 0x57], [0x04, 0xe6, 0x10, 0xeb, 0xf3, 0, 0, 0]];

extern "C" {
    fn ioctl(fd: c_int, request: c_ulong, ...) -> c_int;
}

fn checked(r: c_int) -> Result<c_int> {
    if r < 0 {
        return Err(Error::last_os_error());
    }
    Ok(r)
}

fn number(fd: &File, request: u32, argument: usize) -> Result<c_int> {
    // SAFETY: these requests take a number.
    checked(unsafe { ioctl(fd.as_raw_fd(), request.into(), argument) })
}

fn words<const N: usize>(fd: &File, request: u32, argument: &mut [u64; N]) -> Result<c_int> {
    // SAFETY: these requests take a structure of N words, in which all values are valid.
    checked(unsafe { ioctl(fd.as_raw_fd(), request.into(), argument.as_mut_ptr()) })
}

fn owned(fd: c_int) -> File {
    // SAFETY: KVM has just returned it, and nobody else knows of it.
    unsafe { File::from_raw_fd(fd) }
}

/// The guest writes to it, too.
#[repr(align(4096))]
struct Memory([AtomicU64; SIZE / 8]);

impl Memory {
    fn word(&self, address: usize) -> &AtomicU64 {
        &self.0[address / 8]
    }
}

/// What a vCPU reads, and the line by which the guest computes the clock.
pub struct Reading {
    pub tsc: u64,
    pub clock_ns: u64,
    mul: u64,
    shift: i8,
}

impl Reading {
    /// The arithmetic that struct pvclock_vcpu_time_info asks of guests.
    pub fn line_ns(&self, cycles: u64) -> u64 {
        let cycles = match self.shift {
            shift if shift < 0 => cycles >> -shift,
            shift => cycles << shift,
        };
        (u128::from(cycles) * u128::from(self.mul) >> 32) as u64
    }
}

pub struct Machine {
    pub vm: File,
    pub vcpus: Vec<File>,
    memory: Box<Memory>, // dropped after the vCPUs that use it
}

impl Machine {
    /// The guest's clock runs from here on.
    pub fn new() -> Result<Self> {
        let kvm = OpenOptions::new().read(true).write(true).open("/dev/kvm")?;
        let vm = owned(number(&kvm, KVM_CREATE_VM, 0)?);
        let memory = Box::new(Memory([(); SIZE / 8].map(|()| AtomicU64::new(0))));

        for (i, bytes) in GUEST.iter().enumerate() {
            memory.word(CODE + 8 * i).store(u64::from_le_bytes(*bytes), SeqCst);
        }
        let mut region = [0, 0, SIZE as u64, &*memory as *const Memory as u64];
        words(&vm, KVM_SET_USER_MEMORY_REGION, &mut region)?;

        Ok(Self { vm, vcpus: Vec::new(), memory })
    }

    pub fn create_vcpus(&mut self) -> Result<()> {
        for i in 0..NR_VCPUS {
            let vcpu = owned(number(&self.vm, KVM_CREATE_VCPU, i)?);
            let mut sregs = [0; 39];
            let mut regs = [0; 18];
            let pvclock = (PVCLOCKS + 64 * i) as u64;

            words(&vcpu, KVM_GET_SREGS, &mut sregs)?;
            sregs[0] = 0; // cs.base
            sregs[1] &= !(0xffff << 32); // cs.selector
            words(&vcpu, KVM_SET_SREGS, &mut sregs)?;
            regs[1] = (TSCS + 8 * i) as u64; // rbx
            regs[16] = CODE as u64; // rip
            regs[17] = 2; // rflags
            words(&vcpu, KVM_SET_REGS, &mut regs)?;
            words(&vcpu, KVM_SET_MSRS, &mut [1, MSR_KVM_SYSTEM_TIME_NEW, pvclock | 1])?;
            self.vcpus.push(vcpu);
        }
        Ok(())
    }

    /// Let the vCPUs read their TSCs, one after the other.
    pub fn run(&self) -> Result<Vec<Reading>> {
        (0..NR_VCPUS).map(|i| self.run_vcpu(i)).collect()
    }

    fn run_vcpu(&self, i: usize) -> Result<Reading> {
        let word = |address| self.memory.word(address).load(SeqCst);
        let page = PVCLOCKS + 64 * i;

        number(&self.vcpus[i], KVM_RUN, 0)?;
        let tsc = self.memory.word(TSCS + 8 * i).swap(0, SeqCst);
        if tsc == 0 {
            return Err(Error::new(std::io::ErrorKind::Other, "the guest has not come back"));
        }

        let (mul, shift) = (word(page + 24) & 0xffff_ffff, (word(page + 24) >> 32) as i8);
        let mut reading = Reading { tsc, clock_ns: 0, mul, shift };
        reading.clock_ns = word(page + 16) + reading.line_ns(tsc.wrapping_sub(word(page + 8)));
        Ok(reading)
    }
}
