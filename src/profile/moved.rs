//! Where something lies when a variable leads its program elsewhere.
//!
//! # Theory of operation
//! An entry is `VARIABLE=~/USUAL`: programs that find this variable set look there and not at the usual
//! place. Whatever a profile says of the usual place then holds of the other one too: what is secret or
//! hidden below it, what of it is a toolchain. Where the usual place is in a secret, all of the other one
//! is a secret. `VARIABLE/REST=~/USUAL` is for programs that look for another name there.
//!
//! # Not here
//! What variables hold: `front` knows. Whether anything is there: `host` looks, as for every pattern.
//!
//! # Decisions
//! - The usual place stays hidden too: programs fall back to it.
//! - A toolchain is never the home or what holds it: all of it would be shown.

use std::ffi::OsStr;

use super::value::ValueError;
use super::variable::is_variable_name;
use crate::spec::HostPath;
use crate::spec::rootfs::{Access, Moved, Origin, PathRequest, Pattern, PatternBase, Rootfs};

/// The parts of an entry: variable, what follows it, the usual place.
fn parts(entry: &str) -> Option<(&str, &str, Pattern)> {
    let (place, usual) = entry.split_once('=')?;
    let (name, rest) = place.split_at(place.find('/').unwrap_or(place.len()));
    let usual = Pattern::new(usual).ok()?;
    let is_place = usual.base() == PatternBase::Home && !usual.rest().is_root();
    (is_variable_name(name) && is_place).then_some((name, rest, usual))
}

/// Whether this is an entry.
pub fn check_moved(entry: &str) -> Result<(), ValueError> {
    match parts(entry) {
        Some((_, rest, _)) if !entry.contains(['*', '?']) && !rest.contains("/..") => Ok(()),
        _ => Err(ValueError::NotMoved),
    }
}

/// What is known of the caller's files.
pub struct Known<'a> {
    /// Where a variable leads.
    pub places: &'a dyn Fn(&str) -> Vec<HostPath>,
    /// Where links lead from a place.
    pub real: &'a dyn Fn(&HostPath) -> Option<HostPath>,
}

/// Adds what holds where variables lead.
pub fn follow(entries: &[String], home: Option<&HostPath>, known: &Known<'_>, rootfs: &mut Rootfs) {
    for entry in entries {
        let Some((name, rest, usual)) = parts(entry) else { continue };
        for place in (known.places)(name) {
            let place = place.join(OsStr::new(rest)).ok();
            let place = place.filter(|place| usual.resolve(home, None).as_ref() != Some(place));
            if let Some(place) = place {
                let secrets = follow_one(&usual, &place, home, rootfs);
                tell(name, &secrets, &place, known, rootfs);
            }
        }
    }
}

/// Keeps which variable made these places secrets, for those who are told of one.
fn tell(
    variable: &str,
    secrets: &[Pattern],
    place: &HostPath,
    known: &Known<'_>,
    rootfs: &mut Rootfs,
) {
    if secrets.is_empty() {
        return;
    }
    let real = (known.real)(place).filter(|real| real != place);
    for secret in secrets.iter().filter_map(|secret| secret.resolve(None, None)) {
        let linked = real.as_ref().and_then(|real| secret.moved(place, real));
        let places = linked.into_iter().chain([secret]);
        rootfs.moved.extend(places.map(|place| Moved { variable: variable.into(), place }));
    }
}

