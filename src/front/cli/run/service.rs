//! `--sdnotify --listen-fds --cgroups`: a run that is a service of systemd.
//!
//! # Theory of operation
//! The flags say what may be taken from a service manager; what there is to take is in the variables that it
//! sets (`sd_notify(3)`, `sd_listen_fds(3)`, `sd_watchdog_enabled(3)`). Where it set none there is nothing to do:
//! the same line can be typed by hand. None of them is for the payload as it is: it gets its own.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use clap::{Arg, ArgMatches};

use crate::front::cli::error::CliError;
use crate::front::cli::flag::{choice, is_set, one_parsed, quoted, switch, value};
use crate::front::cli::surroundings::Surroundings;
use crate::spec::service::{self, NOTIFY_SOCKET, Notify, Speaker, VARIABLES};
use crate::spec::{EnvironmentVariable, Service, Spec, Text, order};

pub(super) const HEADING: &str = "As a service of systemd";

/// So many sockets at most.
const MOST_SOCKETS: u32 = 256;

/// Flags that are for who is started by systemd itself.
pub(in crate::front::cli) const IDS: [&str; 3] = ["sdnotify", "listen-fds", "cgroups"];

pub(in crate::front::cli) fn flags() -> Vec<Arg> {
    vec![
        value(
            "sdnotify",
            "WHO",
            "Tell systemd that it is ready, and well: bryo, once it runs; payload, when that says so; ignore",
        ),
        switch("listen-fds", "Pass on the sockets that systemd listens at (LISTEN_FDS)"),
        value(
            "cgroups",
            "split",
            "Limits within the group that bryo is started in, which has Delegate=yes",
        ),
    ]
}

pub(super) fn apply(
    matches: &ArgMatches,
    spec: &mut Spec,
    caller: &Surroundings,
) -> Result<(), CliError> {
    let service = asked(matches, caller)?;
    dress(spec, service, caller);
    Ok(())
}

/// What the flags ask for and the variables give; none where it is nothing.
pub(in crate::front::cli) fn asked(
    matches: &ArgMatches,
    caller: &Surroundings,
) -> Result<Option<Service>, CliError> {
    const SPEAKERS: &[Option<Speaker>] = &[Some(Speaker::Bryo), Some(Speaker::Payload), None];
    let speaker = choice(&["bryo", "payload", "ignore"], SPEAKERS);
    let speaker = one_parsed(matches, "sdnotify", "--sdnotify", speaker)?.flatten();
    let split = choice(&["split"], &[()]);
    let delegated = one_parsed(matches, "cgroups", "--cgroups", split)?.is_some();
    let notify = speaker.map(|speaker| notify(speaker, caller)).transpose()?.flatten();
    let sockets = if is_set(matches, "listen-fds") { sockets(caller)? } else { 0 };
    let service = Service { notify, sockets, delegated };
    Ok((service != Service::default()).then_some(service))
}

fn notify(speaker: Speaker, caller: &Surroundings) -> Result<Option<Notify>, CliError> {
    let Some(socket) = caller.variable("NOTIFY_SOCKET") else { return Ok(None) };
    if !matches!(socket.as_bytes(), [b'/' | b'@', _, ..]) {
        return Err(CliError::Unusable {
            flag: "NOTIFY_SOCKET",
            value: quoted(socket),
            why: "it is no path, and no name of an abstract socket",
            instead: "systemd sets it for a service with `Type=notify`",
        });
    }
    let often = number(caller, "WATCHDOG_USEC").filter(|often| *often > 1);
    let watchdog = often.filter(|_| is_meant(caller, "WATCHDOG_PID", true));
    let watchdog = watchdog.map(Duration::from_micros);
    Ok(Some(Notify { socket: Text::from(socket), speaker, watchdog }))
}

fn sockets(caller: &Surroundings) -> Result<u32, CliError> {
    let Some(count) =
        number(caller, "LISTEN_FDS").filter(|_| is_meant(caller, "LISTEN_PID", false))
    else {
        return Ok(0);
    };
    let count = u32::try_from(count).ok().filter(|count| *count <= MOST_SOCKETS);
    count.ok_or_else(|| CliError::Unusable {
        flag: "LISTEN_FDS",
        value: quoted(caller.variable("LISTEN_FDS").unwrap_or_default()),
        why: "it is more than 256",
        instead: "have systemd listen at fewer sockets",
    })
}

fn number(caller: &Surroundings, name: &str) -> Option<u64> {
    caller.variable(name).and_then(OsStr::to_str).and_then(|text| text.parse().ok())
}

/// Whether a variable names this process; `otherwise` where it is not set.
fn is_meant(caller: &Surroundings, name: &str, otherwise: bool) -> bool {
    match caller.variable(name) {
        Some(_) => number(caller, name) == Some(std::process::id().into()),
        None => otherwise,
    }
}

