//! What is known of a sandbox under the names that Docker has for it, for templates: `{{.State.Status}}`.
//!
//! # Decisions
//! - Only fields that mean here what they mean for Docker. Where a sandbox has nothing of the kind they have the value
//!   that Docker writes then, so that a template need not ask first: 0 for no limit, `none` for no health, the
//!   year 1 for an end that has not come.
//! - They are made when somebody asks for one, and are in no record: that has the same things under our own names.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::host::processes::Processes;
use crate::ops::error::OpsError;
use crate::ops::ps::{self, PsRow, PsState};
use crate::spec::text::pretty_json;
use crate::spec::{Restart, Text, group};
use crate::state::health::Status;
use crate::state::{Exit, Found, Record};

/// Docker's time of what has not happened.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// The names that begin what is here.
const FIRST: &[&str] = &["State", "Config", "HostConfig", "Path", "Args"];

/// Whether a path into what is known begins with a name of Docker's.
pub(super) fn has(path: &str) -> bool {
    let first = path.split('.').find(|name| !name.is_empty()).unwrap_or_default();
    FIRST.iter().any(|name| name.eq_ignore_ascii_case(first))
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Docker<'a> {
    state: State,
    path: Option<&'a Text>,
    args: &'a [Text],
    config: Config<'a>,
    host_config: HostConfig,
}

#[expect(clippy::struct_excessive_bools, reason = "Docker's form")]
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct State {
    status: &'static str,
    running: bool,
    paused: bool,
    restarting: bool,
    #[serde(rename = "OOMKilled")]
    oom_killed: bool,
    dead: bool,
    pid: i32,
    exit_code: u8,
    started_at: String,
    finished_at: String,
    health: Health,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Health {
    status: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Config<'a> {
    cmd: &'a [Text],
    hostname: Option<&'a str>,
    labels: &'a BTreeMap<String, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct HostConfig {
    network_mode: String,
    restart_policy: RestartPolicy,
    memory: u64,
    nano_cpus: u64,
    pids_limit: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct RestartPolicy {
    name: &'static str,
    maximum_retry_count: u32,
}

/// As indented JSON.
pub(super) fn json(found: &Found, record: &Record) -> Result<String, OpsError> {
    let row = ps::look(found)?;
    let spec = &record.spec;
    let mut argv = spec.command.argv.iter();
    let of_group = |bound: &Option<group::Bound<u64>>| bound.as_ref().map_or(0, |bound| bound.at);
    let docker = Docker {
        state: state(row.as_ref(), record, init(found)),
        path: argv.next(),
        args: argv.as_slice(),
        config: Config {
            cmd: &spec.command.argv,
            hostname: spec.hostname.as_deref(),
            labels: &spec.lifetime.labels,
        },
        host_config: HostConfig {
            network_mode: spec.network.called(),
            restart_policy: restart_policy(spec.lifetime.restart),
            memory: of_group(&spec.limits.group.memory),
            // Microseconds in a period of 100,000.
            nano_cpus: of_group(&spec.limits.group.cpu_time).saturating_mul(10_000),
            pids_limit: spec.limits.processes.unwrap_or_default(),
        },
    };
    pretty_json(&docker).map_err(OpsError::Json)
}

fn state(row: Option<&PsRow>, record: &Record, pid: i32) -> State {
    let state = row.map_or(PsState::Killed, |row| row.state);
    let alive = state.is_alive();
    let health = row.and_then(|row| row.health).or(record.health.as_ref().map(|one| one.status));
    State {
        status: ps::state_word(state),
        running: alive,
        paused: state == PsState::Paused,
        restarting: state == PsState::Restarting,
        oom_killed: matches!(state, PsState::Exited(Exit::OutOfMemory)),
        dead: ps::state_word(state) == "died",
        pid: if alive { pid } else { 0 },
        exit_code: record.outcome.status().unwrap_or_default(),
        started_at: record.continued.unwrap_or(record.created).to_string(),
        finished_at: record.outcome.ended().map_or(NEVER.to_owned(), |ended| ended.to_string()),
        health: Health { status: health.map_or("none", Status::word) },
    }
}

/// The number here of the sandbox's first process; 0 where there is none.
fn init(found: &Found) -> i32 {
    let Ok((launcher, _)) = found.launcher() else { return 0 };
    let launcher = launcher.as_raw_nonzero().get();
    let Ok(seen) = Processes::look() else { return 0 };
    let inside = seen.inside(&[launcher]);
    let members = inside.get(&launcher).map_or(&[][..], Vec::as_slice);
    members.iter().find(|one| Processes::is_init(launcher, one)).map_or(0, |one| one.pid)
}

fn restart_policy(restart: Restart) -> RestartPolicy {
    let (name, most) = match restart {
        Restart::No => ("no", None),
        Restart::OnFailure { most } => ("on-failure", most),
        Restart::Always => ("always", None),
        Restart::UnlessStopped => ("unless-stopped", None),
    };
    RestartPolicy { name, maximum_retry_count: most.unwrap_or_default() }
}
