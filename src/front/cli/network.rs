//! `bryo network create|ls|inspect|connect|disconnect|rm|prune`.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;

use clap::builder::ValueParser;
use clap::{Arg, ArgMatches, Command};

use crate::ops::discard;
use crate::ops::network::{self, Filter, NetworksError, Wanted, parse_format};
use crate::profile::network::{
    parse_allowed, parse_host_entry, parse_rate, parse_rule, parse_server,
};
use crate::profile::value::ValueError;
use crate::report::amount::count;
use crate::report::{Failure, Look};
use crate::spec::Text;
use crate::spec::net::{Egress, NameCheck, NetworkName, Prefix, RuleError};

use super::ask::{Consent, ask, do_not_ask};
use super::error::CliError;
use super::flag::{bad, is_set, many, one, one_parsed, parsed, sandbox, switch, value, values};
use super::output::Answer;
use super::run::{read_label, seat};
use super::usage::{self, Asked};

const RULE: &str = "RULE";

/// `bryo network`, as clap knows it.
pub fn command() -> Command {
    let json = || switch("json", "Answer as JSON");
    Command::new("network")
        .about("Make, show and remove networks that several sandboxes share")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .subcommand(create_command())
        .subcommand(list_command().arg(json()))
        .subcommand(
            Command::new("inspect")
                .about("Show a network, what may leave it, and who is on it, as JSON")
                .arg(name("NETWORK", "Which").num_args(1..)),
        )
        .subcommand(
            Command::new("rm")
                .visible_alias("remove")
                .about("Remove networks that no sandbox is on")
                .arg(switch("force", "Do not mind one that is not there").short('f'))
                .arg(name("NETWORK", "Which").num_args(1..)),
        )
        .subcommand(
            Command::new("prune")
                .about("Remove every network that no sandbox is on")
                .arg(do_not_ask())
                .arg(json()),
        )
        .subcommand(connect_command())
        .subcommand(
            Command::new("disconnect")
                .about("Take a sandbox from a network, and from those it is connected with when it is started again")
                .arg(switch("force", "Do not mind one that is not on it").short('f'))
                .arg(name("NETWORK", "Which"))
                .arg(sandbox().required(true).help(SANDBOX)),
        )
}

const SANDBOX: &str = "Its name, its id, or the beginning of it";

fn connect_command() -> Command {
    Command::new("connect")
        .about("Connect a running sandbox with one more network")
        .after_help(
            "It must have been started on such a network (`--network bridge:NAME`). What leaves the sandbox goes by \
             the first one it is on, whose name server it asks; those on this one find it, and it them by their \
             addresses. Started again, it is on this one again, until it is disconnected.",
        )
        .args(seat::addresses())
        .arg(values("alias", "NAME", "Be found there by this name too; several sandboxes may have it"))
        .arg(name("NETWORK", "Which"))
        .arg(sandbox().required(true).help(SANDBOX))
}

fn list_command() -> Command {
    Command::new("ls")
        .visible_alias("list")
        .about("List all networks")
        .arg(switch("quiet", "Only names").short('q').conflicts_with("json"))
        .arg(
            values(
                "filter",
                "KEY=VALUE",
                "Those that fit: name=PART, label=NAME[=VALUE], dangling=true|false, internal=true|false, \
                 type=custom|builtin; repeatable",
            )
            .short('f'),
        )
        .arg(value(
            "format",
            "TEMPLATE",
            "As in '{{.Name}} {{.Subnet}}'; also Subnet6, Gateway, Internal, Sandboxes, Labels, CreatedAt; \
             `table …` for titles, `json`",
        ))
}

fn create_command() -> Command {
    Command::new("create")
        .about("Make a network, for `bryo run --network bridge:NETWORK`")
        .arg(name("NETWORK", "Its name"))
        .arg(value(
            "subnet",
            "RANGE",
            "Private addresses of its members, as 10.99.0.0/24; else a free range",
        ))
        .arg(value("ip-range", "RANGE", "The part of them that is given to who asks for none"))
        .arg(value("gateway", "ADDRESS", "The bridge's own address; else the first"))
        .arg(value("subnet6", "RANGE", "Their addresses of IPv6, as fd12:3456:789a::/64"))
        .arg(switch("internal", "Nothing leaves it: members talk to each other alone"))
        .arg(values(
            "allow",
            RULE,
            "Let its members talk to these alone, as `bryo run --allow` does",
        ))
        .arg(values("deny", RULE, "Let them talk to these never"))
        .arg(switch("allow-all", "Let them talk to every public address, whatever else is allowed"))
        .arg(switch(
            "allow-any-sni",
            "Let connections to an allowed host say any name in TLS and HTTP",
        ))
        .arg(values(
            "dns",
            "SERVER",
            "Ask this server for names, ADDRESS[:PORT]; else the host's own",
        ))
        .arg(values("add-host", "NAME:ADDRESS", "Give a name an address"))
        .arg(value(
            "net-rate",
            "DOWN[/UP]",
            "Pass no more than this to and from all members together, in bits per second: 10M, 50M/5M",
        ))
        .arg(values(
            "label",
            "NAME[=VALUE]",
            "Write this on it, for `bryo network ls --filter label=…`",
        ))
}

