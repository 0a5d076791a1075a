//! `bryo events`: what happened to sandboxes, and what happens.

use std::io::Write;
use std::os::fd::AsFd;
use std::time::Duration;

use super::error::OpsError;
use super::filter::{Key, words};
use super::stores::Here;
use super::template::Template;
use crate::profile::value::ValueError;
use crate::spec::order;
use crate::spec::text::{escape, escape_json};
use crate::state::events::{Event, Events, What};
use crate::state::{SandboxId, Stores, Timestamp};
use crate::sys::event::Poller;

/// How often to look whether there is a new store.
const LOOK: Duration = Duration::from_millis(500);

/// Which events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Part {
    /// Those of this time or later; only new ones if none.
    pub since: Option<Timestamp>,
    /// Those before this time; then there is an end.
    pub until: Option<Timestamp>,
    /// Of these kinds; all if empty.
    pub kinds: Vec<What>,
    /// Of these sandboxes, by name or by the beginning of an id; all if empty.
    pub sandboxes: Vec<String>,
}

/// How they are shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Form {
    /// For people.
    Text,
    /// As a template has it.
    Template(Template),
    /// One JSON object per line.
    Json,
}

/// What `bryo events --filter` takes.
pub const FILTERS: [Key; 2] = [("event", &WORDS), ("sandbox", &[])];

const KEYS: [&str; 2] = words(&FILTERS);

/// The words of events.
const WORDS: [&str; What::ALL.len()] = words(What::ALL);

/// `event=WORD` or `sandbox=NAME`.
pub fn read_filter(text: &str, part: &mut Part) -> Result<(), ValueError> {
    match text.split_once('=').unwrap_or((text, "")) {
        ("event", word) => {
            let known = What::ALL.iter().find(|(other, _)| *other == word);
            part.kinds.push(known.ok_or_else(|| ValueError::unknown(word, &WORDS))?.1);
        }
        ("sandbox" | "container", name) if !name.is_empty() => part.sandboxes.push(name.to_owned()),
        ("sandbox" | "container", _) => return Err(ValueError::Empty),
        (other, _) => return Err(ValueError::unknown(other, &KEYS)),
    }
    Ok(())
}

impl Part {
    fn has(&self, event: &Event) -> bool {
        let is =
            |sandbox: &String| event.name.as_ref() == Some(sandbox) || starts(event.id, sandbox);
        (self.kinds.is_empty() || self.kinds.contains(&event.event))
            && (self.sandboxes.is_empty() || self.sandboxes.iter().any(is))
            && self.since.is_none_or(|since| event.time >= since)
            && self.until.is_none_or(|until| event.time < until)
    }
}

fn starts(id: SandboxId, beginning: &str) -> bool {
    !beginning.is_empty() && id.as_str().starts_with(beginning)
}

/// Writes the events of a part to `out`, and new ones as they come until its end.
pub fn events(part: &Part, form: &Form, out: &mut dyn Write) -> Result<(), OpsError> {
    let mut all = Vec::new();
    let part = Part { since: Some(part.since.unwrap_or_else(Timestamp::now)), ..part.clone() };
    loop {
        // The first sandbox makes a store.
        watch_new(&Here::look()?.stores, &mut all)?;
        let over = part.until.is_some_and(|until| until <= Timestamp::now());
        let mut found = Vec::new();
        for events in &mut all {
            while let Some(event) = events.next_event()? {
                found.extend(Some(event).filter(|event| part.has(event)));
            }
        }
        order::sort_by_key(&mut found, |event| event.time);
        for event in &found {
            writeln!(out, "{}", line(event, form)?).map_err(OpsError::Write)?;
        }
        out.flush().map_err(OpsError::Write)?;
        if over {
            return Ok(());
        }
        wait(&mut all, part.until)?;
    }
}

/// Watches the stores that were not there before.
fn watch_new(stores: &Stores, all: &mut Vec<Events>) -> Result<(), OpsError> {
    for store in stores.iter() {
        if !all.iter().any(|events| events.store() == store.path()) {
            let mut events = store.events();
            events.watch()?;
            all.push(events);
        }
    }
    Ok(())
}

fn wait(all: &mut [Events], until: Option<Timestamp>) -> Result<(), OpsError> {
    let mut poller = Poller::new();
    for events in all {
        if let Some(changes) = events.watch()? {
            poller.readable((), changes.as_fd());
        }
    }
    let left = until.map(|until| until.since(Timestamp::now()));
    poller.wait(Some(left.map_or(LOOK, |left| left.min(LOOK)))).map(drop).map_err(OpsError::Poll)
}