/// Gives the places that are secrets now.
fn follow_one(
    usual: &Pattern,
    place: &HostPath,
    home: Option<&HostPath>,
    rootfs: &mut Rootfs,
) -> Vec<Pattern> {
    let moved = |pattern: &Pattern| {
        let (of, rest) = (pattern.rest(), usual.rest());
        match pattern.base() {
            // All of `/` cannot be hidden.
            PatternBase::Home if rest.starts_with(of) => {
                Some(Pattern::literal(place)).filter(|_| !place.is_root())
            }
            PatternBase::Home => of.moved(rest, place).as_ref().map(Pattern::literal),
            PatternBase::Root | PatternBase::Workdir => None,
        }
    };
    let secrets: Vec<Pattern> = rootfs.secrets.iter().filter_map(moved).collect();
    rootfs.secrets.extend(secrets.iter().cloned());
    let holds_home = home.is_some_and(|home| home.starts_with(place));
    let moved_request = |request: &PathRequest| {
        let follows = match request.access {
            Access::Hide => true,
            Access::Toolchain => !holds_home,
            _ => false,
        };
        let path = moved(&request.path).filter(|_| follows)?;
        Some(PathRequest { path, access: request.access, origin: Origin::Profile })
    };
    let requests: Vec<PathRequest> = rootfs.requests.iter().filter_map(moved_request).collect();
    // Of two requests for one place the later holds: what is hidden stays so.
    let (shown, hidden): (Vec<_>, Vec<_>) =
        requests.into_iter().partition(|request| request.access == Access::Toolchain);
    rootfs.requests.splice(0..0, shown);
    rootfs.requests.extend(hidden);
    secrets
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::Library;
    use crate::profile::library::Reference;

    fn host(path: &str) -> HostPath {
        HostPath::new(path).unwrap()
    }

    /// A built-in profile's tree without and with where one variable leads: what was added.
    fn added(profile: &str, variable: &str, value: &str) -> (Vec<String>, Vec<String>) {
        let reference = Reference::Name(profile.to_owned());
        let wanted = Library::new(None).resolve(&reference).unwrap().settings.finish();
        let (home, mut followed) = (host("/home/al"), wanted.rootfs.clone());
        let places = |name: &str| if name == variable { vec![host(value)] } else { Vec::new() };
        let known = Known { places: &places, real: &|_| None };
        follow(&wanted.moved, Some(&home), &known, &mut followed);
        let named = |secret: &Pattern| {
            let secret = secret.resolve(None, None);
            followed
                .moved
                .iter()
                .any(|m| m.variable == variable.into() && Some(&m.place) == secret.as_ref())
        };
        let moved: Vec<&Pattern> =
            followed.secrets.iter().filter(|one| !wanted.rootfs.secrets.contains(one)).collect();
        assert!(moved.into_iter().all(named), "{profile}: {variable}");
        let secrets = followed.secrets.iter().filter(|one| !wanted.rootfs.secrets.contains(one));
        let requests = followed.requests.iter().filter(|one| !wanted.rootfs.requests.contains(one));
        (
            secrets.map(ToString::to_string).collect(),
            requests.map(|one| format!("{:?} {}", one.access, one.path)).collect(),
        )
    }

    #[test]
    fn what_is_said_of_the_usual_place_holds_where_a_variable_leads() {
        let (secrets, requests) = added("default", "CARGO_HOME", "/opt/c");
        assert_eq!(secrets, ["/opt/c/credentials", "/opt/c/credentials.toml"]);
        assert!(requests.contains(&"Toolchain /opt/c/registry".to_owned()), "{requests:?}");
        let (secrets, _) = added("default", "XDG_CONFIG_HOME", "/x");
        for place in ["/x/gh", "/x/gcloud", "/x/git/credentials", "/x/systemd"] {
            assert!(secrets.contains(&place.to_owned()), "{place} in {secrets:?}");
        }
        let (_, requests) = added("agent", "XDG_CONFIG_HOME", "/x");
        assert!(requests.contains(&"Hide /x/fish".to_owned()), "{requests:?}");
        let (secrets, _) = added("default", "CLAUDE_CONFIG_DIR", "/c");
        assert_eq!(secrets, ["/c/.credentials.json", "/c/.claude.json"]);
    }

    #[test]
    fn all_of_a_place_is_secret_where_the_usual_one_is_in_a_secret() {
        for (profile, variable) in
            [("default", "KUBECONFIG"), ("strict", "KUBECONFIG"), ("agent", "GNUPGHOME")]
        {
            assert_eq!(added(profile, variable, "/k/c"), (vec!["/k/c".to_owned()], Vec::new()));
        }
    }

    #[test]
    fn nothing_is_added_for_the_usual_place_and_for_the_root() {
        let nothing = (Vec::new(), Vec::new());
        assert_eq!(added("agent", "XDG_CONFIG_HOME", "/home/al/.config"), nothing);
        assert_eq!(added("default", "GNUPGHOME", "/"), nothing);
    }

    #[test]
    fn a_home_is_no_toolchain() {
        for place in ["/home/al", "/home"] {
            let (secrets, requests) = added("agent", "CARGO_HOME", place);
            assert_eq!((secrets.len(), requests.len()), (2, 0), "{requests:?}");
        }
    }

    #[test]
    fn every_entry_of_the_built_in_profiles_moves_something() {
        for profile in ["default", "strict", "build", "agent"] {
            let reference = Reference::Name(profile.to_owned());
            let wanted = Library::new(None).resolve(&reference).unwrap().settings.finish();
            for entry in &wanted.moved {
                let name = parts(entry).unwrap().0;
                let (secrets, requests) = added(profile, name, "/elsewhere");
                // What an agent's own settings are is no secret for it.
                assert!(secrets.len() + requests.len() > 0, "{profile}: {entry}");
            }
        }
    }

    #[test]
    fn an_entry_is_a_variable_and_a_place_below_the_home() {
        for good in ["A=~/.a", "A_1/b/c=~/.a/b", "a=~/x y"] {
            assert_eq!(check_moved(good), Ok(()), "{good}");
        }
        for bad in [
            "", "A", "A=", "=~/a", "A=/a", "A=~", "A=./a", "1A=~/a", "A=~/*", "A/..=~/a",
            "A=~/../b",
        ] {
            assert_eq!(check_moved(bad), Err(ValueError::NotMoved), "{bad}");
        }
    }
}
