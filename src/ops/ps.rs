//! `bryo ps`: which sandboxes there are.

mod choose;
mod template;

use std::collections::BTreeMap;

use serde::Serialize;

use super::error::OpsError;
use super::measure::complete;
use super::network::Memberships;
use super::sweep::sweep;
use crate::limits::group::is_frozen;
use crate::plan::publish::PublishedPort;
use crate::report::amount::{duration, size};
use crate::report::quote::shell_command;
use crate::report::table::Table;
use crate::spec::order;
use crate::spec::text::pretty_json;
use crate::spec::{HostPath, Network, Text};
use crate::state::health::Status;
use crate::state::record::ChangeCounts;
use crate::state::{Exit, Found, Outcome, SandboxId, StateError, Stores, Summary, Timestamp};

pub use super::template::Template;
pub(super) use choose::state_word;
pub use choose::{FILTERS, Filter};
pub use template::{formatted, json_lines, parse_format};

/// Which sandboxes are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Those that run.
    Running,
    /// Those that ended and left something, too.
    All,
}

/// One sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PsRow {
    /// Its id.
    pub id: SandboxId,
    /// Its name.
    pub name: Option<String>,
    /// What it does or how it ended.
    pub state: PsState,
    /// Whether it is well, where it is asked and runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<Status>,
    /// When it was made; none when its record cannot be read, as all that follows.
    pub created: Option<Timestamp>,
    /// When it was started last: again, restarted, or gone on with.
    pub started: Option<Timestamp>,
    /// The directory it was started from.
    pub from: Option<HostPath>,
    /// The profile's name.
    pub profile: Option<String>,
    /// Program and arguments.
    pub command: Vec<Text>,
    /// What its layers held at its end.
    pub changes: Option<ChangeCounts>,
    /// Bytes of the disk that they took then.
    pub size: Option<u64>,
    /// The network it was started with, in the word that chose it.
    pub network: Option<String>,
    /// The networks it is on now, or, when it has ended, would be on again.
    pub networks: Vec<String>,
    /// Ports of the host that are open for it; none once it ended.
    pub ports: Vec<PublishedPort>,
    /// When it ended, or was found to have been killed; none while it runs.
    pub ended: Option<Timestamp>,
    /// What was written on it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

impl PsRow {
    /// One of which nothing else is known.
    fn unknown(id: SandboxId, state: PsState) -> Self {
        Self {
            id,
            name: None,
            state,
            health: None,
            created: None,
            started: None,
            from: None,
            profile: None,
            command: Vec::new(),
            changes: None,
            size: None,
            network: None,
            networks: Vec::new(),
            ports: Vec::new(),
            ended: None,
            labels: BTreeMap::new(),
        }
    }
}

/// What a sandbox does or how it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PsState {
    /// It runs, or is about to.
    Running,
    /// It runs, and none of its processes does: `bryo pause`.
    Paused,
    /// Its supervisor is about to start it again.
    Restarting,
    /// The payload ended.
    Exited(Exit),
    /// The launcher was killed, or the machine stopped.
    #[serde(rename = "died")]
    Killed,
    /// It does not run and its record cannot be read.
    Unreadable,
}

impl PsState {
    /// Whether somebody watches over it.
    pub fn is_alive(self) -> bool {
        matches!(self, Self::Running | Self::Paused | Self::Restarting)
    }
}

/// Lists the sandboxes that are wanted, newest first.
pub fn choose(stores: &Stores, scope: Scope, filters: &[Filter]) -> Result<Vec<PsRow>, OpsError> {
    let mut rows = list(stores, choose::scope(scope, filters))?;
    rows.retain(|row| choose::is_wanted(row, filters));
    Ok(rows)
}

/// The name of each that is in one of these states, or else its id; nothing is put in order for that.
pub fn names(stores: &Stores, is_wanted: impl Fn(bool) -> bool) -> Result<String, OpsError> {
    let mut names = stores.names()?;
    let mut lines = String::new();
    for found in stores.list()? {
        if found.is_running().is_ok_and(&is_wanted) {
            lines += &names.remove(&found.id()).unwrap_or_else(|| found.id().to_string());
            lines.push('\n');
        }
    }
    Ok(lines)
}

