//! Holds the architecture: who may import whom, and what may not be in the sources at all.
//!
//! # Theory of operation
//! Every file below `src/` is cut into words and punctuation, without comments, text literals and
//! tests. Whatever follows `crate::`, `bryo::`, enough `super::` or `std::` is read as a tree of
//! paths, `{…}` included, and held against [`MAY_IMPORT`] and [`PURE`].
//!
//! # Decisions
//! * No parser crate: a tree of paths is all that is needed, and an import hidden in a macro is seen too.
//! * Tests inside `src/` are left out: a test may build what it needs from a higher level.
//! * The table may change, in a commit that says why; `lib.rs` shows the same one.
//!
//! Long because the table, its reader and the proof that it catches each spelling belong together.
#![expect(
    clippy::unwrap_used,
    reason = "allow-unwrap-in-tests does not reach helper functions of integration tests"
)]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Module, and the modules it may import. What is not here does not exist.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    // level 0
    ("sys", &[]),
    ("spec", &[]),
    // level 1
    ("profile", &["spec"]),
    // level 2: so it cannot reach the kernel
    ("plan", &["spec"]),
    // level 3
    ("host", &["plan", "spec", "sys"]),
    ("rootfs", EXECUTOR),
    ("net", EXECUTOR),
    ("confine", EXECUTOR),
    ("limits", EXECUTOR),
    ("image", EXECUTOR),
    ("state", EXECUTOR),
    ("archive", EXECUTOR),
    // level 4
    // A copy in or out of a sandbox is made by a process that `launch` confines.
    ("launch", &["rootfs", "net", "confine", "limits", "state", "archive", "plan", "spec", "sys"]),
    // It takes over what `launch` started, speaks to its init, and looks at its control group.
    // The log of a detached sandbox is the supervisor's to write.
    ("supervise", &["launch", "limits", "state", "plan", "spec", "sys"]),
    ("changes", BELOW_LEVEL_4),
    ("build", BELOW_LEVEL_4),
    ("report", BELOW_LEVEL_4),
    // level 5
    (
        "ops",
        &[
            "sys",
            "spec",
            "profile",
            "plan",
            "host",
            "rootfs",
            "net",
            "confine",
            "limits",
            "image",
            "state",
            "archive",
            "launch",
            "supervise",
            "changes",
            "build",
            "report",
        ],
    ),
    // level 6
    ("front", &["ops", "profile", "spec", "report"]),
    // level 7
    ("main", &["front", "report", "sys"]),
];

/// Performs steps of a plan, and never meets its neighbours.
const EXECUTOR: &[&str] = &["plan", "spec", "sys"];

/// What a module of level 4 may import: all that lies below.
const BELOW_LEVEL_4: &[&str] = &[
    "sys", "spec", "profile", "plan", "host", "rootfs", "net", "confine", "limits", "image",
    "state", "archive",
];

/// Modules that compute and do nothing else.
const PURE: &[&str] = &["spec", "plan"];

/// What reaches outside the process, and so is not in [`PURE`] modules. (`core::net` has the address types.)
const IMPURE_STD: &[&str] = &["fs", "net", "process", "env"];

/// As [`IMPURE_STD`]: the crates that call the kernel, and methods of `Path` that look at the disk.
const IMPURE_CRATES: &[&str] = &["rustix", "nix"];
const IMPURE_METHODS: &[&str] =
    &["canonicalize", "read_dir", "symlink_metadata", "try_exists", "read_link"];

/// Names that say nothing. A shared type goes to the lowest module that owns the idea.
const MIXED_BAGS: &[&str] = &[
    "util", "utils", "common", "helper", "helpers", "types", "misc", "shared", "prelude", "config",
    "options", "context", "manager", "handler", "info", "data",
];

/// Longest file that needs no reason.
const LONGEST: usize = 400;

/// A word (or number), or one character of punctuation; `::` is one token.
fn tokens(source: &str) -> Vec<String> {
    let chars: Vec<char> = source.chars().collect();
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(&c) = chars.get(at) {
        let rest = &chars[at..];
        at += match c {
            '/' if rest.starts_with(&['/', '/']) => length_until(rest, &['\n']),
            '/' if rest.starts_with(&['/', '*']) => block_comment(rest),
            '"' => text_literal(rest),
            '\'' => quote(rest),
            'r' if raw_text(rest).is_some() => raw_text(rest).unwrap_or(1),
            ':' if rest.starts_with(&[':', ':']) => {
                found.push("::".to_owned());
                2
            }
            _ if c.is_alphanumeric() || c == '_' => {
                let word: String =
                    rest.iter().take_while(|c| c.is_alphanumeric() || **c == '_').collect();
                let length = word.chars().count();
                found.push(word);
                length
            }
            _ if c.is_whitespace() => 1,
            _ => {
                found.push(c.to_string());
                1
            }
        };
    }
    found
}

