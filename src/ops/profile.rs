//! `bryo profile list|show|check`: what profiles there are and what they say.

use serde::Serialize;

use crate::profile::render::{removals, to_toml};
use crate::profile::{
    Library, Origin, ProfileError, Reference, Resolved, Settings, parse_profile, problems,
};
use crate::report::Table;
use crate::spec::Text;
use crate::spec::text::pretty_json;

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// What of a profile is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// What stands in its own file.
    Own,
    /// With everything it extends.
    Resolved,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ProfileOpError {
    /// A profile.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// An answer that is no JSON.
    #[error("cannot write the answer as JSON")]
    Json(#[source] serde_json::Error),
}

impl crate::report::Explain for ProfileOpError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Profile(error) => error.hint(),
            Self::Json(_) => None,
        }
    }
}

/// Every profile there is.
pub fn list(library: &Library, format: Format) -> Result<Vec<u8>, ProfileOpError> {
    let listings = library.list()?;
    if format == Format::Json {
        return json(&listings);
    }
    let mut table = Table::new(["NAME", "FROM", "FOR WHAT"]);
    for listing in listings {
        let from = match &listing.origin {
            Origin::Builtin => "built in".to_owned(),
            Origin::File(file) => file.to_string(),
        };
        let what = match (&listing.problem, &listing.description) {
            (Some(problem), _) => format!("unusable: {}", Text::from(problem.as_str())),
            (None, Some(description)) => Text::from(description.as_str()).to_string(),
            (None, None) => String::new(),
        };
        table.row([listing.name, from, what]);
    }
    Ok(table.to_string().into_bytes())
}

/// A profile, for a program.
#[derive(Debug, Serialize)]
struct Shown<'r> {
    name: &'r str,
    origin: &'r Origin,
    description: Option<&'r str>,
    row: &'r [String],
    settings: &'r Settings,
}

/// One profile: as it was written, or merged with what it extends.
pub fn show(
    library: &Library,
    reference: &Reference,
    part: Part,
    format: Format,
) -> Result<Vec<u8>, ProfileOpError> {
    match (part, format) {
        (Part::Own, Format::Text) => Ok(library.source(reference)?.1),
        (Part::Own, Format::Json) => {
            let (origin, bytes) = library.source(reference)?;
            let shown = match &origin {
                Origin::File(file) => file.clone(),
                Origin::Builtin => Text::from(name_of(reference)),
            };
            let file = parse_profile(&shown, &bytes)?;
            json(&Shown {
                name: &name_of(reference),
                origin: &origin,
                description: file.description.as_deref(),
                row: file.extends.as_deref().unwrap_or(&["default".to_owned()]),
                settings: &file.settings,
            })
        }
        (Part::Resolved, format) => {
            let resolved = library.resolve(reference)?;
            match format {
                Format::Text => Ok(resolved_text(&resolved).into_bytes()),
                Format::Json => shown_json(&resolved),
            }
        }
    }
}

/// Whether a profile can be used; says what it begins with. Errors: all that is wrong in its file, or with what it extends.
pub fn check(
    library: &Library,
    reference: &Reference,
    format: Format,
) -> Result<Vec<u8>, Vec<ProfileOpError>> {
    check_first(library, reference, format).map_err(|error| {
        let source = match &error {
            ProfileOpError::Profile(ProfileError::Invalid { .. }) => library.source(reference).ok(),
            _ => None,
        };
        let Some((Origin::File(file), bytes)) = source else { return vec![error] };
        let all = problems(&file, &bytes);
        if all.is_empty() { vec![error] } else { all.into_iter().map(Into::into).collect() }
    })
}

fn check_first(
    library: &Library,
    reference: &Reference,
    format: Format,
) -> Result<Vec<u8>, ProfileOpError> {
    let resolved = library.resolve(reference)?;
    if format == Format::Json {
        return shown_json(&resolved);
    }
    let begins = match resolved.row.split_last() {
        Some((_, before)) if !before.is_empty() => format!(", extends {}", before.join(", ")),
        _ => String::new(),
    };
    let name = Text::from(resolved.name.as_str());
    let mut said = format!("{name}: usable{}\n", Text::from(begins));
    let idle = removals(&resolved.idle);
    if !idle.is_empty() {
        said.push_str("removed, but never listed:\n");
        said.push_str(&idle);
    }
    Ok(said.into_bytes())
}

fn name_of(reference: &Reference) -> String {
    match reference {
        Reference::Name(name) => name.clone(),
        Reference::File(path) => {
            path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned())
        }
    }
}

fn resolved_text(resolved: &Resolved) -> String {
    let row: Vec<String> =
        resolved.row.iter().map(|name| Text::from(name.as_str()).to_string()).collect();
    let mut settings = resolved.settings.clone();
    settings.forget_removals();
    format!("# {}\n{}", row.join(" + "), to_toml(resolved.description.as_deref(), &settings))
}

fn shown_json(resolved: &Resolved) -> Result<Vec<u8>, ProfileOpError> {
    let mut settings = resolved.settings.clone();
    settings.forget_removals();
    json(&Shown {
        name: &resolved.name,
        origin: &resolved.origin,
        description: resolved.description.as_deref(),
        row: &resolved.row,
        settings: &settings,
    })
}

fn json(value: &impl Serialize) -> Result<Vec<u8>, ProfileOpError> {
    pretty_json(value).map(String::into_bytes).map_err(ProfileOpError::Json)
}
