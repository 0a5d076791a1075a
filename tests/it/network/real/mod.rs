//! A sandbox among real servers and real clients: dnsmasq, dig, nginx, curl and others (`bed.sh`), in namespaces of the
//! test's own.

mod flows;
mod names;
mod smuggle;
mod web;

use crate::support::{Ended, Host, World};

/// Carries `script` out on a host among `servers` (`nginx`, `iperf3`, `peer`, `git`, and `badwire` between them and it; the name server is always there). In it `$RUN`
/// begins a run in a sandbox with a network, `$BRYO` is the program and `$HERE` a folder with what the bed has made,
/// `$SCRIPTS` one with what is told here.
fn among(servers: &str, script: &str) -> Ended {
    let world = World::new();
    // The servers write logs, and the host's own `/etc` is changed.
    world.host(Host::MayChange);
    let scripts = world.folder("scripts");
    for (name, text) in [
        ("bed.sh", include_str!("bed.sh")),
        ("dnsmasq.conf", include_str!("dnsmasq.conf")),
        ("hosts", include_str!("hosts")),
        ("nginx.conf", include_str!("nginx.conf")),
        ("peer.py", include_str!("peer.py")),
        ("smuggle.py", include_str!("smuggle.py")),
        ("wire.py", include_str!("wire.py")),
    ] {
        std::fs::write(scripts.join(name), text).unwrap();
    }
    let bryo = std::env::var("BRYO_BIN").unwrap_or_else(|_| env!("CARGO_BIN_EXE_bryo").to_owned());
    let here = world.project().join("here");
    let (bed, shown) = (scripts.join("bed.sh"), scripts.display().to_string());
    let words = ["-U", "--map-current-user", "--keep-caps", "-n", "-m", "sh"].map(str::to_owned);
    let bed = [bed, scripts, here].map(|path| path.display().to_string());
    let all = words.into_iter().chain(bed);
    let all = all.chain(["sh", "-uc", script].map(str::to_owned));
    let run = format!("{bryo} run -q --rm");
    let invocation = world.program("/usr/bin/unshare", all).in_folder(world.project());
    invocation
        .env("SERVERS", servers)
        .env("BRYO", bryo)
        .env("RUN", run)
        .env("SCRIPTS", shown)
        .ends()
}
