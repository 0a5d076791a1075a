//! What `bryo ps --format` shows.

use std::collections::BTreeMap;

use super::{Long, PsRow, changes_text, choose, command_text, status_text};
use crate::ops::error::OpsError;
use crate::ops::template::Template;
use crate::profile::value::ValueError;
use crate::report::amount::{duration, size};
use crate::spec::HostPath;
use crate::spec::text::escape;
use crate::state::Timestamp;

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
    "Ports",
    "Networks",
    "Labels",
    "Changes",
    "From",
    "Profile",
    "Health",
];

/// `{{.ID}}\t{{.Names}}`, with `table ` before it for titles.
pub fn parse_format(text: &str) -> Result<Template, ValueError> {
    Template::parse(text, FIELDS)
}

/// One line for each row.
pub fn formatted(rows: &[PsRow], format: &Template, now: Timestamp, long: Long) -> String {
    let value = |row: usize, field: &str| rows.get(row).map(|row| value(row, field, (now, long)));
    format.render(rows.len(), &|row, field| value(row, field).unwrap_or_default())
}

/// All fields of each row, as one JSON object on a line of its own: Docker's `{{json .}}`.
pub fn json_lines(rows: &[PsRow], now: Timestamp, long: Long) -> Result<String, OpsError> {
    let fields = |row| FIELDS.iter().map(move |field| (*field, value(row, field, (now, long))));
    let object = |row| serde_json::to_string(&fields(row).collect::<BTreeMap<_, _>>());
    let line = |row| object(row).map(|text| text + "\n").map_err(OpsError::Json);
    rows.iter().map(line).collect()
}

/// What was chosen by others is escaped.
fn value(row: &PsRow, field: &str, (now, long): (Timestamp, Long)) -> String {
    let age = |row: &PsRow| row.started.map(|started| duration(now.since(started)));
    let text = match field {
        "ID" => Some(row.id.to_string()),
        "Names" => row.name.clone(),
        "Command" => Some(command_text(&row.command, long)),
        "State" => Some(choose::state_word(row.state).to_owned()),
        "Status" => Some(status_text(row)),
        "CreatedAt" => row.created.map(|created| created.to_string()),
        "RunningFor" => age(row),
        "Size" => row.size.map(size),
        "Ports" => Some(crate::ops::port::short(&row.ports)),
        "Networks" => Some(row.networks.iter().map(escape).collect::<Vec<_>>().join(",")),
        "Labels" => Some(labels(row)),
        "Changes" => row.changes.as_ref().map(changes_text),
        "From" => row.from.as_ref().map(HostPath::to_string),
        "Health" => row.health.map(|health| health.word().to_owned()),
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
            formatted(rows, &parse_format(text).unwrap(), Timestamp::from_nanoseconds(0), Long::Cut)
        };
        assert_eq!(shown(r"{{.ID}}\t{{ .Names }} {{.State}}!"), "0123456789ab\tweb running!\n");
        assert_eq!(shown("table {{.Names}}"), "NAMES\nweb\n");
        assert_eq!(shown("{{.Ports}}{{.Networks}}"), "\n");
        assert_eq!(shown("x"), "x\n");
        let rows = [row.clone(), row.clone()];
        let lines = json_lines(&rows, Timestamp::from_nanoseconds(0), Long::Cut).unwrap();
        assert_eq!(lines.lines().count(), 2);
        for line in lines.lines() {
            let object: BTreeMap<&str, String> = serde_json::from_str(line).unwrap();
            assert_eq!(object.len(), FIELDS.len());
            assert_eq!((&object["ID"][..], &object["Names"][..]), ("0123456789ab", "web"));
        }
        for bad in ["{{.Name}}", "{{ID}}", "{{.ID", "{{}}"] {
            assert!(parse_format(bad).is_err(), "{bad}");
        }
    }
}
