//! Golden plans: what is wanted and what the host offers, as TOML, and the plan that must come out.
//!
//! # Theory of operation
//! A case in `tests/plan/NAME.toml` says what differs from `base/spec.toml` and `base/facts.toml`;
//! `NAME.txt` beside it is the plan as the dry run shows it, or the error with its hint. Tables are
//! merged key by key; a list replaces the base's; a key that ends in `+` appends to a list, one that
//! ends in `-` takes the base's away.
//! `about` narrows what is shown to the steps that mention one of these words, without their numbers.
//!
//! Every plan must pass `check`, be the same when it is made twice, and survive JSON.
//!
//! `BRYO_UPDATE_GOLDEN=1 cargo test --test plan` writes the texts anew; read the difference.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "allow-unwrap-in-tests does not reach helper functions of integration tests"
)]

#[path = "plan/broken.rs"]
mod broken;
#[path = "plan/entry.rs"]
mod entry;
#[path = "plan/laws.rs"]
mod laws;
#[path = "plan/machine.rs"]
mod machine;
#[path = "plan/sight.rs"]
mod sight;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use bryo::plan::{Facts, Plan, PlanError, check, plan, render, tree_needs};
use bryo::spec::Spec;
use serde::Deserialize;
use toml::{Table, Value};

/// One file of `tests/plan`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    /// What it shows, as a claim.
    claim: String,
    /// Words of which a step must mention one to be shown; all steps if empty.
    #[serde(default)]
    about: Vec<String>,
    #[serde(default)]
    spec: Table,
    #[serde(default)]
    facts: Table,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plan")
}

fn table(path: &Path) -> Table {
    let text = std::fs::read_to_string(path).unwrap();
    toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn merge(into: &mut Table, from: Table) {
    for (key, value) in from {
        if let Some(gone) = key.strip_suffix('-') {
            into.remove(gone);
            continue;
        }
        if let Some(list) = key.strip_suffix('+') {
            let Some(Value::Array(more)) = Some(value) else { panic!("`{key}` is no list") };
            let known = into.entry(list).or_insert_with(|| Value::Array(Vec::new()));
            known.as_array_mut().unwrap().extend(more);
            continue;
        }
        match (into.get_mut(&key), value) {
            (Some(Value::Table(known)), Value::Table(more)) if !CHOICES.contains(&key.as_str()) => {
                merge(known, more);
            }
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}

/// `{ at = "/x" }` and `{ directory = "/x" }` are one of several: they replace.
const CHOICES: [&str; 3] = ["workdir", "base", "seccomp"];

fn merged<T: for<'de> Deserialize<'de>>(base: &str, delta: Table) -> T {
    let mut all = table(&folder().join("base").join(base));
    merge(&mut all, delta);
    T::deserialize(Value::Table(all)).unwrap_or_else(|error| panic!("{error}"))
}

/// What is shown: the plan or the error.
fn shown(about: &[String], planned: &Result<Plan, PlanError>) -> String {
    match planned {
        Err(error) => {
            let hint = error.hint().map(|hint| format!("hint: {hint}\n")).unwrap_or_default();
            format!("error: {error}\n{hint}")
        }
        Ok(plan) if about.is_empty() => render(plan),
        Ok(plan) => narrowed(&render(plan), about),
    }
}

/// Steps with their details, of which one line mentions a word; headings of processes stay.
fn narrowed(text: &str, about: &[String]) -> String {
    let mut found = String::new();
    let mut step: Vec<&str> = Vec::new();
    let flush = |step: &mut Vec<&str>, found: &mut String| {
        let mentions = |line: &&str| about.iter().any(|word| line.contains(word.as_str()));
        // Landlock names most places again.
        let searched =
            step.len().min(if step.concat().contains("Landlock") { 1 } else { usize::MAX });
        if step[..searched].iter().any(mentions) {
            for line in step.iter() {
                writeln!(found, "{line}").unwrap();
            }
        }
        step.clear();
    };
    for line in text.lines() {
        if !line.starts_with("        ") {
            flush(&mut step, &mut found);
        }
        if line.starts_with(' ') {
            step.push(line.get(6..).unwrap_or(line));
        } else {
            writeln!(found, "{line}").unwrap();
        }
    }
    flush(&mut step, &mut found);
    found
}

/// The laws that hold for every case.
fn hold_laws(spec: &Spec, facts: &Facts, planned: &Result<Plan, PlanError>) {
    assert_eq!(*planned, plan(spec, facts), "a plan depends on its spec and facts alone");
    if let Ok(needs) = tree_needs(spec, facts) {
        assert!(needs.split.is_empty(), "the case does not list {:?}", needs.split);
        assert!(needs.points.is_empty(), "the case does not say what is at {:?}", needs.points);
    }
    let Ok(plan) = planned else { return };
    check(spec, facts, plan).unwrap();
    entry::hold(plan);
    let json = serde_json::to_string(plan).unwrap();
    assert_eq!(serde_json::from_str::<Plan>(&json).unwrap(), *plan, "{json}");
}

#[test]
fn every_case_gives_its_plan() {
    let update = std::env::var_os("BRYO_UPDATE_GOLDEN").is_some();
    let mut cases: Vec<PathBuf> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "toml"))
        .collect();
    cases.sort();
    assert!(cases.len() > 30, "the cases are missing");
    let mut wrong = String::new();
    for path in cases {
        let case = Case::deserialize(Value::Table(table(&path))).unwrap();
        let outcome = std::panic::catch_unwind(|| {
            let spec: Spec = merged("spec.toml", case.spec.clone());
            let facts: Facts = merged("facts.toml", case.facts.clone());
            let planned = plan(&spec, &facts);
            hold_laws(&spec, &facts, &planned);
            shown(&case.about, &planned)
        });
        let Ok(text) = outcome else {
            writeln!(wrong, "{}: see above", path.display()).unwrap();
            continue;
        };
        let text = format!("{}\n\n{text}", case.claim);
        let expected = path.with_extension("txt");
        if update {
            std::fs::write(&expected, text).unwrap();
        } else if std::fs::read_to_string(&expected).unwrap_or_default() != text {
            writeln!(wrong, "{}: now\n{text}", expected.display()).unwrap();
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}
