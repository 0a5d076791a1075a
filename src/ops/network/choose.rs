//! Which networks `bryo network ls` lists, and what of them: `--filter`, `--format`.

use super::NetworkRow;
use crate::ops::filter::{Key, words};
use crate::ops::template::Template;
use crate::profile::value::ValueError;
use crate::spec::net::NetworkName;
use crate::spec::text::escape;

/// One condition. Of one kind one has to hold, of different kinds all; but each label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filter {
    /// `name=PART`
    Name(String),
    /// `label=NAME[=VALUE]`
    Label(String, Option<String>),
    /// `dangling=BOOL`: whether no sandbox is on it. One that does not tell is neither.
    Dangling(bool),
    /// `internal=BOOL`
    Internal(bool),
    /// `type=custom|builtin`: whether somebody made it.
    Custom(bool),
}

/// What `bryo network ls --filter` takes.
pub const FILTERS: [Key; 5] =
    [("name", &[]), ("label", &[]), ("dangling", TRUTH), ("internal", TRUTH), ("type", TYPES)];

const KEYS: [&str; 5] = words(&FILTERS);
const TYPES: &[&str] = &["custom", "builtin"];
const TRUTH: &[&str] = &["true", "false"];

/// Docker's fields, and those of ours that it has none for.
const FIELDS: &[&str] =
    &["Name", "Subnet", "Subnet6", "Gateway", "Internal", "Sandboxes", "Labels", "CreatedAt"];

impl Filter {
    /// `KEY=VALUE`.
    pub fn parse(text: &str) -> Result<Self, ValueError> {
        let (key, value) = text.split_once('=').unwrap_or((text, ""));
        if value.is_empty() && KEYS.contains(&key) {
            return Err(ValueError::Empty);
        }
        let is_first = |choices: &'static [&'static str]| {
            let at = choices.iter().position(|choice| *choice == value);
            at.map(|at| at == 0).ok_or_else(|| ValueError::unknown(value, choices))
        };
        Ok(match key {
            "name" => Self::Name(value.to_owned()),
            "label" => match value.split_once('=') {
                Some((name, value)) => Self::Label(name.to_owned(), Some(value.to_owned())),
                None => Self::Label(value.to_owned(), None),
            },
            "dangling" => Self::Dangling(is_first(TRUTH)?),
            "internal" => Self::Internal(is_first(TRUTH)?),
            "type" => Self::Custom(is_first(TYPES)?),
            other => return Err(ValueError::unknown(other, &KEYS)),
        })
    }

    fn fits(&self, row: &NetworkRow) -> bool {
        match self {
            Self::Name(part) => row.name.as_str().contains(part),
            Self::Label(name, value) => {
                let label = row.labels.get(name);
                label.is_some_and(|label| value.as_ref().is_none_or(|value| value == label))
            }
            Self::Dangling(is) => row.sandboxes.is_some_and(|count| (count == 0) == *is),
            Self::Internal(is) => row.internal == *is,
            Self::Custom(is) => (row.name.as_str() != NetworkName::DEFAULT) == *is,
        }
    }
}

/// Whether a network is wanted.
pub fn is_wanted(row: &NetworkRow, filters: &[Filter]) -> bool {
    let kind = core::mem::discriminant::<Filter>;
    filters.iter().all(|filter| {
        // Each label is a kind of its own, as with Docker.
        let is_alternative =
            |one: &&Filter| kind(one) == kind(filter) && !matches!(filter, Filter::Label(..));
        filter.fits(row) || filters.iter().filter(is_alternative).any(|one| one.fits(row))
    })
}

/// `{{.Name}}\t{{.Subnet}}`, with `table ` before it for titles.
pub fn parse_format(text: &str) -> Result<Template, ValueError> {
    Template::parse(text, FIELDS)
}

/// One line for each network.
pub fn formatted(rows: &[NetworkRow], format: &Template) -> String {
    let value = |row: usize, field: &str| rows.get(row).map(|row| value(row, field));
    format.render(rows.len(), &|row, field| value(row, field).unwrap_or_default())
}

fn value(row: &NetworkRow, field: &str) -> String {
    match field {
        "Name" => row.name.to_string(),
        "Subnet" => row.subnet.to_string(),
        "Subnet6" => row.subnet6.to_string(),
        "Gateway" => row.gateway.to_string(),
        "Internal" => row.internal.to_string(),
        "Sandboxes" => row.sandboxes.map(|count| count.to_string()).unwrap_or_default(),
        "CreatedAt" => row.created.to_string(),
        _ => {
            let label = |(name, value): (&String, &String)| escape(format!("{name}={value}"));
            row.labels.iter().map(label).collect::<Vec<_>>().join(",")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::net::Prefix;
    use crate::state::Timestamp;

    #[test]
    fn every_key_and_word_of_the_list_is_read() {
        assert_eq!(crate::ops::filter::unread(&FILTERS, Filter::parse), [""; 0]);
    }

    fn row() -> NetworkRow {
        NetworkRow {
            name: NetworkName::new("lab").unwrap(),
            subnet: Prefix::parse("10.9.0.0/24").unwrap(),
            subnet6: Prefix::parse("fd12:3456:789a:1::/64").unwrap(),
            gateway: "10.9.0.1".parse().unwrap(),
            internal: true,
            uplink: super::super::Uplink::None,
            ip_range: None,
            labels: [("a".to_owned(), "1\u{1b}".to_owned())].into(),
            sandboxes: Some(2),
            created: Timestamp::from_nanoseconds(0),
        }
    }

    #[test]
    fn conditions_of_one_kind_are_alternatives_and_kinds_add_up() {
        for (texts, wanted) in [
            (&["name=la", "internal=true"][..], true),
            (&["name=x", "name=ab", "dangling=false", "type=custom", "label=a"], true),
            (&["name=x"], false),
            (&["dangling=true"], false),
            (&["internal=false"], false),
            (&["type=builtin"], false),
            (&["label=a", "label=b"], false),
            (&["label=a=2"], false),
        ] {
            let filters: Vec<Filter> = texts.iter().map(|t| Filter::parse(t).unwrap()).collect();
            assert_eq!(is_wanted(&row(), &filters), wanted, "{texts:?}");
        }
        for bad in ["", "name", "name=", "dangling=yes", "type=x", "nam=x", "label="] {
            assert!(Filter::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn fields_stand_where_the_template_has_them() {
        let shown = |text: &str| formatted(&[row()], &parse_format(text).unwrap());
        let line = shown("{{.Name}} {{.Subnet}} {{.Gateway}} {{.Internal}} {{.Sandboxes}}");
        assert_eq!(line, "lab 10.9.0.0/24 10.9.0.1 true 2\n");
        assert!(!shown("{{.Labels}}").contains('\u{1b}'));
        assert!(parse_format("{{.Nmae}}").is_err());
    }
}
