//! `--allow --deny --allow-all --allow-any-sni --dns --dns-search --dns-option --add-host --learn-network`: what may
//! leave; `--publish`: what may come in; `--pcap --pcap-size`: what is written down of it; `--net-rate`: how fast it passes.
//!
//! # Decisions
//! - Whoever says who may be talked to wants a network: without `--network` these flags mean
//!   `--network user`. With another network they are an error, not idle; but for ports, which a member of a network
//!   has too.

use std::ffi::OsStr;

use clap::{Arg, ArgMatches};

use crate::front::cli::error::CliError;
use crate::front::cli::flag::{
    is_set, many, one, one_parsed, parsed, quoted, switch, value, values,
};
use crate::front::cli::surroundings::Surroundings;
use crate::profile::network::{
    parse_allowed, parse_host_entry, parse_on_loss, parse_option, parse_published, parse_rate,
    parse_rule, parse_search, parse_server,
};
use crate::profile::value::parse_size;
use crate::spec::net::{Capture, Egress, NameCheck};
use crate::spec::{Network, Spec};

const RULE: &str = "RULE";

/// Flags that want a network of their own with a way out, as clap knows them and as they are typed.
const FLAGS: [(&str, &str); 11] = [
    // The first: see `given`.
    ("publish", "--publish"),
    ("allow", "--allow"),
    ("deny", "--deny"),
    ("dns", "--dns"),
    ("dns-search", "--dns-search"),
    ("dns-option", "--dns-option"),
    ("add-host", "--add-host"),
    ("allow-all", "--allow-all"),
    ("allow-any-sni", "--allow-any-sni"),
    ("learn-network", "--learn-network"),
    ("pcap", "--pcap"),
];

pub(super) fn flags() -> Vec<Arg> {
    vec![
        values(
            "publish",
            "PORT",
            "Let this machine's programs in: [IP:]HOST:SANDBOX[/tcp|udp]; SANDBOX alone or HOST 0 takes any free port, \
             ranges as 8000-8010:80-90; on loopback, unless IP says otherwise; without --network it is `user`, to every public address",
        )
        .short('p'),
        values(
            "allow",
            RULE,
            "Talk to these alone: HOST, *.DOMAIN, ADDRESS or RANGE, then [:PORT[-PORT]][/tcp|udp]",
        ),
        values(
            "deny",
            RULE,
            "Talk to these never, whatever else is allowed; a NAME only where it is asked for or said: by its address, without \
             a word, it is reached where everything is allowed; without --network it is `user`, to every public address",
        ),
        switch("allow-all", "Talk to every public address, also where the profile names some"),
        switch("allow-any-sni", "Let connections to an allowed host say any name in TLS and HTTP"),
        values("dns", "SERVER", "Ask this server for names, ADDRESS[:PORT]; else the host's own; without --network it is `user`, to every public address"),
        values(
            "dns-search",
            "DOMAIN",
            "Try names in this domain too, `.` for in none; else in the host's own",
        ),
        values("dns-option", "OPTION", "Set an option of resolv.conf(5), as ndots:2")
            .alias("dns-opt"),
        values("add-host", "NAME:ADDRESS", "Give a name an address; without --network it is `user`, to every public address"),
        switch(
            "learn-network",
            "Talk to every public address; at the end, the `--allow` of each used",
        ),
        value(
            "pcap",
            "FILE",
            "Write the payload's packets to a file, as tcpdump and Wireshark read it; without --network it is `user`, to every public address",
        ),
        value("pcap-size", "SIZE", "The most that --pcap writes; 256M without").requires("pcap"),
        value(
            "net-rate",
            "DOWN[/UP]",
            "Pass no more than this to and from the payload, in bits per second: 10M, 50M/5M",
        ),
        loss(),
    ]
}

fn loss() -> Arg {
    const HELP: &str =
        "When its network ends before it: `continue` without one, or `end`, with status 125";
    value("on-network-loss", "WHAT", HELP)
}