fn length_until(rest: &[char], end: &[char]) -> usize {
    rest.windows(end.len()).position(|w| w == end).map_or(rest.len(), |p| p + end.len())
}

/// Block comments nest.
fn block_comment(rest: &[char]) -> usize {
    let (mut depth, mut at) = (0usize, 0);
    while at < rest.len() {
        if rest[at..].starts_with(&['/', '*']) {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with(&['*', '/']) {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    at
}

fn text_literal(rest: &[char]) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// A character literal, or the tick of a lifetime.
fn quote(rest: &[char]) -> usize {
    match rest {
        [_, '\\', _, more @ ..] => 3 + length_until(more, &['\'']),
        [_, _, '\'', ..] => 3,
        _ => 1,
    }
}

/// `r"…"` and `r#"…"#`; `None` when this is a word that begins with `r`.
fn raw_text(rest: &[char]) -> Option<usize> {
    let hashes = rest[1..].iter().take_while(|c| **c == '#').count();
    (rest.get(1 + hashes) == Some(&'"')).then(|| {
        let mut end = vec!['"'];
        end.extend(std::iter::repeat_n('#', hashes));
        let body = 2 + hashes;
        body + length_until(&rest[body..], &end)
    })
}

/// Leaves out whatever `#[cfg(test)]` stands before: up to the `;` or the closing brace of the item.
fn without_tests(tokens: &[String]) -> Vec<String> {
    const ATTRIBUTE: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if tokens[at..].iter().map(String::as_str).take(7).eq(ATTRIBUTE) {
            at += 7 + item_length(&tokens[at + 7..]);
        } else {
            kept.push(tokens[at].clone());
            at += 1;
        }
    }
    kept
}

fn item_length(tokens: &[String]) -> usize {
    let mut depth = 0usize;
    for (at, token) in tokens.iter().enumerate() {
        match token.as_str() {
            "{" => depth += 1,
            "}" if depth <= 1 => return at + 1,
            "}" => depth -= 1,
            ";" if depth == 0 => return at + 1,
            _ => {}
        }
    }
    tokens.len()
}

/// The paths of one tree, `tokens` standing behind the first `::`: `{a::b, c}` is `[a, b]` and `[c]`.
/// Gives how many tokens were read.
fn path_tree(tokens: &[String], before: &[String], found: &mut Vec<Vec<String>>) -> usize {
    let mut path = before.to_vec();
    let mut at = 0;
    loop {
        match tokens.get(at).map(String::as_str) {
            Some("{") => {
                at += 1;
                while at < tokens.len() && tokens[at] != "}" {
                    let read = path_tree(&tokens[at..], &path, found);
                    // What is not a path (an `as name`, a comma) is stepped over.
                    at += read.max(1);
                }
                return at + 1;
            }
            Some(word)
                if word == "*" || word.starts_with(|c: char| c.is_alphabetic() || c == '_') =>
            {
                path.push(word.to_owned());
                at += 1;
                if tokens.get(at).map(String::as_str) == Some("::") {
                    at += 1;
                    continue;
                }
                if tokens.get(at).map(String::as_str) == Some("as") {
                    at += 2;
                }
                found.push(path);
                return at;
            }
            _ => return at,
        }
    }
}

/// All paths that start at `root`, without it. A `root` that is renamed or taken whole is the empty path.
fn paths_from(root: &str, tokens: &[String]) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        if token != root || at > 0 && tokens[at - 1] == "::" {
            continue;
        }
        match tokens.get(at + 1).map(String::as_str) {
            Some("::") => _ = path_tree(&tokens[at + 2..], &[], &mut found),
            Some("as") => found.push(Vec::new()),
            _ => {}
        }
    }
    found
}

/// Paths that climb out of a file `depth` modules deep, seen from the crate's root.
fn paths_from_super(depth: usize, tokens: &[String]) -> Vec<Vec<String>> {
    paths_from("super", tokens)
        .into_iter()
        .filter_map(|path| {
            let climbs = 1 + path.iter().take_while(|word| *word == "super").count();
            (climbs >= depth).then(|| path[climbs - 1..].to_vec())
        })
        .collect()
}

/// One source file: its path below `src/` and its text.
struct Source<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Source<'_> {
    /// `plan/step.rs` is `["plan", "step"]`; `plan/mod.rs` is `["plan"]`.
    fn module(&self) -> Vec<String> {
        let mut names: Vec<String> = self
            .path
            .with_extension("")
            .components()
            .map(|c| c.as_os_str().to_string_lossy().into_owned())
            .collect();
        if names.last().is_some_and(|name| name == "mod") {
            names.pop();
        }
        names
    }

    fn is_test(&self) -> bool {
        self.module().iter().any(|name| name == "tests" || name.ends_with("_tests"))
    }
}