/// Lists sandboxes, newest first.
pub fn list(stores: &Stores, scope: Scope) -> Result<Vec<PsRow>, OpsError> {
    sweep(stores)?;
    let mut rows = Vec::new();
    let mut names = stores.names()?;
    let mut on = Memberships::default();
    for found in stores.list()? {
        rows.extend(row(&found, scope, &mut on)?);
    }
    for row in &mut rows {
        row.name = names.remove(&row.id);
    }
    rows.retain(|row| scope == Scope::All || row.state.is_alive());
    order::sort_by_key(&mut rows, |row| (std::cmp::Reverse(row.created), row.id));
    Ok(rows)
}

/// What is to be said of one, without its name and ports; nothing if it is gone meanwhile.
pub(super) fn look(found: &Found) -> Result<Option<PsRow>, OpsError> {
    Ok(row(found, Scope::Running, &mut Memberships::default())?)
}

/// What is to be said of one; nothing if it is gone meanwhile.
fn row(found: &Found, scope: Scope, on: &mut Memberships) -> Result<Option<PsRow>, StateError> {
    let id = found.id();
    let unknown = |state| PsRow::unknown(id, state);
    let running = match found.is_running() {
        Err(error) if error.is_no_sandbox() => return Ok(Some(unknown(PsState::Unreadable))),
        other => other?,
    };
    match found.summary() {
        Ok(Some(summary)) => {
            let network = summary.wanted.network.clone();
            let mut row = known(found, summary, running, scope);
            if !row.ports.is_empty() && !on.has_ports(&network, id.as_str()) {
                row.ports.clear();
            }
            row.networks =
                if running { on.of(&network, id.as_str()) } else { next(found, &network) };
            Ok(Some(row))
        }
        Ok(None) if running => Ok(Some(unknown(PsState::Running))),
        Ok(None) if !found.is_there()? => Ok(None),
        Err(error)
            if !matches!(error, StateError::ParseRecord { .. }) && !error.is_no_sandbox() =>
        {
            Err(error)
        }
        Ok(None) | Err(_) => {
            Ok(Some(unknown(if running { PsState::Running } else { PsState::Unreadable })))
        }
    }
}

/// The networks of one that does not run, if it is started again.
fn next(found: &Found, network: &Network) -> Vec<String> {
    let joined = match network {
        Network::Bridge(_) => found.joined(),
        _ => Vec::new(),
    };
    let others = joined.into_iter().map(|one| one.network.to_string());
    std::iter::once(network.called()).chain(others).collect()
}

/// What its record says.
fn known(found: &Found, summary: Summary, running: bool, scope: Scope) -> PsRow {
    let restarts = !summary.wanted.lifetime.restart.is_no();
    let state = match summary.outcome {
        Outcome::Exited { .. } if running && restarts => PsState::Restarting,
        _ if running && summary.cgroup.as_ref().is_some_and(is_frozen) => PsState::Paused,
        _ if running => PsState::Running,
        Outcome::Exited { exit, .. } => PsState::Exited(exit),
        Outcome::Running | Outcome::Killed { .. } => PsState::Killed,
    };
    let (changes, size) = match (summary.changes, summary.size) {
        _ if running => (None, None),
        (Some(changes), Some(size)) => (Some(changes), Some(size)),
        (changes, size) if scope == Scope::Running => (changes, size),
        (changes, size) => {
            complete(found).map_or((changes, size), |(counts, size)| (Some(counts), size))
        }
    };
    let is_asked = state.is_alive() && summary.wanted.lifetime.health.is_some();
    // One that is being started has not written any.
    let health = is_asked.then(|| found.health().map_or(Status::Starting, |health| health.status));
    PsRow {
        id: found.id(),
        name: summary.name,
        state,
        health,
        created: Some(summary.created),
        started: Some(summary.continued.unwrap_or(summary.created)),
        from: summary.from,
        profile: Some(summary.wanted.profile),
        command: summary.wanted.command.argv,
        changes,
        size,
        network: Some(summary.wanted.network.called()),
        networks: Vec::new(),
        ports: if running { summary.published } else { Vec::new() },
        ended: summary.outcome.ended().filter(|_| !running),
        labels: summary.wanted.lifetime.labels,
    }
}

