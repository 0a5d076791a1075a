//! The oracle: the same operations natively in one tree, and in a sandbox over a copy of it that is applied
//! afterwards, give the same tree.
//!
//! # Theory of operation
//! A seed gives a tree and a script of random operations. What a kernel overlay cannot do is done in the way
//! that programs do it, and counted: a directory that the host has is renamed by copying it.
//! `BRYO_TEST_SEEDS=N` tries more seeds than `make test` does.
//!
//! # Decisions
//! - The host has no hard links before the run: the first write to one breaks it in every overlay.

use std::fmt::Write as _;
use std::fs;

use bryo::changes::apply::Choices;
use bryo::plan::step::Backend;
use tempfile::TempDir;

use crate::bed::{Bed, WITHOUT_CAPABILITIES, bash};
use crate::random::Random;
use crate::trees::{self, differences};

/// Seeds that `make test` tries of each kind of overlay: two hundred together.
const SEEDS: [(Backend, u64); 2] = [(Backend::Kernel, 140), (Backend::Fuse, 60)];
const OPERATIONS: usize = 40;

impl Random {
    /// A path of one to three names, quoted for bash.
    fn path(&mut self) -> String {
        const NAMES: [&str; 7] = ["a", "b", "c", r"-x", r"d\x20e", r"\n", r"\xff\x1b[2J"];
        let depth = 1 + self.below(3);
        let names: Vec<&str> = (0..depth).map(|_| self.pick(&NAMES)).collect();
        format!("$'./{}'", names.join("/"))
    }

    /// One line of a script. What fails in it, fails in both trees.
    fn operation(&mut self, kinds: usize) -> String {
        let (p, q) = (self.path(), self.path());
        let text = self.pick(&["", "1", "2", "1234", "4321"]);
        let file = format!("[ -p {p} ] || [ -L {p} ] || [ -d {p} ] ||");
        match self.below(kinds) {
            0..=2 => format!("{file} printf %s {text} >{p}"),
            3 => format!("{file} printf %s {text} >>{p}"),
            4 => format!("{file} {{ printf %s {text} >{p}; touch -d @1000000000 {p}; }}"),
            5 => format!("{file} : <>{p}"),
            6 => format!("rm -rf {p}"),
            7..=8 => format!("mkdir -p {p}"),
            9 => format!("rm -rf {p}; mkdir {p}; printf %s {text} >{p}/new"),
            10 => format!("rmdir {p}"),
            11 => format!("move {p} {q}"),
            12 => format!("[ -d {p} ] || ln -sfn {text}x {p}"),
            13 => format!("mkfifo {p}"),
            14 => format!(
                "[ -L {p} ] || [ ! -d {p} ] || chmod {} {p}",
                self.pick(&["700", "755", "555"])
            ),
            15 => format!(
                "[ -f {p} ] && [ ! -L {p} ] && chmod {} {p}",
                self.pick(&["600", "644", "755"])
            ),
            16 => format!("[ -L {p} ] || [ -p {p} ] || setfattr -n user.t -v 1{text} {p}"),
            17 => format!("[ -L {p} ] || [ -d {p} ] || touch -d @1000000001 {p}"),
            18 => format!("[ -f {p} ] && cp -aT --remove-destination {p} {q}"),
            _ => format!("[ -f {p} ] && [ ! -L {p} ] && ln {p} {q}"),
        }
    }

    pub(crate) fn script(&mut self, operations: usize, kinds: usize) -> String {
        let mut script = String::from(PRELUDE);
        for _ in 0..operations {
            writeln!(script, "{}", self.operation(kinds)).unwrap();
        }
        script
    }
}

/// Operations there are; the last makes hard links.
pub(crate) const KINDS: usize = 20;

/// Renames; a directory of the host that an overlay cannot rename is copied, as `mv` does it.
const PRELUDE: &str = r#"
move() {
    perl -e 'rename($ARGV[0], $ARGV[1]) or exit $!' "$1" "$2"
    [ $? = 18 ] || return
    echo EXDEV >>"$LOG"
    [ -L "$2" ] || rmdir "$2"
    if [ -e "$2" ] || [ -L "$2" ]; then return; fi
    cp -aT "$1" "$2" && rm -rf "$1"
}
"#;

