//! What is said in a sandbox of bryo's: nobody there can mend the machine, and the run around it can give more.
//!
//! # Decisions
//! - A remedy is what the run around this one has to be given. What no flag gives is had outside of the sandbox alone.
//! - None of it is for a script: an administrator of the machine is not in here.

use super::{Finding, Remedy};

/// The first thing to know.
pub(super) fn told() -> Finding {
    Finding::ok(
        "around",
        "where bryo runs",
        "in a sandbox of bryo's: what is missing here is for the run around it to give",
    )
}

/// A finding with a remedy that works from here, in the place of one for a machine.
pub(super) fn turned(finding: Finding) -> Finding {
    if finding.remedy.is_none() {
        return finding;
    }
    let remedy = match finding.id {
        "user-namespaces" | "namespaces" | "mounts" => given("--nesting"),
        "seccomp-listener" => given("--no-notify"),
        "tun" => given("--device /dev/net/tun"),
        "ping" => given("--network user"),
        "cgroups" => given("--cgroup private"),
        "store" => "give the run around it `--tmpfs DIR`, and set `BRYO_STORE` to that".to_owned(),
        _ => "run bryo outside of the sandbox".to_owned(),
    };
    let detail = match finding.id {
        // Only a program that root owns is taken, and root has no id in here.
        "fuse" | "subids" | "pasta" | "slirp4netns" => "not to be had in a sandbox".to_owned(),
        _ => finding.detail,
    };
    Finding { detail, remedy: Some(Remedy::by_hand(remedy)), ..finding }
}

fn given(flag: &str) -> String {
    format!("give the run around it `{flag}`")
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[test]
    fn what_is_well_or_has_no_remedy_is_said_as_anywhere() {
        let well = Finding::ok("tun", "/dev/net/tun", "can be opened");
        assert_eq!(turned(well.clone()), well);
        let without = well.but(State::Missing, "much");
        assert_eq!(turned(without.clone()), without);
    }

    #[test]
    fn a_remedy_of_the_machines_becomes_one_of_the_run_around() {
        let ill = |id| {
            let finding = Finding::ok(id, "x", "not installed").but(State::Missing, "much");
            turned(finding.remedy(Remedy::sysctl("user.max_user_namespaces", 5)))
        };
        assert_eq!(
            ill("tun").remedy,
            Some(Remedy::by_hand("give the run around it `--device /dev/net/tun`"))
        );
        assert_eq!(ill("kernel").remedy, Some(Remedy::by_hand("run bryo outside of the sandbox")));
        assert_eq!(
            (ill("kernel").detail, ill("fuse").detail),
            ("not installed".into(), "not to be had in a sandbox".into())
        );
    }
}