pub(super) fn apply(
    matches: &ArgMatches,
    spec: &mut Spec,
    caller: &Surroundings,
) -> Result<(), CliError> {
    let rate = one_parsed(matches, "net-rate", "--net-rate", parse_rate)?;
    spec.egress.rate = rate.or(spec.egress.rate);
    apply_rules(matches, spec, caller)?;
    if let Some(given) = one(matches, "on-network-loss") {
        spec.egress.on_loss = parsed("--on-network-loss", given, parse_on_loss)?;
        if !spec.network.may_be_lost() {
            return Err(nothing_to_lose(given, &spec.network));
        }
    }
    match (one(matches, "net-rate"), &spec.network) {
        (None, _) | (_, Network::User) => Ok(()),
        (Some(rate), network) => Err(nothing_to_pace(rate, network)),
    }
}

fn apply_rules(
    matches: &ArgMatches,
    spec: &mut Spec,
    caller: &Surroundings,
) -> Result<(), CliError> {
    let published: Vec<&OsStr> = many(matches, "publish").collect();
    for text in &published {
        add(&mut spec.publish, parsed("--publish", text, parse_published)?);
    }
    if let Some(tool) = spec.network.tool() {
        return match (published.first(), unkept(matches)) {
            (Some(port), _) => Err(nobody_comes_in(port, &spec.network)),
            (None, Some(why)) => Err(CliError::Unusable {
                flag: "--network",
                value: tool.name().into(),
                why,
                instead: "`--network user` does all of it",
            }),
            (None, None) => apply_names(matches, &mut spec.egress),
        };
    }
    let is_member = matches!(spec.network, Network::Bridge(_));
    let Some(flag) = given(matches, is_member) else { return Ok(()) };
    if spec.network != Network::User {
        if let Some(mode) = one(matches, "network") {
            if let Some(port) = published.first().filter(|_| !is_member) {
                return Err(nobody_comes_in(port, &spec.network));
            }
            return Err(not_there(flag, mode, is_member));
        }
        spec.network = Network::User;
        spec.egress.meant_by = Some(if flag == "--publish" { "-p" } else { flag }.into());
    }
    let egress = &mut spec.egress;
    for text in many(matches, "allow") {
        add(&mut egress.allow, parsed("--allow", text, parse_allowed)?);
    }
    for text in many(matches, "deny") {
        add(&mut egress.deny, parsed("--deny", text, parse_rule)?);
    }
    apply_names(matches, egress)?;
    egress.learn = is_set(matches, "learn-network");
    egress.everything |= is_set(matches, "allow-all") || egress.learn;
    if let Some(file) = one(matches, "pcap") {
        let file = caller.file("--pcap", file)?;
        let most = one_parsed(matches, "pcap-size", "--pcap-size", parse_size)?;
        egress.capture = Some(Capture { file, most: most.unwrap_or(Capture::USUAL) });
    }
    if is_set(matches, "allow-any-sni") {
        egress.names = NameCheck::Any;
    }
    Ok(())
}

/// Why a network has no such rules of a sandbox's own.
fn not_there(flag: &str, mode: &OsStr, is_member: bool) -> CliError {
    let is_of_one = ["--pcap", "--pcap-size", "--learn-network"].contains(&flag);
    let flag = flag.to_owned();
    if is_member {
        let instead = if is_of_one {
            "a sandbox by itself has it: `--network user`"
        } else {
            "`bryo network create --allow RULE NAME` says what may leave; `--deny`, `--dns` and others are there too"
        };
        return CliError::Refused {
            flag,
            why: "the way out of a network of several is the network's, one for all on it",
            instead,
        };
    }
    CliError::Contradiction { one: flag, other: format!("--network {}", quoted(mode)) }
}