fn name(value: &'static str, help: &'static str) -> Arg {
    Arg::new("network")
        .value_name(value)
        .help(help)
        .required(true)
        .value_parser(ValueParser::os_string())
}

/// Answers the words after `bryo network`.
pub fn answer(arguments: &[OsString]) -> Result<Answer, Failure> {
    let refused = |flag: &str, _: &[OsString]| refused(flag);
    // Who asks for help has no network of that name in mind.
    let turned = ["create".into(), "--help".into()];
    let arguments = match arguments {
        [create, help] if create == "create" && help == "help" => &turned,
        _ => arguments,
    };
    let asked = usage::matches(command(), arguments, refused)?;
    let matches = match asked {
        Asked::Help(text) => return Ok(Answer::text(text)),
        Asked::For(matches) => matches,
    };
    match matches.subcommand() {
        Some(("create", matches)) => create(matches),
        Some(("inspect", matches)) => inspect(matches),
        Some(("rm", matches)) => remove(matches),
        Some(("prune", matches)) => prune(matches),
        Some(("connect", matches)) => {
            let (network, sandbox) = both(matches)?;
            network::connect(&network, &sandbox, &seat::of_connect(matches)?)?;
            Ok(Answer::text(""))
        }
        Some(("disconnect", matches)) => {
            let (network, sandbox) = both(matches)?;
            match network::disconnect(&network, &sandbox) {
                Err(error) if !(is_set(matches, "force") && error.is_absence()) => {
                    Err(error.into())
                }
                _ => Ok(Answer::text("")),
            }
        }
        Some(("ls", matches)) => list(matches),
        // clap lets no other through.
        _ => Ok(Answer::text("")),
    }
}

/// What Docker has, and no network here.
fn refused(flag: &str) -> Option<CliError> {
    let (why, instead) = match flag {
        "--driver" | "-d" | "--attachable" | "--scope" | "--ingress" => (
            "every network is a bridge on this machine, and any sandbox can be on it",
            "leave it out",
        ),
        "--ipv6" | "--ipv4" => {
            ("every network has both", "`--subnet6 RANGE` chooses the addresses of IPv6")
        }
        "--aux-address" => ("an address is kept for nobody", "`--ip-range` leaves some out"),
        "--opt" | "-o" | "--ipam-driver" | "--ipam-opt" => ("it has no drivers with options", ""),
        _ => return None,
    };
    Some(CliError::Refused { flag: flag.to_owned(), why, instead })
}

fn both(matches: &ArgMatches) -> Result<(NetworkName, Text), CliError> {
    let network = names(matches)?.pop().unwrap_or_default();
    Ok((network, one(matches, "sandbox").map(Text::from).unwrap_or_default()))
}

fn list(matches: &ArgMatches) -> Result<Answer, Failure> {
    let each = |given| parsed("--filter", given, Filter::parse);
    let filters = many(matches, "filter").map(each).collect::<Result<Vec<Filter>, _>>()?;
    let format = match one(matches, "format") {
        Some(given) if given != "table" && given != "json" => {
            Some(parsed("--format", given, parse_format)?)
        }
        _ => None,
    };
    let (mut rows, failed) = network::list(&network::open()?)?;
    rows.retain(|row| network::is_wanted(row, &filters));
    let is_json = is_set(matches, "json") || one(matches, "format").is_some_and(|f| f == "json");
    let answer = match format {
        _ if is_json => json(&rows)?,
        _ if is_set(matches, "quiet") => Answer::text(network::names(&rows)),
        Some(format) => Answer::text(network::formatted(&rows, &format)),
        None => Answer::text(network::table(&rows, Look::of_stdout().width)),
    };
    unless_failed(answer, failed)
}

/// The answer about those that there are; printed, and the failures of the others given, if there are such.
fn unless_failed(answer: Answer, failed: Vec<NetworksError>) -> Result<Answer, Failure> {
    match Failure::all(failed.into_iter().map(Failure::from)) {
        None => Ok(answer),
        Some(failure) => {
            answer.print()?;
            Err(failure)
        }
    }
}

fn json(value: &impl serde::Serialize) -> Result<Answer, Failure> {
    Ok(Answer::bytes(discard::json(value)?))
}

fn create(matches: &ArgMatches) -> Result<Answer, Failure> {
    let wanted = wanted(matches)?;
    network::create(&network::open()?, &wanted)?;
    Ok(Answer::text(format!("{}\n", wanted.name)))
}

