//! What `bryo ps --format` shows: `table` or not, and a template with Docker's fields.

use super::{PsRow, changes_text, choose, command_text, state_text};
use crate::profile::value::{ValueError, nearest};
use crate::report::amount::{duration, size};
use crate::spec::HostPath;
use crate::spec::text::escape;
use crate::state::Timestamp;

/// A template, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    has_titles: bool,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Field(&'static str),
}

/// Docker's fields, and those of ours that it has none for.
const FIELDS: &[&str] = &[
    "ID",
    "Names",
    "Command",
    "State",
    "Status",
    "CreatedAt",
    "RunningFor",
    "Size",
    "Labels",
    "Changes",
    "From",
    "Profile",
];

impl Template {
    /// `{{.ID}}\t{{.Names}}`, with `table ` before it for titles.
    pub fn parse(text: &str) -> Result<Self, ValueError> {
        let (has_titles, mut rest) = match text.strip_prefix("table ") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let mut parts = Vec::new();
        while let Some((before, after)) = rest.split_once("{{") {
            let (inside, behind) = after.split_once("}}").ok_or(ValueError::NotATemplate)?;
            let word = inside.trim().strip_prefix('.').ok_or(ValueError::NotATemplate)?;
            let field = FIELDS.iter().find(|field| **field == word);
            let field = field.ok_or_else(|| ValueError::UnknownChoice {
                nearest: nearest(word, FIELDS.iter().copied()),
                choices: FIELDS,
            })?;
            parts.extend([Part::Text(plain(before)), Part::Field(field)]);
            rest = behind;
        }
        parts.push(Part::Text(plain(rest)));
        Ok(Self { has_titles, parts })
    }

    /// One line for each row.
    pub fn render(&self, rows: &[PsRow], now: Timestamp) -> String {
        let line = |field: &dyn Fn(&str) -> String| {
            let parts = self.parts.iter().map(|part| match part {
                Part::Text(text) => text.clone(),
                Part::Field(name) => field(name),
            });
            parts.chain(["\n".to_owned()]).collect::<String>()
        };
        let titles = self.has_titles.then(|| line(&|name| name.to_uppercase()));
        titles
            .into_iter()
            .chain(rows.iter().map(|row| line(&|name| value(row, name, now))))
            .collect()
    }
}

/// The escapes that a shell's word holds as two characters.
fn plain(text: &str) -> String {
    text.replace("\\t", "\t").replace("\\n", "\n")
}

/// What was chosen by others is escaped.
fn value(row: &PsRow, field: &str, now: Timestamp) -> String {
    let age = |row: &PsRow| row.created.map(|created| duration(now.since(created)));
    let text = match field {
        "ID" => Some(row.id.to_string()),
        "Names" => row.name.clone(),
        "Command" => Some(command_text(&row.command)),
        "State" => Some(choose::state_word(row.state).to_owned()),
        "Status" => Some(state_text(row.state)),
        "CreatedAt" => row.created.map(|created| created.to_string()),
        "RunningFor" => age(row),
        "Size" => row.size.map(size),
        "Labels" => Some(labels(row)),
        "Changes" => row.changes.as_ref().map(changes_text),
        "From" => row.from.as_ref().map(HostPath::to_string),
        _ => row.profile.as_ref().map(escape),
    };
    text.unwrap_or_default()
}

fn labels(row: &PsRow) -> String {
    let label = |(name, value): (&String, &String)| escape(format!("{name}={value}"));
    row.labels.iter().map(label).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::ps::PsState;
    use crate::state::SandboxId;

    #[test]
    fn fields_stand_where_the_template_has_them() {
        let id = SandboxId::parse(b"0123456789ab").unwrap();
        let row = PsRow { name: Some("web".to_owned()), ..PsRow::unknown(id, PsState::Running) };
        let shown = |text: &str| {
            let rows = std::slice::from_ref(&row);
            Template::parse(text).unwrap().render(rows, Timestamp::from_nanoseconds(0))
        };
        assert_eq!(shown(r"{{.ID}}\t{{ .Names }} {{.State}}!"), "0123456789ab\tweb running!\n");
        assert_eq!(shown("table {{.Names}}"), "NAMES\nweb\n");
        assert_eq!(shown("x"), "x\n");
        for bad in ["{{.Name}}", "{{ID}}", "{{.ID", "{{}}"] {
            assert!(Template::parse(bad).is_err(), "{bad}");
        }
    }
}
