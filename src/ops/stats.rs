//! `bryo stats`: what running sandboxes use.
//!
//! # Theory of operation
//! Values come from the files of a sandbox's control group where it has one with the controller for it, and
//! otherwise from one pass over the host's `/proc` for all sandboxes together ([`host::processes`](crate::host::processes)
//! says how processes are told to be a sandbox's). Nothing is asked of a supervisor, and nothing of a payload: none can
//! answer late, or something else. Traffic is what the kernel counted on the interfaces of the network namespace
//! of the sandbox's init.
//!
//! Without a group it is a sum over processes that were there to be seen, and no more:
//! - processor time of those and of children they waited for; what a process did whose parent does not wait for it
//!   is gone with it;
//! - anonymous memory in their tables, pages that are shared after a fork counted for each; files they read are
//!   not counted;
//! - bytes of disks likewise, only of processes that may be looked into: it can become less.
//!
//! What cannot be had is none, and never 0.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::error::OpsError;
use super::sweep::sweep;
use super::template::Template;
use crate::host::processes::{InOut, Process, Processes};
use crate::limits::group::{self, Usage};
use crate::profile::value::ValueError;
use crate::report::amount::size;
use crate::report::table::Table;
use crate::spec::Text;
use crate::spec::text::pretty_json;
use crate::state::{Found, SandboxId, Stores, Summary};

/// What one sandbox uses. Bytes and counts; none is what could not be had.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Row {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: Option<String>,
    /// Processor time since the last look, as per cent of one processor; none at the first look.
    pub cpu_percent: Option<f64>,
    /// Microseconds of processor time.
    pub cpu_usec: Option<u64>,
    /// Memory.
    pub memory: Option<u64>,
    /// The most of it that it may have.
    pub memory_limit: Option<u64>,
    /// From disks.
    pub read: Option<u64>,
    /// To disks.
    pub written: Option<u64>,
    /// From its network.
    pub received: Option<u64>,
    /// To its network.
    pub sent: Option<u64>,
    /// Threads.
    pub tasks: Option<u64>,
    /// The most of them; none also where the limit is another than a group's.
    pub tasks_limit: Option<u64>,
    /// Which of `cpu`, `memory`, `io`, `tasks` its control group counts; others are sums over processes.
    pub of_group: Vec<&'static str>,
}

/// Looks again and again.
#[derive(Debug)]
pub struct Meter<'a> {
    stores: &'a Stores,
    /// All if none.
    wanted: Option<Vec<Found>>,
    last: BTreeMap<SandboxId, (Instant, u64)>,
}

impl<'a> Meter<'a> {
    /// At those that are named, which have to run, or at all that run whenever it looks.
    pub fn new(stores: &'a Stores, wanted: &[Text]) -> Result<Self, OpsError> {
        sweep(stores)?;
        let find = |name: &Text| {
            let found = stores.find(name.as_bytes())?;
            if found.is_running()? {
                Ok(found)
            } else {
                Err(OpsError::NotRunning { verb: "measure", id: found.id() })
            }
        };
        let named = wanted.iter().map(find).collect::<Result<Vec<_>, OpsError>>()?;
        let wanted = (!named.is_empty()).then_some(named);
        Ok(Self { stores, wanted, last: BTreeMap::new() })
    }

    /// Whether all that were named have ended.
    pub fn is_over(&self, rows: &[Row]) -> bool {
        self.wanted.is_some() && rows.is_empty()
    }

    /// What is used now; one that ended meanwhile is left out. Newest first, or as they were named.
    pub fn measure(&mut self) -> Result<Vec<Row>, OpsError> {
        let all = match &self.wanted {
            Some(named) => named.clone(),
            None => self.stores.list()?,
        };
        let mut running: Vec<(Found, Summary, i32)> = all.into_iter().filter_map(known).collect();
        if self.wanted.is_none() {
            running.sort_by_key(|(found, summary, _)| {
                (std::cmp::Reverse(summary.created), found.id())
            });
        }
        let mut names = self.stores.names()?;
        let processes = Processes::look()?;
        let now = Instant::now();
        let launchers: Vec<i32> = running.iter().map(|(_, _, launcher)| *launcher).collect();
        let inside = processes.inside(&launchers);
        let mut last = BTreeMap::new();
        let mut rows = Vec::new();
        for (found, summary, launcher) in &running {
            let members = inside.get(launcher).map_or(&[][..], Vec::as_slice);
            let mut row = row(summary, *launcher, members);
            row.id = found.id().to_string();
            row.name = names.remove(&found.id());
            if let Some(cpu) = row.cpu_usec {
                let before = self.last.get(&found.id());
                row.cpu_percent = before.map(|(when, used)| percent(cpu, *used, now - *when));
                last.insert(found.id(), (now, cpu));
            }
            rows.push(row);
        }
        self.last = last;
        Ok(rows)
    }
}