fn inspect(matches: &ArgMatches) -> Result<Answer, Failure> {
    let names = names(matches)?;
    let store = network::open()?;
    let (mut found, mut failures) = (Vec::new(), Vec::new());
    for name in &names {
        match network::inspect(&store, name) {
            Ok(detail) => found.push(detail),
            Err(error) => failures.push(error.into()),
        }
    }
    // Those that there are, as Docker does.
    match Failure::all(failures) {
        None => json(&found),
        Some(failure) => {
            if !found.is_empty() {
                json(&found)?.print()?;
            }
            Err(failure)
        }
    }
}

fn remove(matches: &ArgMatches) -> Result<Answer, Failure> {
    let names = names(matches)?;
    let store = network::open()?;
    let mut lines = String::new();
    let mut failures = Vec::new();
    for name in &names {
        match network::remove(&store, name) {
            // Writing to a string cannot fail.
            Ok(()) => writeln!(lines, "{name}").unwrap_or_default(),
            Err(error) if is_set(matches, "force") && error.is_absence() => {}
            Err(error) => failures.push(error),
        }
    }
    unless_failed(Answer::text(lines), failures)
}

fn prune(matches: &ArgMatches) -> Result<Answer, Failure> {
    let store = network::open()?;
    if !is_set(matches, "yes") && consent(&network::prunable(&store)?)? == Consent::Denied {
        return Ok(Answer::text("").with_code(1));
    }
    let (gone, failed) = network::prune(&store)?;
    let answer = if is_set(matches, "json") { json(&gone)? } else { Answer::text(lines(&gone)) };
    unless_failed(answer, failed)
}

/// Asks, with what goes: the rules of a network are nowhere else. When none does, nothing is lost.
fn consent(names: &[NetworkName]) -> Result<Consent, Failure> {
    if names.is_empty() {
        return Ok(Consent::Given);
    }
    let number = u64::try_from(names.len()).unwrap_or(u64::MAX);
    let question = format!("Remove {}?", count(number, "network", "networks"));
    ask(&lines(names), &question, "--yes").map_err(Failure::from)
}

fn lines(names: &[NetworkName]) -> String {
    names.iter().fold(String::new(), |lines, name| lines + name.as_str() + "\n")
}

fn names(matches: &ArgMatches) -> Result<Vec<NetworkName>, CliError> {
    many(matches, "network").map(read_name).collect()
}

fn read_name(given: &OsStr) -> Result<NetworkName, CliError> {
    const WHAT: &str = "NETWORK";
    let name = given.to_str().and_then(|name| NetworkName::new(name).ok());
    name.ok_or_else(|| bad(WHAT, given, ValueError::NotANetwork))
}

fn wanted(matches: &ArgMatches) -> Result<Wanted, CliError> {
    let name = match one(matches, "network") {
        Some(given) => {
            let name = read_name(given)?;
            if name.is_reserved() {
                return Err(bad("NETWORK", given, ValueError::ReservedNetwork));
            }
            name
        }
        None => NetworkName::default(),
    };
    let range = |text: &str| {
        Prefix::parse(text).map_err(|error| ValueError::Rule(RuleError::Address(error)))
    };
    let mut labels = BTreeMap::new();
    for given in many(matches, "label") {
        let (name, label) = read_label(given)?;
        labels.insert(name, label);
    }
    if one(matches, "ip-range").is_some() && one(matches, "subnet").is_none() {
        return Err(CliError::Alone { flag: "--ip-range", needs: "--subnet" });
    }
    Ok(Wanted {
        name,
        subnet: one_parsed(matches, "subnet", "--subnet", range)?,
        gateway: one_parsed(matches, "gateway", "--gateway", seat::parse_v4)?,
        range: one_parsed(matches, "ip-range", "--ip-range", range)?,
        subnet6: one_parsed(matches, "subnet6", "--subnet6", range)?,
        egress: egress(matches)?,
        labels,
    })
}

/// What may leave. A network that nothing leaves has no rules.
fn egress(matches: &ArgMatches) -> Result<Egress, CliError> {
    let all = |id: &'static str, flag, parse: fn(&str) -> _| -> Result<Vec<_>, CliError> {
        many(matches, id).map(|text| parsed(flag, text, parse)).collect()
    };
    let rules = Egress {
        allow: all("allow", "--allow", parse_allowed)?,
        deny: all("deny", "--deny", parse_rule)?,
        everything: is_set(matches, "allow-all"),
        names: if is_set(matches, "allow-any-sni") { NameCheck::Any } else { NameCheck::Checked },
        dns: many(matches, "dns")
            .map(|text| parsed("--dns", text, parse_server))
            .collect::<Result<_, _>>()?,
        hosts: many(matches, "add-host")
            .map(|text| parsed("--add-host", text, parse_host_entry))
            .collect::<Result<_, _>>()?,
        rate: one_parsed(matches, "net-rate", "--net-rate", parse_rate)?,
        ..Egress::default()
    };
    if !is_set(matches, "internal") {
        return Ok(rules);
    }
    if rules == Egress::default() {
        return Ok(Egress { closed: true, ..rules });
    }
    let one = "--internal".to_owned();
    Err(CliError::Contradiction { one, other: "a rule for what leaves".to_owned() })
}