/// Characters of a command that are shown.
const COMMAND: usize = 48;

/// The moment that ages are counted to.
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// As JSON, for programs.
pub fn json(rows: &[PsRow]) -> Result<Vec<u8>, OpsError> {
    pretty_json(&rows).map(String::into_bytes).map_err(OpsError::Json)
}

/// Only the ids, one per line.
pub fn ids(rows: &[PsRow]) -> String {
    rows.iter().flat_map(|row| [row.id.to_string(), "\n".to_owned()]).collect()
}

/// What becomes of a command that is long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Long {
    /// It ends in `…`.
    Cut,
    /// It is shown to its end.
    Whole,
}

/// As a table for people; of so many columns, where they look at a screen.
pub fn table(rows: &[PsRow], now: Timestamp, screen: Option<usize>) -> String {
    let mut table = full_table(rows, now, Long::Cut);
    if let Some(screen) = screen {
        table.fit(screen, &["FROM", "SIZE", "CHANGES", "AGE", "PORTS"]);
    }
    table.to_string()
}

/// As [`table`], as wide as that is.
pub fn whole_table(rows: &[PsRow], now: Timestamp) -> String {
    full_table(rows, now, Long::Whole).to_string()
}

fn full_table(rows: &[PsRow], now: Timestamp, long: Long) -> Table {
    let mut table =
        Table::new(["ID", "NAME", "STATE", "AGE", "CHANGES", "SIZE", "PORTS", "FROM", "COMMAND"]);
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    for row in rows {
        let ports = Some(super::port::short(&row.ports)).filter(|ports| !ports.is_empty());
        table.row([
            row.id.to_string(),
            or_dash(row.name.clone()),
            status_text(row),
            or_dash(row.started.map(|started| duration(now.since(started)))),
            or_dash(row.changes.as_ref().map(changes_text)),
            or_dash(row.size.map(size)),
            or_dash(ports),
            or_dash(row.from.as_ref().map(HostPath::to_string)),
            command_text(&row.command, long),
        ]);
    }
    // Most have none, and the table is wide.
    table.leave_out_empty("PORTS");
    table
}

/// `3A 1C 0D`, and `+` where counting was given up.
fn changes_text(counts: &ChangeCounts) -> String {
    let more = if counts.at_least { "+" } else { "" };
    format!("{}A {}C {}D{more}", counts.added, counts.changed, counts.deleted)
}

/// With the health, in Docker's words.
fn status_text(row: &PsRow) -> String {
    let state = state_text(row.state);
    match row.health {
        None => state,
        Some(Status::Starting) => format!("{state} (health: starting)"),
        Some(status) => format!("{state} ({})", status.word()),
    }
}

pub(super) fn state_text(state: PsState) -> String {
    match state {
        PsState::Running => "running".to_owned(),
        PsState::Paused => "paused".to_owned(),
        PsState::Restarting => "restarting".to_owned(),
        PsState::Exited(Exit::Code(code)) => format!("exited {code}"),
        PsState::Exited(Exit::Signal(signal)) => format!("signal {signal}"),
        PsState::Exited(Exit::Timeout) => "timed out".to_owned(),
        PsState::Exited(Exit::NotStarted) => "not started".to_owned(),
        PsState::Exited(Exit::OutOfMemory) => "out of memory".to_owned(),
        PsState::Exited(Exit::NoSpace) => "no space".to_owned(),
        PsState::Exited(Exit::NetworkLost) => "no network".to_owned(),
        PsState::Exited(Exit::Lost | Exit::ServerLost) | PsState::Killed => "died".to_owned(),
        PsState::Unreadable => "unreadable".to_owned(),
    }
}

fn command_text(command: &[Text], long: Long) -> String {
    let line = shell_command(command.iter().map(Text::as_os_str));
    match line.char_indices().nth(COMMAND) {
        Some((end, _)) if long == Long::Cut => format!("{}…", &line[..end]),
        _ => line,
    }
}