fn is_long_without_reason(text: &str) -> bool {
    let is_reason = |line: &str| line.starts_with("//! Long because");
    text.lines().count() > LONGEST && !text.lines().any(is_reason)
}

/// Everything that is wrong with one file, each as a sentence.
fn faults(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    let module = source.module();
    let area = module.first().map_or("", String::as_str);
    let mut fault = |text: String| found.push(format!("src/{}: {text}", source.path.display()));

    if is_long_without_reason(source.text) {
        let lines = source.text.lines().count();
        fault(format!("{lines} lines, and no line `//! Long because …`"));
    }
    if !source.text.starts_with("//!") {
        fault("does not open with `//!`".to_owned());
    }
    if let Some(name) = module.iter().find(|name| MIXED_BAGS.contains(&name.as_str())) {
        fault(format!("`{name}` names no idea"));
    }
    let all = tokens(source.text);
    if area != "sys" && all.iter().any(|t| t == "unsafe") {
        fault("`unsafe` outside `sys`".to_owned());
    }
    if area == "lib" || source.is_test() {
        return found;
    }
    let kept = without_tests(&all);
    for text in
        import_faults(area, module.len(), &kept).into_iter().chain(impure_faults(area, &kept))
    {
        fault(text);
    }
    found.dedup();
    found
}

fn import_faults(area: &str, depth: usize, tokens: &[String]) -> Vec<String> {
    let Some((_, allowed)) = MAY_IMPORT.iter().find(|(name, _)| *name == area) else {
        return vec![format!("`{area}` is not in the table of modules")];
    };
    let mut paths = paths_from("crate", tokens);
    paths.extend(paths_from("bryo", tokens));
    paths.extend(paths_from_super(depth, tokens));
    let mut found: Vec<String> = paths
        .iter()
        .filter_map(|path| match path.first().map(String::as_str) {
            None | Some("*" | "self") => Some("imports the crate's root".to_owned()),
            Some(other) if other == area || allowed.contains(&other) => None,
            Some(other) => Some(format!("`{area}` may not import `{other}`")),
        })
        .collect();
    if tokens.windows(3).any(|w| w[0] == "#" && w[1] == "[" && w[2] == "path") {
        found.push("`#[path]` hides where a module lies".to_owned());
    }
    found
}

fn impure_faults(area: &str, tokens: &[String]) -> Vec<String> {
    if !PURE.contains(&area) {
        return Vec::new();
    }
    let mut found: Vec<String> = paths_from("std", tokens)
        .iter()
        .filter_map(|path| match path.first().map(String::as_str) {
            None | Some("*" | "self") => Some("takes `std` whole".to_owned()),
            Some(name) if IMPURE_STD.contains(&name) => {
                Some(format!("`{area}` is pure: no `std::{name}`"))
            }
            // std::os::unix::{fs, net, process}
            Some("os") if path.iter().any(|name| IMPURE_STD.contains(&name.as_str())) => {
                Some(format!("`{area}` is pure: no `std::{}`", path.join("::")))
            }
            Some(_) => None,
        })
        .collect();
    for name in IMPURE_CRATES {
        if !paths_from(name, tokens).is_empty() {
            found.push(format!("`{area}` is pure: no `{name}`"));
        }
    }
    for pair in tokens.windows(2) {
        if pair[0] == "." && IMPURE_METHODS.contains(&pair[1].as_str()) {
            found.push(format!("`{area}` is pure: no `.{}()`", pair[1]));
        }
    }
    found
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn the_sources_keep_to_the_architecture() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    rust_files(&root, &mut files);
    assert!(files.len() >= 2, "no sources found below {}", root.display());
    let mut report = String::new();
    for file in &files {
        let text = std::fs::read_to_string(file).unwrap();
        let path = file.strip_prefix(&root).unwrap();
        for fault in faults(&Source { path, text: &text }) {
            writeln!(report, "{fault}").unwrap();
        }
    }
    assert!(report.is_empty(), "\n{report}");
}

#[test]
fn a_test_file_is_as_short_or_says_why() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut files = Vec::new();
    rust_files(&root, &mut files);
    let is_long = |file: &PathBuf| {
        let text = std::fs::read_to_string(file).unwrap();
        is_long_without_reason(&text).then(|| file.clone())
    };
    let long: Vec<PathBuf> = files.iter().filter_map(is_long).collect();
    assert!(files.len() > 50 && long.is_empty(), "no line `//! Long because …`: {long:?}");
}

