//! Names and numbers of system calls, per architecture.
//!
//! # Theory of operation
//! A table is text, one `NUMBER NAME` per line, sorted by number. `build.rs` writes it from
//! libseccomp's tables and [`NEWER`]. Text has no relocations, so a run that looks nothing up pays
//! nothing for it.

use std::collections::BTreeMap;

use super::Arch;

/// Calls that libseccomp 2.5.4 has no names for. Since 5.1 a new call has one number on every
/// architecture (`arch/*/syscall*.tbl`).
pub const NEWER: &[(u32, &str)] = &[
    (451, "cachestat"),
    (452, "fchmodat2"),
    (453, "map_shadow_stack"),
    (454, "futex_wake"),
    (455, "futex_wait"),
    (456, "futex_requeue"),
    (457, "statmount"),
    (458, "listmount"),
    (459, "lsm_get_self_attr"),
    (460, "lsm_set_self_attr"),
    (461, "lsm_list_modules"),
    (462, "mseal"),
    (463, "setxattrat"),
    (464, "getxattrat"),
    (465, "listxattrat"),
    (466, "removexattrat"),
    (467, "open_tree_attr"),
    (468, "file_getattr"),
    (469, "file_setattr"),
];

/// As [`NEWER`], for 64-bit x86 alone: where the kernel's own probes return through.
pub const NEWER_X86_64: &[(u32, &str)] = &[(335, "uretprobe"), (336, "uprobe")];

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

/// The name of a number in a table's text, without parsing the rest.
pub fn find_name(text: &str, number: u32) -> Option<&str> {
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
    pub fn new(tables: Vec<SyscallTable>) -> Self {
        Self(tables)
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
