//! Tries the laws of `fuzz/src/lib.rs` on mutated seeds, some seconds each, without a nightly compiler.
//!
//! # Theory of operation
//! The seeds of a target are the files in `fuzz/seeds/TARGET`, and what bryo itself comes with. Each round takes one, changes it a few
//! times at random, and hands it to the law. What breaks it is written to the folder for temporary files, and belongs into
//! the seeds. The random numbers start from the clock and are printed, so that a round can be repeated
//! (`BRYO_FUZZ_SEED`).
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "the setting for tests does not reach helper functions of integration tests"
)]

#[path = "../fuzz/src/lib.rs"]
#[expect(unreachable_pub, reason = "a library, for the targets of libFuzzer")]
mod laws;

use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use nix::time::{ClockId, clock_gettime};

/// The longest an input of a few kilobytes may take: nothing is read in more than linear time.
const PATIENCE: Duration = Duration::from_secs(2);

/// Longest input that is made.
const LONGEST: usize = 16384;

/// Marsaglia's xorshift64*: no crate, and a seed that fits on a line.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Less than `bound`; 0 if that is 0.
    fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound.max(1)).unwrap();
        usize::try_from((self.next() >> 16) % bound).unwrap()
    }

    fn byte(&mut self) -> u8 {
        self.next().to_be_bytes()[0]
    }

    fn range(&mut self, length: usize) -> std::ops::Range<usize> {
        let start = self.below(length + 1);
        start..start + self.below((length - start).min(64) + 1)
    }
}

/// What parsers tend to stumble over.
const TOKENS: &[&[u8]] = &[
    b"\0",
    b"\x1b[2J",
    b"\xff",
    b"\xc0\x80",
    "\u{202e}".as_bytes(),
    b"\\",
    b"\\040",
    b"\"",
    b"'''",
    b"[[",
    b"]",
    b"{",
    b"}",
    b"=",
    b"..",
    b"/../",
    b"~",
    b"*",
    b"-1",
    b"18446744073709551616",
    b"1e400",
    b"\n",
    b"\r\n",
    b" - ",
    b"extends = ",
    b"null",
    b"true",
    b"0x",
    b",",
];

fn mutate(input: &mut Vec<u8>, seeds: &[Vec<u8>], random: &mut Random) {
    let at = random.below(input.len());
    match random.below(7) {
        0 if !input.is_empty() => input[at] ^= 1 << random.below(8),
        1 if !input.is_empty() => input[at] = random.byte(),
        2 => drop(input.drain(random.range(input.len()))),
        3 => {
            let copy = input[random.range(input.len())].to_vec();
            input.splice(at..at, copy);
        }
        4 => {
            let token = TOKENS[random.below(TOKENS.len())];
            input.splice(at..at, token.iter().copied());
        }
        5 => {
            let other = &seeds[random.below(seeds.len())];
            let part = other[random.range(other.len())].to_vec();
            input.splice(random.range(input.len()), part);
        }
        _ => input.truncate(at),
    }
    input.truncate(LONGEST);
}

fn seeds_of(target: &str) -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![root.join("fuzz/seeds").join(target)];
    folders.extend(match target {
        "profile" => Some(root.join("profiles")),
        "seccomp_toml" => Some(root.join("profiles/seccomp")),
        _ => None,
    });
    let mut paths: Vec<PathBuf> = folders
        .iter()
        .flat_map(|folder| std::fs::read_dir(folder).into_iter().flatten())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "{target} has no seeds");
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

/// Hands one input to the law; what breaks it is kept.
fn try_one(target: &str, law: fn(&[u8]), input: &[u8]) {
    // Of the processor: others may be at work on this machine.
    let worked = || Duration::from(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap());
    let began = worked();
    let held = catch_unwind(|| law(input)).is_ok();
    let took = worked().saturating_sub(began);
    if held && took < PATIENCE {
        return;
    }
    let file = std::env::temp_dir().join(format!("bryo-fuzz-{target}-{}", std::process::id()));
    std::fs::write(&file, input).unwrap();
    let shown = input.escape_ascii();
    panic!(
        "{target}: this breaks the law (held: {held}, {took:?}), kept in {}:\n{shown}",
        file.display()
    );
}

fn hold(target: &str) {
    let (_, law) = laws::TARGETS.iter().find(|(name, _)| *name == target).unwrap();
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().subsec_nanos();
    let seed = number("BRYO_FUZZ_SEED").unwrap_or(u64::from(clock)) | 1;
    println!("BRYO_FUZZ_SEED={seed}");
    let mut random = Random(seed);
    let seeds = seeds_of(target);
    for input in &seeds {
        try_one(target, *law, input);
    }
    let end = Instant::now() + Duration::from_secs(number("BRYO_FUZZ_SECONDS").unwrap_or(5));
    let mut rounds = 0u64;
    while Instant::now() < end {
        let mut input = seeds[random.below(seeds.len())].clone();
        for _ in 0..=random.below(6) {
            mutate(&mut input, &seeds, &mut random);
        }
        try_one(target, *law, &input);
        rounds += 1;
    }
    println!("{target}: {rounds} inputs");
    assert!(rounds > 100, "{target}: only {rounds} inputs were tried");
}

#[test]
fn every_profile_is_read_or_refused_and_written_back() {
    hold("profile");
}

#[test]
fn every_seccomp_json_is_read_or_refused() {
    hold("seccomp_json");
}

#[test]
fn every_seccomp_policy_is_read_or_refused() {
    hold("seccomp_toml");
}

#[test]
fn every_mount_table_is_read_or_refused() {
    hold("mount_table");
}

#[test]
fn every_message_has_one_spelling() {
    hold("wire");
}

#[test]
fn every_archive_is_read_or_refused() {
    hold("archive");
}

#[test]
fn no_packets_end_the_netstack_or_make_it_grow() {
    hold("packets");
}

#[test]
fn a_broken_law_is_told_with_its_input() {
    let broken = catch_unwind(|| try_one("made-up", |data| assert!(data.len() < 2), b"a\x1b"));
    let told = broken.expect_err("a broken law passes").downcast::<String>().unwrap();
    assert!(told.contains("held: false") && told.ends_with("a\\x1b"), "{told}");
    std::fs::remove_file(
        told.split(['\n', ' ']).find(|word| word.starts_with('/')).unwrap().trim_end_matches(':'),
    )
    .unwrap();
}

#[test]
fn every_rule_is_read_or_refused_and_written_back() {
    hold("rule");
}

#[test]
fn no_query_makes_another_name_leave() {
    hold("dns_query");
}

#[test]
fn no_answer_brings_an_inner_address() {
    hold("dns_answer");
}

#[test]
fn a_greeting_is_judged_whatever_its_pieces() {
    hold("client_hello");
}

#[test]
fn requests_are_judged_whatever_their_pieces() {
    hold("http");
}