/// Where names lead, and how they are made whole.
fn apply_names(matches: &ArgMatches, egress: &mut Egress) -> Result<(), CliError> {
    let mut servers = Vec::new();
    for text in many(matches, "dns") {
        add(&mut servers, parsed("--dns", text, parse_server)?);
    }
    if !servers.is_empty() {
        egress.dns = servers;
    }
    let mut search = Vec::new();
    for text in many(matches, "dns-search") {
        add(&mut search, parsed("--dns-search", text, parse_search)?);
    }
    if !search.is_empty() {
        egress.dns_search = search;
    }
    for text in many(matches, "dns-option") {
        add(&mut egress.dns_options, parsed("--dns-option", text, parse_option)?);
    }
    for text in many(matches, "add-host") {
        add(&mut egress.hosts, parsed("--add-host", text, parse_host_entry)?);
    }
    Ok(())
}

/// What a program of others would not do, of what is asked for. Names are the sandbox's own matter.
fn unkept(matches: &ArgMatches) -> Option<&'static str> {
    let has = |ids: &[&str]| ids.iter().any(|id| is_there(matches, id));
    if has(&["allow", "deny", "allow-all", "allow-any-sni"]) {
        return Some("it passes on everything, and would keep to no `--allow` or `--deny`");
    }
    if has(&["learn-network"]) {
        return Some("it does not tell what was used");
    }
    has(&["pcap"]).then_some("it writes no file of packets that is bounded")
}

/// Why nothing can be published there.
fn nobody_comes_in(port: &OsStr, network: &Network) -> CliError {
    let (why, instead) = match network {
        Network::Host => (
            "with `--network host` the program listens on this machine itself",
            "leave it out; `--network user` has ports of its own",
        ),
        Network::Sandbox(_) => {
            ("that network is another sandbox's", "publish the port where that one is started")
        }
        Network::Pasta | Network::Slirp4netns => (
            "which ports that program has opened, nobody could tell",
            "`--network user` publishes ports",
        ),
        _ => ("with `--network none` nobody reaches the program", "take `--network user`"),
    };
    CliError::Unusable { flag: "--publish", value: quoted(port), why, instead }
}

/// Why a network is not paced. Whoever bounds one has not asked for one.
fn nothing_to_pace(rate: &OsStr, network: &Network) -> CliError {
    let (why, instead) = match network {
        Network::None => ("without a network nothing passes", "add `--network user`"),
        Network::Bridge(_) => (
            "all members of a network have one way out",
            "`bryo network create --net-rate RATE NAME` bounds that",
        ),
        Network::Sandbox(_) => {
            ("that network is another sandbox's", "bound it where that one is started")
        }
        Network::Pasta | Network::Slirp4netns => {
            ("what that program passes is not bryo's to bound", "`--network user` keeps to a rate")
        }
        _ => ("what the host's network passes is not bryo's", "take `--network user`"),
    };
    CliError::Unusable { flag: "--net-rate", value: quoted(rate), why, instead }
}

/// Why no network is lost.
fn nothing_to_lose(given: &OsStr, network: &Network) -> CliError {
    let (why, instead) = match network {
        Network::Host => ("the host's network ends with the host", "leave it out"),
        Network::Sandbox(_) => {
            ("that network is another sandbox's", "say it where that one is started")
        }
        _ => ("there is no network that could be lost", "add `--network user`"),
    };
    CliError::Unusable { flag: "--on-network-loss", value: quoted(given), why, instead }
}

fn is_there(matches: &ArgMatches, id: &str) -> bool {
    matches.value_source(id) == Some(clap::parser::ValueSource::CommandLine)
}

/// The first of these flags that is there. A member of a network has ports of its own, and no rules.
fn given(matches: &ArgMatches, is_member: bool) -> Option<&'static str> {
    let mut flags = FLAGS.iter().skip(usize::from(is_member));
    flags.find(|(id, _)| is_there(matches, id)).map(|(_, flag)| *flag)
}

fn add<T: PartialEq>(list: &mut Vec<T>, entry: T) {
    if !list.contains(&entry) {
        list.push(entry);
    }
}
