//! `--network user` against slirp4netns and pasta: throughput, connections, round trips, memory, start.
//!
//! # Theory of operation
//! Two hosts are made in namespaces, joined by a veth pair. On one of them each netstack has a payload behind it, all at
//! once, and all but one idle at any time; on the other are the sockets that they lead to. So all
//! packets go through a tap or tun of the payload, a netstack, and the host's own TCP. Figures of `the host itself` have
//! neither, and say what this machine can do at all. Sandboxes on one network have a bridge between them and no netstack.
//! What a start costs is measured without the two hosts.

mod between;
mod contest;

use contest::{Bed, Contestant};

use crate::row::{Aim, Row, Side};
use crate::tools::{Tools, seconds};

const SLIRP: &str = "slirp4netns";
const PASTA: &str = "pasta";
const PEER: &str = "198.51.100.1";
const IDLE: u32 = 5_000;
const ROUNDS: usize = 5;
const START_ROUNDS: usize = 200;

/// A group: its name and what measures it.
type Group = (&'static str, fn(&Tools) -> Vec<Row>);

/// The groups of rows, each of about a minute.
pub(crate) const GROUPS: &[Group] = &[
    ("network: one stream", |tools| streams(tools, 1)),
    ("network: eight streams", |tools| streams(tools, 8)),
    ("network: exchanges", exchanges),
    ("network: netstack", netstack),
    ("network: sandbox to sandbox", between::rows),
    ("network: rate", rate),
    ("network: start", start),
];

fn streams(tools: &Tools, streams: usize) -> Vec<Row> {
    let faster = [Aim::AtLeast { to: SLIRP, least: 2.0 }, Aim::AtLeast { to: PASTA, least: 1.0 }];
    on_bed(tools, |bed| {
        let sides = sides(bed);
        let one = |title, direction| {
            let order = format!("{direction} {PEER} {streams} 250");
            row(&format!("TCP {title}, streams: {streams}"), "Gbit/s", &sides, ask(order), &faster)
        };
        vec![one("from the payload", "up"), one("to the payload", "down")]
    })
}

fn exchanges(tools: &Tools) -> Vec<Row> {
    let at_least = [SLIRP, PASTA].map(|to| Aim::AtLeast { to, least: 1.0 });
    let at_most = [SLIRP, PASTA].map(|to| Aim::Ratio { to, most: 1.0 });
    on_bed(tools, |bed| {
        let sides = sides(bed);
        let one =
            |title, unit, order: &str, aims| row(title, unit, &sides, ask(order.into()), aims);
        vec![
            one("short connections", "1/s", &format!("short {PEER} 3000"), &at_least),
            one("a byte there and back over TCP", "µs", &format!("echo {PEER} 3000"), &at_most),
            one("ping", "µs", &format!("ping {PEER} 200"), &at_most),
            one(
                "datagrams of 1,400 bytes, 1 Gbit/s, lost",
                "%",
                &format!("udp {PEER} 1000 250"),
                &[Aim::Absolute(0.0)],
            ),
        ]
    })
}

/// What the process itself uses.
fn netstack(tools: &Tools) -> Vec<Row> {
    let cost = [SLIRP, PASTA].map(|to| Aim::Ratio { to, most: 1.0 });
    let idle = "network: memory of the netstack's own with 5,000 idle connections";
    on_bed(tools, |bed| {
        let sides = sides(bed);
        let (with_one, _) = sides.split_at(3);
        let idle_sides = with_one.iter().map(|side| Side::new(side.name, || held(side))).collect();
        vec![
            row("processor of the netstack, up", "s/GB", with_one, per_gb("up"), &cost),
            row("processor of the netstack, down", "s/GB", with_one, per_gb("down"), &cost),
            Row::compare(idle, "MB", 1, idle_sides, &[Aim::Absolute(30.0)]),
        ]
    })
}

/// How far what passes is from the rate that was asked for, and what keeping it costs.
fn rate(tools: &Tools) -> Vec<Row> {
    const SECONDS: f64 = 2.0;
    const RATES: [(&str, f64); 4] = [("1M", 1e-3), ("10M", 1e-2), ("100M", 0.1), ("1G", 1.0)];
    on_bed(tools, |bed| {
        let sides = RATES.map(|(text, asked)| (bed.behind_bryo_at(text), asked));
        let off = |side: &Contestant, asked: f64, order: &str| {
            let said = side.order(&format!("{order} {}", SECONDS * 1e3))?;
            Ok((said / asked - 1.0).abs() * 100.0)
        };
        let used = |side: &Contestant| {
            let before = side.cpu()?;
            side.order(&format!("down {PEER} 8 {}", SECONDS * 1e3))?;
            Ok((side.cpu()? - before) / SECONDS * 100.0)
        };
        let ways = [("one stream down", "down", 1), ("eight streams down", "down", 8)];
        let ways =
            ways.into_iter().chain([("one stream up", "up", 1), ("eight streams up", "up", 8)]);
        let each = |(side, asked): &(Contestant, f64)| {
            let row = |title: &str, measure: &dyn Fn() -> Result<f64, String>, most| {
                let title = format!("network: at {}, {title}", side.name);
                let sides = vec![Side::new("bryo", measure)];
                Row::compare(title, "%", 3, sides, &[Aim::Absolute(most)])
            };
            let offs = ways.clone().map(|(title, order, streams)| {
                let order = format!("{order} {PEER} {streams}");
                let title = format!("off the rate with {title}");
                row(&title, &|| off(side, *asked, &order), 5.0)
            });
            offs.chain([row("of a processor, eight streams down", &|| used(side), 50.0)])
                .collect::<Vec<_>>()
        };
        sides.iter().flat_map(each).collect()
    })
}

fn on_bed(tools: &Tools, rows: impl Fn(&Bed) -> Vec<Row>) -> Vec<Row> {
    match Bed::make(tools) {
        Ok(bed) => rows(&bed),
        Err(text) => vec![Row::single("network: two hosts", "", Err(text), 0.0)],
    }
}

/// Ours, the others, and last the host, which has no netstack.
fn sides(bed: &Bed) -> [Contestant; 4] {
    [
        bed.behind_bryo(),
        bed.behind(SLIRP, SLIRP),
        bed.behind(PASTA, "pas"),
        bed.behind_nothing("the host itself"),
    ]
}

fn row(
    title: &str,
    unit: &'static str,
    sides: &[Contestant],
    ask: impl Fn(&Contestant) -> Result<f64, String>,
    aims: &[Aim],
) -> Row {
    let sides = sides.iter().map(|side| Side::new(side.name, || ask(side))).collect();
    Row::compare(format!("network: {title}"), unit, ROUNDS, sides, aims)
}

fn ask(order: String) -> impl Fn(&Contestant) -> Result<f64, String> {
    move |side| side.order(&order)
}

/// Seconds of the netstack's processor for each gigabyte.
fn per_gb(direction: &'static str) -> impl Fn(&Contestant) -> Result<f64, String> {
    const SECONDS: f64 = 0.25;
    move |side| {
        let before = side.cpu()?;
        let rate = side.order(&format!("{direction} {PEER} 1 {}", SECONDS * 1e3))?;
        Ok((side.cpu()? - before) / (rate * SECONDS / 8.0))
    }
}

fn held(side: &Contestant) -> Result<f64, String> {
    let stand = side.order(&format!("hold {PEER} {IDLE}"));
    let memory = side.memory();
    side.order("drop")?;
    stand.and(memory)
}

/// What the network costs at the start, where users start it: both kinds in turns, and the median of the differences. No peer
/// is needed for it, so no hosts are made.
fn start(tools: &Tools) -> Vec<Row> {
    let run = |network| {
        let flags = ["--rm", "-q", "--network", network];
        seconds(&mut tools.bryo(&flags, "/bin/true")).map(|seconds| seconds * 1e3)
    };
    let sides = vec![
        Side::new("bryo", || Ok(run("user")? - run("none")?)),
        Side::new("a whole run with `none`", || run("none")),
    ];
    let title = "network: a run of /bin/true with `user`, beyond one with `none`";
    vec![Row::compare(title, "ms", START_ROUNDS, sides, &[Aim::Absolute(1.5)])]
}
