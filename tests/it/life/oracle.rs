//! The same random script natively on one copy of a tree, and in a sandbox whose changes are then applied
//! to another: both trees are the same afterwards.
//!
//! # What is left out, knowingly
//! - Times of what the script itself wrote: the two runs are not at the same moment. Times it set are compared.
//! - Several names of one file in the tree before: an overlay parts them at the first write.
//!
//! # What is counted, and why
//! fuse-overlayfs 1.10 does some operations otherwise than a native tree, with nothing of ours about it. So what
//! the sandbox itself saw at its end is compared with what was applied, in every seed and without exception; and
//! a seed in which fuse-overlayfs *showed* something else than the native tree is counted, and there may be few.
//! The kernel's overlay has none. What is known: whatever of a pipe of the host's has to be copied up becomes an
//! empty file (`mkfifo low/p; fuse-overlayfs -o lowerdir=low,upperdir=up,workdir=work m; mv m/p m/q`, and `m/q` is
//! a regular file; `chmod`, `touch` and `ln` of it fail and leave one too). The tree before has pipes.
//!
//! `BRYO_TEST_SEEDS=N` tries more seeds.

use std::collections::BTreeSet;
use std::path::Path;

use crate::support::{Host, Overlay, World, overlay, overlay_is_one_of};
use scripts::{Listed, Random, difference};

#[path = "../../oracle/mod.rs"]
mod scripts;

/// Seeds of each pass. `tests/apply` tries hundreds on the engine alone; this is the whole way, by the binary.
const SEEDS: u64 = 30;
const OPERATIONS: usize = 60;

/// What the script wrote itself has a time of now: all such times are made one.
const SETTLE: &str = "find . -type f -newermt 2020-01-01 -exec touch -d @1500000000 {} +";
/// Each file with one name.
const PART: &str = "find . -type f -links +1 -exec sh -c 'cp -p -- \"$1\" \"$1.t\" && mv -f -- \"$1.t\" \"$1\"' - {} \\;";

#[test]
fn what_is_applied_is_what_would_have_happened_natively() {
    if !overlay_is_one_of(&[Overlay::Kernel, Overlay::Fuse]) {
        return;
    }
    let seeds = std::env::var("BRYO_TEST_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(SEEDS);
    let world = World::new();
    world.host(Host::MayChange);
    let (mut changed, mut otherwise) = (BTreeSet::new(), BTreeSet::new());
    for seed in 0..seeds {
        let mut random = Random(seed.wrapping_mul(7919));
        let [native, inside, shown] =
            ["native", "inside", "shown"].map(|at| format!("{at}/{seed}"));
        let prepare = format!(
            "{}\n{PART}\nfind . -type f -exec touch -d @1000000000 {{}} +",
            random.script(OPERATIONS)
        );
        let script = random.script(OPERATIONS);
        for folder in [&native, &inside] {
            bash(&world, folder, &prepare);
        }
        bash(&world, &native, &script);
        let shown_at = world.folder(&shown);
        let place = shown_at.to_str().unwrap();
        let payload = format!("{script}\ncp -aT . \"$1\"");
        let words = ["--write", place, "--", "/bin/bash", "-c", &payload, "script", place];
        world.sandbox().args(words).in_folder(world.folder(&inside)).ends();
        let applied = apply(&world, &inside);
        for folder in [&native, &inside, &shown] {
            bash(&world, folder, SETTLE);
        }
        let differs = differing(&world, &shown, &inside);
        let is_as_shown = applied == Applied::WithoutFifo || differs.is_empty();
        assert!(is_as_shown, "seed {seed}: not as shown: {differs:?}; script:\n{script}");
        let differs = differing(&world, &native, &inside);
        if overlay() == Overlay::Fuse && !differs.is_empty() {
            otherwise.insert(seed);
        } else {
            assert!(differs.is_empty(), "seed {seed}: {differs:?}; script:\n{script}");
        }
        if applied == Applied::Whole {
            changed.insert(seed);
        }
    }
    eprintln!("{} of {seeds} seeds in which the overlay itself did otherwise", otherwise.len());
    assert!(otherwise.len() as u64 * 10 <= seeds, "the overlay did otherwise in {otherwise:?}");
    // Nothing is left in any layer: what was applied has left it.
    world.bryo(["system", "prune", "-f"]).ends().succeeds();
    assert!(changed.len() as u64 * 10 > seeds * 9, "only {} scripts did something", changed.len());
}

#[derive(PartialEq)]
enum Applied {
    Whole,
    /// There was nothing to apply.
    Nothing,
    /// Where fuse-overlayfs was to copy a FIFO of the host's, whose time a script set: the program was answered with an
    /// error, and the file that it left is not applied.
    WithoutFifo,
}

/// Applies what was changed in a folder below the home.
fn apply(world: &World, folder: &str) -> Applied {
    let bryo = |words: &[&str]| world.bryo(words).in_folder(world.path(folder)).ends();
    let ended = bryo(&["apply", "--allow-executed-later"]);
    let said = ended.stderr();
    if said.is_empty() {
        Applied::Whole
    } else if said.contains("cannot find a sandbox") {
        Applied::Nothing
    } else {
        assert!(overlay() == Overlay::Fuse && said.contains("what fuse-overlayfs left"), "{ended}");
        bryo(&["discard", "--yes"]).succeeds();
        Applied::WithoutFifo
    }
}

/// What differs between two trees below the home.
fn differing(world: &World, was: &str, now: &str) -> Listed {
    let mut differs = Listed::new();
    difference(&world.path(was), &world.path(now), Path::new(""), &mut differs);
    differs
}

/// Runs a script in a folder below the home; what fails in it, fails.
fn bash(world: &World, folder: &str, script: &str) {
    let folder = world.folder(folder);
    world.program("/bin/bash", ["-c", script]).in_folder(folder).ends();
}