/// One that runs, and whose launcher is seen from here or was: without it there is only the group to be read.
fn known(found: Found) -> Option<(Found, Summary, i32)> {
    if !found.is_running().ok()? {
        return None;
    }
    let summary = found.summary().ok()??;
    let launcher = found.launcher().map_or(0, |(pid, _)| pid.as_raw_nonzero().get());
    Some((found, summary, launcher))
}

fn percent(now: u64, before: u64, time: Duration) -> f64 {
    // What is summed over processes can become less when one of them ends.
    let used = Duration::from_micros(now.saturating_sub(before));
    if time.is_zero() { 0.0 } else { used.as_secs_f64() / time.as_secs_f64() * 100.0 }
}

fn row(summary: &Summary, launcher: i32, members: &[&Process]) -> Row {
    let usage = summary.cgroup.as_ref().map_or_else(Usage::default, group::usage);
    let mut of_group = Vec::new();
    let mut known = |is: bool, name: &'static str| of_group.extend(is.then_some(name));
    known(usage.cpu.is_some(), "cpu");
    known(usage.memory.is_some(), "memory");
    known(usage.io.is_some(), "io");
    known(usage.tasks.is_some(), "tasks");
    // No init, no sandbox that could be summed up.
    let init = members.iter().find(|one| Processes::is_init(launcher, one));
    let summed = |sum: &dyn Fn() -> u64| init.map(|_| sum());
    let total =
        |of: fn(&Process) -> u64| members.iter().map(|one| of(one)).fold(0, u64::saturating_add);
    let disk = usage.io.or_else(|| sum_of_disks(members));
    let own_network = {
        let network = &summary.wanted.network;
        network.is_new() && network.reaches_out()
    };
    let traffic = init.filter(|_| own_network).and_then(|init| init.traffic());
    Row {
        id: String::new(),
        name: None,
        cpu_percent: None,
        cpu_usec: usage.cpu.or_else(|| summed(&|| processor_time(members))),
        memory: usage.memory.or_else(|| summed(&|| total(|one| one.memory))),
        memory_limit: usage.memory_limit,
        read: disk.map(|(read, _)| read),
        written: disk.map(|(_, written)| written),
        received: traffic.map(|traffic| traffic.read),
        sent: traffic.map(|traffic| traffic.written),
        tasks: usage.tasks.or_else(|| summed(&|| total(|one| one.threads))),
        tasks_limit: usage.tasks_limit,
        of_group,
    }
}

fn processor_time(members: &[&Process]) -> u64 {
    let ticks = members.iter().filter_map(|one| one.ticks());
    let ticks = ticks.fold(0_u64, |sum, one| sum.saturating_add(one.own + one.children));
    ticks.saturating_mul(1_000_000) / rustix::param::clock_ticks_per_second().max(1)
}

/// None where none of them may be looked into.
fn sum_of_disks(members: &[&Process]) -> Option<(u64, u64)> {
    let all = members.iter().filter_map(|one| one.disk());
    let add = |sum: InOut, one: InOut| InOut {
        read: sum.read.saturating_add(one.read),
        written: sum.written.saturating_add(one.written),
    };
    all.reduce(add).map(|sum| (sum.read, sum.written))
}

/// As JSON, for programs.
pub fn json(rows: &[Row]) -> Result<Vec<u8>, OpsError> {
    pretty_json(&rows).map(String::into_bytes).map_err(OpsError::Json)
}

/// As JSON, in one line: one look of several.
pub fn json_line(rows: &[Row]) -> Result<String, OpsError> {
    serde_json::to_string(rows).map_err(OpsError::Json)
}

fn or_dash(value: Option<u64>) -> String {
    value.map_or_else(|| "-".to_owned(), size)
}

fn count(value: Option<u64>) -> String {
    value.map_or_else(|| "-".to_owned(), |number| number.to_string())
}

fn percent_text(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |percent| format!("{percent:.1}%"))
}