/// Gives a spec what a service manager has for it, in place of what one had for it before.
pub(in crate::front::cli) fn dress(
    spec: &mut Spec,
    service: Option<Service>,
    caller: &Surroundings,
) {
    service::take_off(spec);
    let Some(service) = service else { return };
    let (command, life) = (&mut spec.command, &mut spec.lifetime);
    let is_told = |one: &EnvironmentVariable| {
        VARIABLES.iter().any(|name| one.name.as_bytes() == name.as_bytes())
    };
    command.environment.retain(|one| !is_told(one));
    let mut set = |name: &str, value: Text| {
        command.environment.push(EnvironmentVariable { name: name.into(), value });
    };
    if service.relays() {
        set("NOTIFY_SOCKET", NOTIFY_SOCKET.into());
        let watchdog = service.notify.as_ref().and_then(|notify| notify.watchdog);
        if let Some(often) = watchdog {
            set("WATCHDOG_USEC", often.as_micros().to_string().into());
        }
    }
    if service.sockets > 0 {
        set("LISTEN_FDS", service.sockets.to_string().into());
        if let Some(names) = caller.variable("LISTEN_FDNAMES") {
            set("LISTEN_FDNAMES", names.into());
        }
    }
    command.descriptors.pass.extend(service.descriptors());
    order::sort(&mut command.descriptors.pass);
    command.descriptors.pass.dedup();
    life.service = Some(service);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsString;

    fn caller(variables: &[(&str, &str)]) -> Surroundings {
        let own = std::process::id().to_string();
        let of = |(name, value): &(&str, &str)| {
            (OsString::from(name), OsString::from(value.replace("OWN", &own)))
        };
        Surroundings { environment: variables.iter().map(of).collect(), workdir: None }
    }

    fn asked_for(flags: &[&str], variables: &[(&str, &str)]) -> Result<Option<Service>, CliError> {
        let command = clap::Command::new("x").no_binary_name(true).args(super::flags());
        asked(&command.try_get_matches_from(flags).unwrap(), &caller(variables))
    }

    #[test]
    fn nothing_is_taken_without_its_flag_or_from_nobody() {
        let all = [("NOTIFY_SOCKET", "/run/x"), ("LISTEN_FDS", "2"), ("LISTEN_PID", "OWN")];
        assert_eq!(asked_for(&[], &all).unwrap(), None);
        assert_eq!(asked_for(&["--sdnotify", "ignore"], &all).unwrap(), None);
        assert_eq!(asked_for(&["--sdnotify", "payload", "--listen-fds"], &[]).unwrap(), None);
        for not_ours in [("LISTEN_PID", "1"), ("LISTEN_PID", ""), ("OTHER", "")] {
            let variables = [("LISTEN_FDS", "2"), not_ours];
            assert_eq!(asked_for(&["--listen-fds"], &variables).unwrap(), None, "{not_ours:?}");
        }
    }

    #[test]
    fn what_is_taken_is_what_the_manager_set() {
        let variables = [
            ("NOTIFY_SOCKET", "@x"),
            ("WATCHDOG_USEC", "2000000"),
            ("WATCHDOG_PID", "OWN"),
            ("LISTEN_FDS", "2"),
            ("LISTEN_PID", "OWN"),
        ];
        let flags = ["--sdnotify", "payload", "--listen-fds", "--cgroups", "split"];
        let service = asked_for(&flags, &variables).unwrap().unwrap();
        let watchdog = Some(Duration::from_secs(2));
        let notify = Notify { socket: "@x".into(), speaker: Speaker::Payload, watchdog };
        assert_eq!(service, Service { notify: Some(notify), sockets: 2, delegated: true });
        assert_eq!(service.own_numbers(), ["LISTEN_PID".into(), "WATCHDOG_PID".into()]);
        assert_eq!(service.descriptors(), 3..5);
        let others = [("NOTIFY_SOCKET", "/x"), ("WATCHDOG_USEC", "2000000"), ("WATCHDOG_PID", "1")];
        let service = asked_for(&["--sdnotify", "bryo"], &others).unwrap().unwrap();
        assert_eq!(service.notify.unwrap().watchdog, None);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (flags, variable) in [
            (vec!["--sdnotify", "payload"], ("NOTIFY_SOCKET", "vsock:2:1")),
            (vec!["--sdnotify", "bryo"], ("NOTIFY_SOCKET", "")),
            (vec!["--sdnotify", "conmon"], ("X", "")),
            (vec!["--cgroups", "enabled"], ("X", "")),
            (vec!["--listen-fds"], ("LISTEN_FDS", "257")),
        ] {
            let variables = [variable, ("LISTEN_PID", "OWN")];
            assert!(asked_for(&flags, &variables).is_err(), "{flags:?}");
        }
    }
}
