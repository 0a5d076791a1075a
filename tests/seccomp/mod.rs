//! A BPF interpreter and short forms, shared by the tests of the system-call filter.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]

use bryo::confine::seccomp::{Program, compile};
use bryo::plan::seccomp::{Instruction, SyscallTables, from_bytes};
use bryo::spec::seccomp::{
    Nesting, Notifications, OpenAt2, PolicyVariant, SetIdModes, UnixSockets, file,
};

/// `struct seccomp_data`.
#[derive(Debug, Clone, Copy)]
pub struct Data {
    pub arch: u32,
    pub number: u32,
    pub args: [u64; 6],
}

impl Data {
    fn word(&self, offset: u32) -> u32 {
        let argument = |index: u32| self.args[usize::try_from(index / 2).unwrap()];
        match offset {
            0 => self.number,
            4 => self.arch,
            8 | 12 => 0x1000_0000,
            16.. => {
                let index = (offset - 16) / 4;
                u32::try_from(argument(index) >> (32 * (index % 2)) & 0xffff_ffff).unwrap()
            }
            _ => unreachable!("offset {offset}"),
        }
    }
}

/// What the kernel would get from a program, and how many instructions it took.
pub fn interpret(code: &[Instruction], data: &Data) -> (u32, usize) {
    let (mut a, mut at, mut steps) = (0_u32, 0_usize, 0);
    loop {
        let Instruction { code, jt, jf, k } = code[at];
        steps += 1;
        at += 1;
        let mut branch = |holds: bool| at += usize::from(if holds { jt } else { jf });
        match code {
            0x20 => a = data.word(k),
            0x54 => a &= k,
            0x05 => at += usize::try_from(k).unwrap(),
            0x15 => branch(a == k),
            0x25 => branch(a > k),
            0x35 => branch(a >= k),
            0x45 => branch(a & k != 0),
            0x06 => return (k, steps),
            _ => unreachable!("instruction {code:#x}"),
        }
    }
}

/// An instruction list of a compiled program.
pub fn code_of(program: &Program) -> Vec<Instruction> {
    from_bytes(program.bytes()).unwrap()
}

/// All tables of system calls.
pub fn tables() -> SyscallTables {
    SyscallTables::known().unwrap()
}

/// A built-in policy compiled now.
pub fn compiled(name: &str, variant: PolicyVariant) -> Program {
    compile(&file::builtin(name).unwrap().unwrap(), variant).unwrap()
}

/// Every combination of what a run changes, without capabilities.
pub fn all_variants() -> Vec<PolicyVariant> {
    let mut variants = Vec::new();
    for nesting in [Nesting::Refuse, Nesting::Allow] {
        for notify in [Notifications::On, Notifications::Off] {
            for set_id_modes in [SetIdModes::Refuse, SetIdModes::Allow] {
                for openat2 in [OpenAt2::Allow, OpenAt2::Hide] {
                    for unix_sockets in [UnixSockets::Allow, UnixSockets::Refuse] {
                        let base = PolicyVariant::default();
                        variants.push(PolicyVariant {
                            nesting,
                            notify,
                            set_id_modes,
                            openat2,
                            unix_sockets,
                            ..base
                        });
                    }
                }
            }
        }
    }
    variants
}

/// Numbers in and around everything that exists.
pub fn numbers() -> Vec<u32> {
    let mut numbers: Vec<u32> = (0..1100).collect();
    numbers.extend(0xf_0000..0xf_0010);
    // x32, and the edges.
    numbers.extend((0..600).map(|number| 0x4000_0000 | number));
    numbers.extend([0x3fff_ffff, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe, 0xffff_ffff]);
    numbers
}

/// Arguments that some comparison of some policy tells from others.
pub fn interesting(index: usize) -> Vec<u64> {
    let high = 0x1_0000_0000_u64;
    let values: &[u64] = match index {
        0 => &[
            0,
            1,
            2,
            3,
            8,
            10,
            16,
            17,
            40,
            0x80,
            0x200,
            0x400,
            0x2_0000,
            0x4_0000,
            0x6_0008,
            0x40_0000,
            0x0200_0000,
            0x1000_0000,
            0x7e02_0000,
            0xffff_ffff,
            0xffff_ffff_ffff_ffff,
        ],
        1 => &[
            0,
            1,
            2,
            5,
            0x5401,
            0x5412,
            0x541c,
            0o755,
            0o4755,
            0o2755,
            0o1777,
            0x40,
            0x40_0000,
            0x4000_5412,
            0x8_0001,
            0x8_0002,
            0xffff_ffff_ffff_ffff,
        ],
        2 => &[0, 1, 4, 7, 9, 15, 0o644, 0o4000, 0o2000, 0x40, 0x40_0000, 0xffff_ffff_ffff_ffff],
        3 => &[0, 0o644, 0o4644, 0o2644, 0xffff_ffff_ffff_ffff],
        _ => &[0],
    };
    values.iter().flat_map(|value| [*value, value | high]).collect()
}
