//! Names and numbers of system calls, per architecture.
//!
//! # Theory of operation
//! A table is text, one `NUMBER NAME` per line, sorted by number. Text has no relocations, so a run
//! that looks nothing up pays nothing for it.
//!
//! # Decisions
//! The tables are files, not what the libseccomp of the building machine happens to know: the same
//! source gives the same filter everywhere. `tests/seccomp_tables.rs` compares them with libseccomp
//! and writes them when asked to; calls that libseccomp has no name for are listed there.

use std::collections::BTreeMap;

use super::Arch;

const TEXTS: [(Arch, &str); 4] = [
    (Arch::X86_64, include_str!("calls-x86_64.txt")),
    (Arch::X86, include_str!("calls-x86.txt")),
    (Arch::Aarch64, include_str!("calls-aarch64.txt")),
    (Arch::Arm, include_str!("calls-arm.txt")),
];

/// The calls of one architecture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyscallTable {
    arch: Arch,
    by_number: BTreeMap<u32, String>,
    by_name: BTreeMap<String, u32>,
}

/// A line that is no entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot read line {line} of the system call table")]
pub struct TableError {
    /// Counted from 1.
    pub line: usize,
}

impl SyscallTable {
    /// From entries; the first name of a number and the first number of a name stay.
    pub fn new(arch: Arch, entries: impl IntoIterator<Item = (u32, String)>) -> Self {
        let mut table = Self { arch, by_number: BTreeMap::new(), by_name: BTreeMap::new() };
        for (number, name) in entries {
            table.by_name.entry(name.clone()).or_insert(number);
            table.by_number.entry(number).or_insert(name);
        }
        table
    }

    /// From text.
    pub fn parse(arch: Arch, text: &str) -> Result<Self, TableError> {
        let mut entries = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let entry = line.split_once(' ').and_then(|(number, name)| {
                number.parse().ok().map(|number| (number, name.to_owned()))
            });
            entries.push(entry.ok_or(TableError { line: index + 1 })?);
        }
        Ok(Self::new(arch, entries))
    }

    /// As text.
    pub fn to_text(&self) -> String {
        let lines = self
            .by_number
            .iter()
            .map(|(number, name)| [&number.to_string(), " ", name, "\n"].concat());
        lines.collect()
    }

    /// Whose calls these are.
    pub fn arch(&self) -> Arch {
        self.arch
    }

    /// The number of a name.
    pub fn number(&self, name: &str) -> Option<u32> {
        self.by_name.get(name).copied()
    }

    /// The name of a number.
    pub fn name(&self, number: u32) -> Option<&str> {
        self.by_number.get(&number).map(String::as_str)
    }

    /// All numbers, ascending.
    pub fn numbers(&self) -> impl Iterator<Item = u32> + '_ {
        self.by_number.keys().copied()
    }
}

/// The name of a call, without parsing the rest of the table.
pub fn find_name(arch: Arch, number: u32) -> Option<&'static str> {
    let (_, text) = TEXTS.iter().find(|(known, _)| *known == arch)?;
    text.lines().find_map(|line| {
        let (found, name) = line.split_once(' ')?;
        (found.parse() == Ok(number)).then_some(name)
    })
}

/// Tables of all architectures: a name that none of them has is a mistake, one that another has is
/// a call this machine lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyscallTables(Vec<SyscallTable>);

impl SyscallTables {
    /// All that are known.
    pub fn known() -> Result<Self, TableError> {
        let parse = |(arch, text): &(Arch, &str)| SyscallTable::parse(*arch, text);
        TEXTS.iter().map(parse).collect::<Result<_, _>>().map(Self)
    }

    /// The table of one.
    pub fn of(&self, arch: Arch) -> Option<&SyscallTable> {
        self.0.iter().find(|table| table.arch() == arch)
    }

    /// Whether any architecture has a call of this name.
    pub fn knows(&self, name: &str) -> bool {
        self.0.iter().any(|table| table.number(name).is_some())
    }
}
