//! Which sandboxes `bryo ps` lists: `--filter`.

use super::{PsRow, PsState, Scope};
use crate::ops::filter::{Key, words};
use crate::ops::port::PortOf;
use crate::profile::value::{ValueError, parse_whole};
use crate::state::Exit;
use crate::state::health::Status;

/// One condition. Of one kind one has to hold, of different kinds all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filter {
    /// `status=WORD`
    Status(&'static str),
    /// `name=PART`, with `^` before it for the beginning of the name, and `$` behind it for its end.
    Name(String),
    /// `id=BEGINNING`
    Id(String),
    /// `exited=CODE`
    Exited(u64),
    /// `health=WORD`; none for those that are not asked.
    Health(Option<Status>),
    /// `publish=PORT[/tcp|udp]`, of this machine
    Publish(PortOf),
    /// `network=WORD`
    Network(String),
    /// `label=NAME[=VALUE]`
    Label(String, Option<String>),
}

/// What `bryo ps --filter` takes.
pub const FILTERS: [Key; 8] = [
    ("status", STATES),
    ("health", HEALTH),
    ("name", &[]),
    ("id", &[]),
    ("exited", &[]),
    ("label", &[]),
    ("publish", &[]),
    ("network", &[]),
];

const KEYS: [&str; 8] = words(&FILTERS);

/// Docker's `created` is none of ours.
const STATES: &[&str] = &["running", "paused", "restarting", "exited", "died"];

const HEALTH: &[&str] = &["starting", "healthy", "unhealthy", "none"];

impl Filter {
    /// `KEY=VALUE`.
    pub fn parse(text: &str) -> Result<Self, ValueError> {
        let (key, value) = text.split_once('=').unwrap_or((text, ""));
        match key {
            "status" => {
                let state = if value == "dead" { "died" } else { value };
                let known = STATES.iter().find(|known| **known == state);
                known
                    .map(|known| Self::Status(known))
                    .ok_or_else(|| ValueError::unknown(value, STATES))
            }
            _ if value.is_empty() && KEYS.contains(&key) => Err(ValueError::Empty),
            "name" => Ok(Self::Name(value.to_owned())),
            "id" => Ok(Self::Id(value.to_owned())),
            "exited" => parse_whole(value).map(Self::Exited),
            "health" => match Status::ALL.iter().find(|(word, _)| *word == value) {
                Some((_, status)) => Ok(Self::Health(Some(*status))),
                None if value == "none" => Ok(Self::Health(None)),
                None => Err(ValueError::unknown(value, HEALTH)),
            },
            "publish" => PortOf::parse(value).map(Self::Publish).ok_or(ValueError::NotANumber),
            "network" => Ok(Self::Network(value.to_owned())),
            "label" => Ok(match value.split_once('=') {
                Some((name, value)) => Self::Label(name.to_owned(), Some(value.to_owned())),
                None => Self::Label(value.to_owned(), None),
            }),
            other => Err(ValueError::unknown(other, &KEYS)),
        }
    }

    fn kind(&self) -> usize {
        match self {
            Self::Status(_) => 0,
            Self::Name(_) => 1,
            Self::Id(_) => 2,
            Self::Exited(_) => 3,
            // Each label is a kind of its own, as with Docker.
            Self::Label(..) => 4,
            Self::Health(_) => 5,
            Self::Publish(_) => 6,
            Self::Network(_) => 7,
        }
    }

    fn fits(&self, row: &PsRow) -> bool {
        match self {
            Self::Status(state) => state_word(row.state) == *state,
            Self::Name(part) => row.name.as_ref().is_some_and(|name| has_part(name, part)),
            Self::Id(beginning) => row.id.as_str().starts_with(beginning),
            Self::Exited(code) => {
                matches!(row.state, PsState::Exited(exit) if u64::from(exit.status()) == *code)
            }
            Self::Health(health) => row.health == *health,
            Self::Publish(PortOf { port, transport }) => {
                row.ports.iter().any(|one| one.at.port() == *port && one.transport == *transport)
            }
            Self::Network(network) => row.networks.contains(network),
            Self::Label(name, value) => row
                .labels
                .get(name)
                .is_some_and(|label| value.as_ref().is_none_or(|value| value == label)),
        }
    }
}