/// As a table for people, in the order of what one looks for: a screen may have too few columns for all of it.
pub fn table(rows: &[Row], screen: Option<usize>) -> String {
    let mut table = Table::new([
        "ID", "NAME", "CPU", "MEMORY", "LIMIT", "TASKS", "RECEIVED", "SENT", "READ", "WRITTEN",
    ]);
    for row in rows {
        table.row([
            row.id.clone(),
            row.name.clone().unwrap_or_else(|| "-".to_owned()),
            percent_text(row.cpu_percent),
            or_dash(row.memory),
            or_dash(row.memory_limit),
            count(row.tasks),
            or_dash(row.received),
            or_dash(row.sent),
            or_dash(row.read),
            or_dash(row.written),
        ]);
    }
    if let Some(screen) = screen {
        table.fit(screen, &["WRITTEN", "READ", "SENT", "RECEIVED", "LIMIT"]);
    }
    table.to_string()
}

/// Docker's fields.
const FIELDS: &[&str] =
    &["ID", "Container", "Name", "CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs"];

/// `{{.Name}}: {{.CPUPerc}}`, with `table ` before it for titles.
pub fn parse_format(text: &str) -> Result<Template, ValueError> {
    Template::parse(text, FIELDS)
}

/// One line for each row.
pub fn formatted(rows: &[Row], format: &Template) -> String {
    let pair = |one, other| format!("{} / {}", or_dash(one), or_dash(other));
    let value = |row: &Row, field: &str| match field {
        "ID" | "Container" => row.id.clone(),
        "Name" => row.name.clone().unwrap_or_else(|| row.id.clone()),
        "CPUPerc" => percent_text(row.cpu_percent),
        "MemUsage" => pair(row.memory, row.memory_limit),
        "MemPerc" => percent_text(part(row.memory, row.memory_limit)),
        "NetIO" => pair(row.received, row.sent),
        "BlockIO" => pair(row.read, row.written),
        _ => count(row.tasks),
    };
    let of = |row: usize, field: &str| rows.get(row).map(|row| value(row, field));
    format.render(rows.len(), &|row, field| of(row, field).unwrap_or_default())
}

#[expect(clippy::cast_precision_loss, reason = "a per cent for people")]
fn part(of: Option<u64>, all: Option<u64>) -> Option<f64> {
    Some(of? as f64 * 100.0 / all.filter(|all| *all > 0)? as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Row> {
        vec![
            Row {
                id: "0123456789ab".to_owned(),
                name: Some("web".to_owned()),
                cpu_percent: Some(12.34),
                memory: Some(3 << 20),
                memory_limit: Some(6 << 20),
                tasks: Some(7),
                received: Some(1536),
                sent: Some(0),
                ..Row::default()
            },
            Row { id: "abcdef012345".to_owned(), ..Row::default() },
        ]
    }

    #[test]
    fn what_could_not_be_had_is_a_dash_and_what_is_nothing_is_0() {
        let expected = "\
ID            NAME  CPU    MEMORY   LIMIT    TASKS  RECEIVED  SENT  READ  WRITTEN
0123456789ab  web   12.3%  3.0 MiB  6.0 MiB  7      1.5 KiB   0 B   -     -
abcdef012345  -     -      -        -        -      -         -     -     -
";
        assert_eq!(table(&rows(), None), expected);
        let narrow = "\
ID            NAME  CPU    MEMORY   TASKS
0123456789ab  web   12.3%  3.0 MiB  7
abcdef012345  -     -      -        -
";
        assert_eq!(table(&rows(), Some(42)), narrow);
        let format = parse_format("{{.Name}} {{.CPUPerc}} {{.MemUsage}} {{.MemPerc}} {{.NetIO}}");
        let expected =
            "web 12.3% 3.0 MiB / 6.0 MiB 50.0% 1.5 KiB / 0 B\nabcdef012345 - - / - - - / -\n";
        assert_eq!(formatted(&rows(), &format.unwrap()), expected);
        assert!(parse_format("{{.Cpu}}").is_err());
        let json: serde_json::Value = serde_json::from_slice(&json(&rows()).unwrap()).unwrap();
        assert_eq!(json[0]["tasks"], 7);
        assert_eq!(json[1]["memory"], serde_json::Value::Null);
    }

    #[test]
    fn less_than_before_is_nothing() {
        assert!((percent(1_500_000, 1_000_000, Duration::from_secs(1)) - 50.0).abs() < 1e-9);
        assert!(percent(1, 1_000_000, Duration::from_secs(1)).abs() < 1e-9);
        assert!(percent(1, 0, Duration::ZERO).abs() < 1e-9);
    }
}
