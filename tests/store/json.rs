//! `diff --json` of sandboxes in a store.

use bryo::ops::diff::{Form, Selection};
use bryo::report::Colour;
use serde_json::{Value, json};

use crate::fixture::Fixture;
use crate::review::{ended, everything, show, text};

pub(crate) fn parsed(fixture: &Fixture, form: Form) -> Value {
    serde_json::from_slice(&show(fixture, &Selection::default(), form, Colour::No).0).unwrap()
}

#[test]
fn json_has_the_form_that_is_written_down() {
    let fixture = Fixture::new();
    let id = ended(&fixture, everything);
    let (out, shown) = show(&fixture, &Selection::default(), Form::JsonContent, Colour::No);
    assert!(!out.iter().any(|byte| *byte < b' ' && *byte != b'\n'));
    let mut value: Value = serde_json::from_slice(&out).unwrap();
    let over = fixture.path("over").display().to_string();
    assert_eq!(value["version"], 1);
    assert_eq!(value["sandbox"], id.to_string());
    assert_eq!(value["running"], false);
    assert_eq!(value["digest"], shown.digest.unwrap().to_string());
    assert_eq!(value["counts"], json!({ "added": 6, "changed": 4, "deleted": 2 }));
    let uid = rustix::process::geteuid().as_raw();
    let gid = rustix::process::getegid().as_raw();
    let changes = value["changes"].as_array_mut().unwrap();
    assert_eq!(
        changes[0],
        json!({
            "path": format!("{over}/.bashrc"), "kind": "added", "layer": 0, "executed": "shell",
            "now": {
                "type": "file", "mode": "0644", "owner": uid, "group": gid, "size": 14,
                "modified": "2001-09-09T01:46:40.000000000Z",
            },
            "content": "7f4a0c4163971b3c75a960fdc109d20d7fe5e0f67bae5999d140c4deb41f5fa2",
            "diff": "@@ -0,0 +1 @@\n+alias ls=evil\n",
        })
    );
    let keys = |change: &Value| {
        let keys: Vec<String> = change.as_object().unwrap().keys().cloned().collect();
        keys.join(" ")
    };
    let all: Vec<String> = changes.iter().map(keys).collect();
    assert_eq!(
        all,
        [
            "content diff executed kind layer now path",
            "content diff differs kind layer now path was",
            "kind layer path was",
            "content diff kind layer now path",
            "diff kind layer path was",
            "content kind layer now path",
            "kind layer now path",
            "attributes content diff differs kind layer now path was",
            "kind layer now path",
            "content kind layer now path same-file-as",
            "differs kind layer now path was",
            "diff differs kind layer now path was",
        ]
    );
    details_in_json(changes);
}

fn details_in_json(changes: &[Value]) {
    assert_eq!(changes[1]["differs"], json!(["size"]));
    assert_eq!(changes[6]["now"]["target"], "/etc/passwd");
    assert_eq!(changes[7]["attributes"], json!([{ "name": "user.note", "value": "x" }]));
    assert_eq!(changes[9]["now"]["links"], 2);
    assert_eq!(changes[11]["differs"], json!(["type"]));
}

#[test]
fn diff_of_nothing_is_nothing_and_an_empty_list() {
    let fixture = Fixture::new();
    ended(&fixture, |_, _| ());
    assert_eq!(text(&fixture, Form::List, Colour::No), "");
    assert_eq!(parsed(&fixture, Form::Json)["changes"], json!([]));
}