fn line(event: &Event, form: &Form) -> Result<String, OpsError> {
    if let Form::Template(template) = form {
        let line = template.render(1, &|_, field| value(event, field));
        return Ok(line.trim_end_matches('\n').to_owned());
    }
    if *form == Form::Json {
        let text = serde_json::to_string(event).map_err(OpsError::Json)?;
        return Ok(escape_json(&text));
    }
    let name = event.name.iter().map(|name| format!("name={}", escape(name)));
    let all: Vec<String> = name.chain(details(event)).collect();
    let more = if all.is_empty() { String::new() } else { format!(" ({})", all.join(", ")) };
    Ok(format!("{} {} {}{more}", event.time, action(event), event.id))
}

fn details(event: &Event) -> impl Iterator<Item = String> {
    event.details.iter().map(|(key, value)| format!("{}={}", escape(key), escape(value)))
}

/// The word, with what Docker has in it.
fn action(event: &Event) -> String {
    let word = event.event.word();
    match event.details.get("health").filter(|_| event.event == What::HealthStatus) {
        Some(health) => format!("{word}: {}", escape(health)),
        None => word.to_owned(),
    }
}

/// `{{.Time}} {{.Action}} {{.ID}}`; titles would stand among what comes later.
pub fn parse_format(text: &str) -> Result<Form, ValueError> {
    match text {
        "json" => Ok(Form::Json),
        _ if text.starts_with("table") => Err(ValueError::NotATemplate),
        text => Template::parse(text, FIELDS).map(Form::Template),
    }
}

const FIELDS: &[&str] = &["Time", "Action", "Status", "ID", "Name", "Details"];

fn value(event: &Event, field: &str) -> String {
    match field {
        "Time" => event.time.to_string(),
        "Action" | "Status" => action(event),
        "ID" => event.id.to_string(),
        "Name" => event.name.as_ref().map(escape).unwrap_or_default(),
        _ => details(event).collect::<Vec<_>>().join(","),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_and_word_of_the_list_is_read() {
        let read = |text: &str| read_filter(text, &mut Part::default());
        assert_eq!(crate::ops::filter::unread(&FILTERS, read), [""; 0]);
    }

    #[test]
    fn an_event_is_a_line_and_filters_choose() {
        let event = Event {
            time: Timestamp::from_nanoseconds(0),
            event: What::Die,
            id: SandboxId::parse(b"0123456789ab").unwrap(),
            name: Some("web".to_owned()),
            details: [("exit".to_owned(), "3".to_owned())].into(),
        };
        let text = line(&event, &Form::Text).unwrap();
        assert_eq!(text, "1970-01-01T00:00:00.000000000Z die 0123456789ab (name=web, exit=3)");
        let json = line(&event, &Form::Json).unwrap();
        assert_eq!(serde_json::from_str::<Event>(&json).unwrap(), event);
        let form = parse_format("{{.Action}}/{{.Name}}/{{.Details}}").unwrap();
        assert_eq!(line(&event, &form).unwrap(), "die/web/exit=3");
        let ill = [("health".to_owned(), "unhealthy".to_owned())].into();
        let event_of = Event { event: What::HealthStatus, details: ill, ..event.clone() };
        let text = line(&event_of, &Form::Text).unwrap();
        assert!(
            text.contains("Z health_status: unhealthy 0123456789ab (name=web, health="),
            "{text}"
        );
        assert_eq!(serde_json::to_value(&event_of).unwrap()["event"], "health_status");
        // Whatever can be told can be chosen.
        for (word, _) in What::ALL {
            read_filter(&format!("event={word}"), &mut Part::default()).unwrap();
            assert!(WORDS.contains(word), "{word}");
        }
        assert_eq!(WORDS.len(), What::ALL.len());
        for bad in ["table {{.ID}}", "{{.Id}}", "{{"] {
            assert!(parse_format(bad).is_err(), "{bad}");
        }
        for (filters, has) in [
            (&["event=die", "event=start"][..], true),
            (&["event=start"], false),
            (&["sandbox=web"], true),
            (&["container=0123"], true),
            (&["sandbox=we"], false),
        ] {
            let mut part = Part::default();
            for filter in filters {
                read_filter(filter, &mut part).unwrap();
            }
            assert_eq!(part.has(&event), has, "{filters:?}");
        }
        for bad in ["", "event", "event=x", "sandbox=", "name=web"] {
            assert!(read_filter(bad, &mut Part::default()).is_err(), "{bad}");
        }
    }
}