/// The faults of a made-up file with this path below `src/`, without the path.
fn faults_of(path: &str, text: &str) -> Vec<String> {
    let text = format!("//! Made up.\n{text}");
    let found = faults(&Source { path: Path::new(path), text: &text });
    found.into_iter().map(|f| f.split_once(": ").unwrap().1.to_owned()).collect()
}

#[test]
fn an_import_upward_is_caught_however_it_is_written() {
    for text in [
        "use crate::launch::Sandbox;",
        "use crate::{spec::Spec, launch};",
        "use crate::{spec::{Spec, Rootfs}, launch::{self, Sandbox as S}};",
        "fn f() { crate::launch::go() }",
        "use super::super::launch::go;",
        "use super::{Step, super::launch::go};",
        "m!{ $crate::launch::go }",
        "type T = Vec<crate::launch::Sandbox>;",
        "/* crate::spec */ use crate::launch;",
        "const C: char = '\"'; use crate::launch; const D: char = '\"';",
    ] {
        assert_eq!(faults_of("plan/step.rs", text), ["`plan` may not import `launch`"], "{text}");
    }
}

#[test]
fn the_crates_root_cannot_be_taken_under_another_name() {
    for text in
        ["use crate as c;", "use crate::*;", "use crate::{self as c};", "use super::super::*;"]
    {
        assert_eq!(faults_of("plan/step.rs", text), ["imports the crate's root"], "{text}");
    }
}

#[test]
fn a_neighbour_and_an_unknown_module_are_caught() {
    assert_eq!(
        faults_of("net/veth.rs", "use crate::rootfs::x;"),
        ["`net` may not import `rootfs`"]
    );
    assert_eq!(faults_of("magic.rs", ""), ["`magic` is not in the table of modules"]);
    assert_eq!(faults_of("main.rs", "use bryo::ops::run;"), ["`main` may not import `ops`"]);
}

#[test]
fn what_is_allowed_text_or_a_test_is_not_a_fault() {
    for text in [
        "use crate::spec::Spec; use crate::plan::Step; use super::Step; use self::a::b;",
        "// crate::launch\n/* crate::launch /* nested */ crate::launch */\n//! [`crate::launch`]",
        "const A: &str = \"crate::launch \\\" crate::launch\"; const B: &str = r#\"\" crate::launch\"#;",
        "pub(crate) fn f<'a>(x: &'a str) {} pub(in crate::plan) struct S;",
        "#[cfg(test)]\nmod tests { use crate::launch::go; fn f() { if true { std::fs::read(0) } } }\nfn g() {}",
        "use std::{fmt, collections::BTreeMap}; use core::net::IpAddr; fn fs() {}",
    ] {
        assert_eq!(faults_of("plan/step.rs", text), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn a_pure_module_cannot_reach_the_disk_or_the_environment() {
    for (text, fault) in [
        ("use std::fs;", "`spec` is pure: no `std::fs`"),
        ("use std::{fmt, env::var};", "`spec` is pure: no `std::env`"),
        ("fn f() { std::process::exit(1) }", "`spec` is pure: no `std::process`"),
        ("use std::net::IpAddr;", "`spec` is pure: no `std::net`"),
        (
            "use std::os::unix::fs::MetadataExt;",
            "`spec` is pure: no `std::os::unix::fs::MetadataExt`",
        ),
        ("use std as s;", "takes `std` whole"),
        ("use rustix::fs::open;", "`spec` is pure: no `rustix`"),
        ("fn f(p: &std::path::Path) { p.canonicalize() }", "`spec` is pure: no `.canonicalize()`"),
    ] {
        assert_eq!(faults_of("spec/paths.rs", text), [fault], "{text}");
        assert_eq!(faults_of("host/paths.rs", text), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn unsafe_a_mixed_bag_and_a_long_file_are_caught() {
    assert_eq!(faults_of("host/a.rs", "fn f() { unsafe { g() } }"), ["`unsafe` outside `sys`"]);
    assert_eq!(faults_of("sys/a.rs", "fn f() { unsafe { g() } }"), Vec::<String>::new());
    assert_eq!(faults_of("host/a.rs", "#![deny(unsafe_code)]"), Vec::<String>::new());
    assert_eq!(faults_of("plan/util.rs", ""), ["`util` names no idea"]);
    assert_eq!(faults_of("plan/helpers/a.rs", ""), ["`helpers` names no idea"]);
    let long = "fn f() {}\n".repeat(LONGEST);
    assert_eq!(faults_of("plan/a.rs", &long), ["401 lines, and no line `//! Long because …`"]);
    let reasoned = format!("//! Long because it is one table.\n{long}");
    assert_eq!(faults_of("plan/a.rs", &reasoned), Vec::<String>::new());
    let bare = faults(&Source { path: Path::new("plan/a.rs"), text: "fn f() {}" });
    assert_eq!(bare, ["src/plan/a.rs: does not open with `//!`"]);
}
