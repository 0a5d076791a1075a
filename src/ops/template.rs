//! `--format`: `table` or not, and a template with fields of a row, as Docker has them.

use crate::profile::value::ValueError;

/// A template, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    has_titles: bool,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Field(String),
}

impl Template {
    /// `{{.ID}}\t{{.Name}}`, with `table ` before it for titles; `fields` are those there are. Where none
    /// are given, any may be named, with `json ` before it too.
    pub fn parse(text: &str, fields: &'static [&'static str]) -> Result<Self, ValueError> {
        let (has_titles, mut rest) = match text.strip_prefix("table ") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let mut parts = Vec::new();
        while let Some((before, after)) = rest.split_once("{{") {
            let (inside, behind) = after.split_once("}}").ok_or(ValueError::NotATemplate)?;
            let (form, word) = inside.split_once('.').ok_or(ValueError::NotATemplate)?;
            let (form, word) = (form.trim(), word.trim());
            if !form.is_empty() && (form != "json" || !fields.is_empty()) {
                return Err(ValueError::NotATemplate);
            }
            if !fields.is_empty() && !fields.contains(&word) {
                return Err(ValueError::unknown(word, fields));
            }
            let field = if form.is_empty() { word.to_owned() } else { format!("json {word}") };
            parts.extend([Part::Text(plain(before)), Part::Field(field)]);
            rest = behind;
        }
        parts.push(Part::Text(plain(rest)));
        Ok(Self { has_titles, parts })
    }

    /// One line for each row; `value` gives a field of the row with this number, escaped.
    pub(super) fn render(&self, rows: usize, value: &dyn Fn(usize, &str) -> String) -> String {
        let line = |field: &dyn Fn(&str) -> String| {
            let parts = self.parts.iter().map(|part| match part {
                Part::Text(text) => text.clone(),
                Part::Field(name) => field(name),
            });
            parts.chain(["\n".to_owned()]).collect::<String>()
        };
        let titles = self.has_titles.then(|| line(&|name| name.to_uppercase()));
        titles.into_iter().chain((0..rows).map(|row| line(&|name| value(row, name)))).collect()
    }
}

/// The escapes that a shell's word holds as two characters.
fn plain(text: &str) -> String {
    text.replace("\\t", "\t").replace("\\n", "\n")
}
