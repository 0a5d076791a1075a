//! `bryo inspect`: everything known of a sandbox.
//!
//! # Decisions
//! - A template's fields are looked up in the lines of the indented form, in which a name stands behind two blanks for
//!   each object around it: a tree of all values, for this alone, would be a good part of the program's size.

mod docker;

use std::cell::{OnceCell, RefCell};

use super::error::OpsError;
use super::sweep::sweep;
use super::template::Template;
use crate::spec::text::{escape, pretty_json};
pub use crate::state::Record;
use crate::state::{Stores, Which};

/// Records as JSON with one newline at the end: one by itself where one was asked for, several as a list.
pub fn json(records: &[Record], asked: usize) -> Result<String, OpsError> {
    match records {
        [one] if asked == 1 => one.to_pretty_json(),
        several => pretty_json(&several),
    }
    .map_err(OpsError::Json)
}

/// One line for each record: texts and numbers as they are, or as JSON what is neither.
pub fn formatted(
    stores: &Stores,
    records: &[Record],
    format: &Template,
) -> Result<String, OpsError> {
    let texts: Result<Vec<String>, _> = records.iter().map(Record::to_pretty_json).collect();
    let texts = texts.map_err(OpsError::Json)?;
    let looks: Vec<Look> =
        records.iter().map(|record| Look(stores, record, OnceCell::new())).collect();
    let missing = RefCell::new(None);
    let lines = format.render(texts.len(), &|row, field| {
        let (is_json, path) =
            field.strip_prefix("json ").map_or((false, field), |path| (true, path));
        let names = path.split('.').filter(|name| !name.is_empty());
        let own = texts.get(row).map_or("", |text| text);
        let look = looks.get(row).filter(|_| docker::has(path));
        let dockers = match look.map(Look::in_dockers_words).transpose() {
            Ok(dockers) => dockers,
            Err(error) => {
                missing.borrow_mut().get_or_insert(error);
                return String::new();
            }
        };
        match part(dockers.unwrap_or(own), names) {
            // A name that is written wrongly is not taken for one without a value.
            Err(there) => {
                let (field, there) = (escape(path), escape(there));
                missing.borrow_mut().get_or_insert(OpsError::NoField { field, there });
                String::new()
            }
            Ok(value) if is_json => value,
            Ok(value) if value == "null" => String::new(),
            Ok(value) => {
                serde_json::from_slice(value.as_bytes()).map_or(value, |text: String| escape(text))
            }
        }
    });
    missing.into_inner().map_or(Ok(lines), Err)
}

/// What is asked of a sandbox besides its record: once, so that all that is said of it is of one moment.
struct Look<'a>(&'a Stores, &'a Record, OnceCell<String>);

impl Look<'_> {
    fn in_dockers_words(&self) -> Result<&str, OpsError> {
        let Self(stores, record, seen) = self;
        if let Some(seen) = seen.get() {
            return Ok(seen);
        }
        let found = stores.find(record.id.as_str().as_bytes())?;
        let text = docker::json(&found, record)?;
        Ok(seen.get_or_init(|| text))
    }
}

/// The value at these names, on one line; what names there are where one of them is not.
fn part<'n>(json: &str, names: impl Iterator<Item = &'n str>) -> Result<String, String> {
    let (mut rest, mut indent) = (json, String::new());
    for name in names {
        // The last line of the object has fewer blanks.
        let (_, inside) =
            rest.split_once('\n').filter(|(first, _)| first.ends_with('{')).unwrap_or_default();
        indent += "  ";
        let lines = inside.split_inclusive('\n').take_while(|line| line.starts_with(&indent));
        let key = format!("{indent}\"{name}\": ");
        let mut before = 0;
        // Docker's names begin with capitals.
        let is_it =
            |line: &&str| line.get(..key.len()).is_some_and(|it| it.eq_ignore_ascii_case(&key));
        let found = lines.clone().inspect(|line| before += line.len()).find(is_it);
        let found = found.ok_or_else(|| {
            let key_of =
                |line| str::strip_prefix(line, &*indent)?.strip_prefix('"')?.split_once("\": ");
            let there: Vec<&str> = lines.filter_map(key_of).map(|(name, _)| name).collect();
            there.join(", ")
        })?;
        rest = inside.get(before - found.len() + key.len()..).unwrap_or_default();
    }
    let (first, others) = rest.split_once('\n').unwrap_or((rest, ""));
    if !first.ends_with(['{', '[']) {
        return Ok(first.trim_end_matches(',').to_owned());
    }
    let inner = format!("{indent}  ");
    let mut lines = others.lines();
    let inside = lines.by_ref().take_while(|line| line.starts_with(&inner)).map(str::trim_start);
    let inside: Vec<&str> = inside.collect();
    Ok(format!("{first}{}{}", inside.join(" "), if first.ends_with('{') { '}' } else { ']' }))
}

/// The record of one sandbox, after sweeping: what it says of a run that was killed is right.
pub fn inspect(stores: &Stores, which: Which<'_>) -> Result<Record, OpsError> {
    sweep(stores)?;
    let found = stores.choose(which)?;
    let mut record = found.record()?;
    if record.spec.lifetime.health.is_some() && record.health.is_none() {
        record.health = found.health();
    }
    // It may have got another one since that was written.
    record.name = stores.names()?.remove(&found.id());
    Ok(record)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_found_by_its_names_and_nothing_else_is() {
        let json = pretty_json(&serde_json::json!({
            "a": {"name": "in a", "list": [1, {"b": "}\n  \"z\": 9"}], "none": {}},
            "b": "text, \" and {",
            "c": [],
            "n": null,
        }))
        .unwrap();
        let found = |path: &str| part(&json, path.split('.').filter(|name| !name.is_empty()));
        assert_eq!(found("a.name").as_deref(), Ok("\"in a\""));
        assert_eq!(found("b").as_deref(), Ok(r#""text, \" and {""#));
        for (path, expected) in [
            ("", &json[..]),
            ("a.list", r#"[1,{"b":"}\n  \"z\": 9"}]"#),
            ("a.none", "{}"),
            ("c", "[]"),
            ("n", "null"),
        ] {
            let value: serde_json::Value = serde_json::from_str(&found(path).unwrap()).unwrap();
            assert_eq!(
                value,
                serde_json::from_str::<serde_json::Value>(expected).unwrap(),
                "{path}"
            );
            assert!(!found(path).unwrap().contains('\n'));
        }
        assert_eq!(found("A.Name"), found("a.name"));
        for nothing in ["name", "list", "z"] {
            assert_eq!(found(nothing), Err("a, b, c, n".to_owned()), "{nothing}");
        }
        assert_eq!(found("a.b"), Err("list, name, none".to_owned()));
        for nothing in ["b.x", "c.x", "a.none.x", "a.name.x", "n.x"] {
            assert_eq!(found(nothing), Err(String::new()), "{nothing}");
        }
    }
}