fn holds_for(backend: Backend, seeds: u64) {
    let seeds = std::env::var("BRYO_TEST_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(seeds);
    let mut all_counts = Counts::default();
    // Namespaces are made for many seeds at once.
    for begin in (0..seeds).step_by(25) {
        let beds: Vec<(u64, Bed)> =
            (begin..seeds.min(begin + 25)).map(|seed| (seed, bed(backend, seed))).collect();
        let mut all = String::from("set -e\n");
        for (_, bed) in &beds {
            let at = bed.directory.path().display();
            write!(
                all,
                "cd {at}; {}; (cd merged; LOG=../renamed {WITHOUT_CAPABILITIES} bash ../script 2>>../errors || :)\ncp -aT merged shown; umount merged\n",
                bed.mount()
            )
            .unwrap();
        }
        let script = TempDir::new().unwrap();
        fs::write(script.path().join("all"), all).unwrap();
        bash(script.path(), "unshare -Urm bash all");
        for (seed, bed) in beds {
            let counts = judge(seed, &bed);
            all_counts.renamed += counts.renamed;
            all_counts.changes += counts.changes;
            all_counts.otherwise += counts.otherwise;
        }
    }
    let Counts { renamed, changes, otherwise } = all_counts;
    let seeds = usize::try_from(seeds).unwrap();
    eprintln!(
        "{backend:?}: {changes} changes in {seeds} seeds; {renamed} directories of the host renamed \
         by copying; {otherwise} seeds in which the overlay did otherwise"
    );
    assert!(changes > seeds * 5, "{changes} changes");
    assert!(otherwise * 10 <= seeds, "{otherwise} seeds");
}

/// Makes `host`, `native`, and `script`, which has run in `native`.
fn bed(backend: Backend, seed: u64) -> Bed {
    let mut random = Random(seed);
    let settle = "find . -type f -exec touch -d @1000000000 {} +";
    let prepare =
        format!("LOG=/dev/null\n{}\n{settle}\nexit 0", random.script(OPERATIONS, KINDS - 1));
    let bed = Bed::new(backend, &prepare);
    fs::write(bed.directory.path().join("script"), random.script(OPERATIONS, KINDS)).unwrap();
    let native = format!(
        "cp -aT host native; cd native
        LOG=/dev/null {WITHOUT_CAPABILITIES} bash ../script 2>/dev/null; exit 0"
    );
    bash(bed.directory.path(), &native);
    bed
}

/// Applies, and compares.
fn judge(seed: u64, bed: &Bed) -> Counts {
    let script = || fs::read_to_string(bed.directory.path().join("script")).unwrap();
    let changes = bed.changes().len();
    let left = bed.apply(&Choices::default());
    assert!(left.is_empty(), "seed {seed}: {left:#?}\n{}", script());
    let found = trees::read(&bed.host());
    let shown = trees::read_without_links(&bed.directory.path().join("shown"));
    let differs = differences(&shown, &trees::read_without_links(&bed.host()));
    assert!(differs.is_empty(), "seed {seed}: {differs:#?}\n{}", script());
    let native = trees::read(&bed.directory.path().join("native"));
    let differs = differences(&native, &found);
    // fuse-overlayfs 1.10 fails at some removals of pipes.
    let otherwise = usize::from(bed.backend == Backend::Fuse && !differs.is_empty());
    assert!(differs.is_empty() || otherwise > 0, "seed {seed}: {differs:#?}\n{}", script());
    // All of it has left the layer, and doing it again does nothing.
    assert_eq!(bed.changes(), [""; 0], "seed {seed}");
    assert_eq!(bed.apply(&Choices::default()), [""; 0]);
    assert_eq!(trees::read(&bed.host()), found);
    let renamed = fs::read_to_string(bed.directory.path().join("renamed")).unwrap_or_default();
    Counts { renamed: renamed.lines().count(), changes, otherwise }
}

/// What was met.
#[derive(Default)]
struct Counts {
    /// Directories of the host that an overlay cannot rename.
    renamed: usize,
    changes: usize,
    /// Seeds in which the overlay itself did otherwise than the file system below it.
    otherwise: usize,
}

#[test]
fn what_is_applied_from_a_layer_of_the_kernel_is_what_would_have_happened() {
    let (backend, seeds) = SEEDS[0];
    holds_for(backend, seeds);
}

#[test]
fn what_is_applied_from_a_layer_of_fuse_overlayfs_is_what_would_have_happened() {
    let (backend, seeds) = SEEDS[1];
    holds_for(backend, seeds);
}
