//! The record as JSON: read back, read in part, and anything else refused without harm.

use std::fs;

use bryo::plan::step::{Action, FsStep, Lower, ScratchEntry};
use bryo::state::{Beginning, Launcher, Record, StateError, Summary};
use proptest::prelude::{any, prop};
use proptest::{prop_assert, proptest};

use crate::fixture::{Fixture, inside, plan, spec};

#[test]
fn a_record_is_read_back_and_the_summary_reads_records_of_other_versions() {
    let fixture = Fixture::new();
    let (sandbox, record) = fixture.started(Some("n"));
    let json = record.to_pretty_json().unwrap();
    assert_eq!(serde_json::from_str::<Record>(&json).unwrap(), record);
    let mut value: serde_json::Value = serde_json::from_str(&json).unwrap();
    value["version"] = 2.into();
    value["spec"]["rootfs"] = "another form".into();
    value["new"] = true.into();
    let file = fixture.upper(&sandbox).with_file_name("record.json");
    fs::write(file, value.to_string()).unwrap();
    let found = fixture.stores().find(b"n").unwrap();
    assert!(matches!(found.record(), Err(StateError::NewerRecord { version: 2, .. })));
    let summary = found.summary().unwrap().unwrap();
    assert_eq!(summary.wanted.command.argv, record.spec.command.argv);
    assert_eq!(summary.created, record.created);
}

#[test]
fn a_record_knows_what_stood_in_the_shadow_of_a_directory() {
    let fixture = Fixture::new();
    let mut plan = plan(&fixture.path("over"), &["/.ssh"]);
    for step in &mut plan.steps {
        match &mut step.action {
            Action::Fs(FsStep::Overlay { lower, .. }) => {
                lower.retain(|layer| matches!(layer, Lower::Scratch(_)));
            }
            Action::Fs(FsStep::ScratchLayer { entries, .. }) => {
                entries.push(ScratchEntry::Directory { path: inside("/b"), mode: 0o755 });
                entries.push(ScratchEntry::Placeholder { path: inside("/a") });
            }
            _ => {}
        }
    }
    let (sandbox, _) = fixture.started(None);
    let beginning = Beginning {
        from: None,
        launcher: Launcher::this().unwrap(),
        spec: &spec(None),
        target: None,
        plan: &plan,
        marks: &[],
        published: &[],
    };
    let record = Record::begin(sandbox.id(), sandbox.created(), beginning);
    assert_eq!(record.layers[0].masked, [inside("/.ssh")]);
    assert_eq!(record.layers[0].shown, Some(vec![inside("/a"), inside("/b")]));
}

/// A real record with some of its bytes replaced.
fn damaged(changes: &[(prop::sample::Index, u8)]) -> Vec<u8> {
    let (_, record) = Fixture::new().started(Some("n"));
    let mut json = serde_json::to_vec(&record).unwrap();
    for (at, byte) in changes {
        let at = at.index(json.len());
        json[at] = *byte;
    }
    json
}

proptest! {
    #![proptest_config(proptest::test_runner::Config { cases: 64, failure_persistence: None, ..Default::default() })]

    #[test]
    fn a_damaged_record_is_an_error_or_a_record(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        length in any::<prop::sample::Index>(),
    ) {
        let json = damaged(&changes);
        for json in [&json[..], &json[..length.index(json.len())]] {
            if let Ok(record) = serde_json::from_slice::<Record>(json) {
                // Whatever was read can be written and means the same.
                let again = serde_json::to_vec(&record).unwrap();
                prop_assert!(serde_json::from_slice::<Record>(&again).unwrap() == record);
                prop_assert!(serde_json::from_slice::<Summary>(json).is_ok());
            }
        }
    }

    #[test]
    fn garbage_is_never_a_record(garbage in prop::collection::vec(any::<u8>(), 0..2000)) {
        prop_assert!(serde_json::from_slice::<Record>(&garbage).is_err());
        prop_assert!(serde_json::from_slice::<Summary>(&garbage).is_err());
    }
}