/// No name has a `^` or a `$`, nor the `/` that Docker's begin with.
fn has_part(name: &str, part: &str) -> bool {
    let (begins, part) = part.strip_prefix('^').map_or((false, part), |part| (true, part));
    let part = part.strip_prefix('/').unwrap_or(part);
    match (begins, part.strip_suffix('$')) {
        (true, Some(all)) => name == all,
        (true, None) => name.starts_with(part),
        (false, Some(end)) => name.ends_with(end),
        (false, None) => name.contains(part),
    }
}

/// The word that a filter knows a state by.
pub(in crate::ops) fn state_word(state: PsState) -> &'static str {
    match state {
        PsState::Running => "running",
        PsState::Paused => "paused",
        PsState::Restarting => "restarting",
        PsState::Exited(Exit::Lost | Exit::ServerLost) | PsState::Killed => "died",
        PsState::Exited(_) => "exited",
        PsState::Unreadable => "unreadable",
    }
}

/// Whether a row is wanted.
pub(super) fn is_wanted(row: &PsRow, filters: &[Filter]) -> bool {
    filters.iter().all(|filter| {
        let alternatives = || filters.iter().filter(|other| other.kind() == filter.kind());
        match filter {
            Filter::Label(..) => filter.fits(row),
            _ => alternatives().any(|other| other.fits(row)),
        }
    })
}

/// Who asks for what ended sees it, with or without `--all`, as with Docker.
pub(super) fn scope(asked: Scope, filters: &[Filter]) -> Scope {
    let ended =
        |filter: &Filter| matches!(filter, Filter::Status("exited" | "died") | Filter::Exited(_));
    if filters.iter().any(ended) { Scope::All } else { asked }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::publish::PublishedPort;
    use crate::spec::net::Transport;
    use crate::state::SandboxId;

    fn row(state: PsState, name: &str) -> PsRow {
        let labels = [("a".to_owned(), "1".to_owned())].into();
        let id = SandboxId::parse(b"0123456789ab").unwrap();
        let port = PublishedPort {
            port: 80,
            transport: Transport::Tcp,
            at: "127.0.0.1:8080".parse().unwrap(),
        };
        let (ports, networks) = (vec![port], vec!["user".to_owned(), "lab".to_owned()]);
        PsRow { labels, ports, networks, name: Some(name.to_owned()), ..PsRow::unknown(id, state) }
    }

    #[test]
    fn every_key_and_word_of_the_list_is_read() {
        assert_eq!(crate::ops::filter::unread(&FILTERS, Filter::parse), [""; 0]);
    }

    #[test]
    fn conditions_of_one_kind_are_alternatives_and_kinds_add_up() {
        let filters = |texts: &[&str]| -> Vec<Filter> {
            texts.iter().map(|text| Filter::parse(text).unwrap()).collect()
        };
        let exited = row(PsState::Exited(Exit::Code(3)), "web-1");
        for (texts, wanted) in [
            (&["status=exited"][..], true),
            (&["status=running", "status=exited"], true),
            (&["status=running"], false),
            (&["name=web", "exited=3", "label=a", "label=a=1", "id=0123"], true),
            (&["name=web", "exited=4"], false),
            (&["name=db", "name=eb-"], true),
            (&["name=^web-1$"], true),
            (&["name=^/web-1$"], true),
            (&["name=^web"], true),
            (&["name=1$"], true),
            (&["name=^web$"], false),
            (&["name=^eb-1"], false),
            (&["label=a", "label=b"], false),
            (&["label=a=2"], false),
            (&["health=healthy"], false),
            (&["publish=8080"], true),
            (&["publish=8080/udp"], false),
            (&["publish=80"], false),
            (&["network=user", "network=host"], true),
            (&["network=lab"], true),
            (&["network=none"], false),
            (&["health=none"], true),
            (&["health=none", "health=healthy"], true),
        ] {
            assert_eq!(is_wanted(&exited, &filters(texts)), wanted, "{texts:?}");
        }
        assert!(is_wanted(&row(PsState::Killed, "x"), &filters(&["status=dead"])));
        assert_eq!(scope(Scope::Running, &filters(&["exited=0"])), Scope::All);
        assert_eq!(scope(Scope::Running, &filters(&["name=x"])), Scope::Running);
        for bad in [
            "",
            "status",
            "status=sleeping",
            "health=well",
            "health=",
            "stat=running",
            "name=",
            "exited=x",
            "label=",
            "publish=",
            "publish=http",
            "network=",
        ] {
            assert!(Filter::parse(bad).is_err(), "{bad}");
        }
    }
}
