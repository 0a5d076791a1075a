//! Subordinate ids of the caller, and the helpers that map them.
//!
//! # Theory of operation
//! `/etc/subuid` and `/etc/subgid` name ranges by login or by user id. Where `nsswitch.conf` sends
//! `subid` elsewhere (LDAP, SSSD), `getsubids` knows; it is run only there. Ranges are kept as they are
//! found: which of them can be mapped together is for the planner.

use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use crate::plan::facts::{Account, Caller, Helper, IdRange, Subids};
use crate::plan::step::IdKind;

use super::HostError;
use super::bounded::{self, FILE, SMALL};
use super::fuse::find_program;
use super::output::{Bounds, output};
use super::passwd;
use super::resolve::Resolver;
use super::status::ProcessStatus;

/// How long a name service may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(3);
/// The lowest subordinate id, as in the `login.defs` of every distribution.
const FIRST_FREE: u64 = 100_000;
/// Number of `CAP_SETGID`.
const SETGID: u8 = 6;
/// Number of `CAP_SETUID`.
const SETUID: u8 = 7;

/// Ranges and helpers.
pub(super) fn probe(
    caller: &Caller,
    account: &Account,
    status: &ProcessStatus,
    resolver: &mut Resolver,
) -> Result<Subids, HostError> {
    let name = account.name.as_ref().map_or(&b""[..], |name| name.as_bytes());
    let (mut uids, mut gids) = (Vec::new(), Vec::new());
    if asks_name_service()? && !name.is_empty() {
        uids = ask(IdKind::User, name, resolver);
        gids = ask(IdKind::Group, name, resolver);
    }
    if uids.is_empty() {
        uids = read("/etc/subuid", name, caller.uid)?;
    }
    if gids.is_empty() {
        gids = read("/etc/subgid", name, caller.uid)?;
    }
    Ok(Subids {
        uids,
        gids,
        newuidmap: probe_helper("newuidmap", SETUID, status, resolver),
        newgidmap: probe_helper("newgidmap", SETGID, status, resolver),
    })
}

fn read(path: &str, name: &[u8], uid: u32) -> Result<Vec<IdRange>, HostError> {
    let file = bounded::read_optional(path, FILE)?.unwrap_or_default();
    Ok(parse_ranges(&file, name, uid))
}

/// `NAME:FIRST:COUNT` lines of one account, by name or by number, each range once. Lines of others and
/// lines that make no sense are passed over, as the helpers do.
pub fn parse_ranges(file: &[u8], name: &[u8], uid: u32) -> Vec<IdRange> {
    let number = uid.to_string();
    let mut found = Vec::new();
    for line in file.split(|b| *b == b'\n') {
        let fields: Vec<&[u8]> = line.splitn(4, |b| *b == b':').collect();
        let [owner, first, count] = fields[..] else { continue };
        if owner.is_empty() || owner != name && owner != number.as_bytes() {
            continue;
        }
        if let Some(range) = range(first, count)
            && !found.contains(&range)
        {
            found.push(range);
        }
    }
    found
}

/// A range that has at least one id and ends where ids do.
fn range(first: &[u8], count: &[u8]) -> Option<IdRange> {
    let (first, count) = (passwd::id(first)?, passwd::id(count)?);
    (count > 0 && first.checked_add(count).is_some()).then_some(IdRange { first, count })
}

/// Where the last range of anybody ends in both files, [`FIRST_FREE`] at least: the next one can begin
/// there.
pub fn first_free() -> u64 {
    let ends = ["/etc/subuid", "/etc/subgid"].into_iter().map(|path| {
        let file = bounded::read_optional(path, FILE).ok().flatten().unwrap_or_default();
        end_of_ranges(&file)
    });
    ends.fold(FIRST_FREE, u64::max)
}

fn end_of_ranges(file: &[u8]) -> u64 {
    let ends = file.split(|b| *b == b'\n').filter_map(|line| {
        let fields: Vec<&[u8]> = line.splitn(4, |b| *b == b':').collect();
        let [_, first, count] = fields[..] else { return None };
        range(first, count).map(|range| u64::from(range.first) + u64::from(range.count))
    });
    ends.max().unwrap_or(0)
}

/// Whether `nsswitch.conf` sends `subid` to more than the files.
fn asks_name_service() -> Result<bool, HostError> {
    let file = bounded::read_optional("/etc/nsswitch.conf", SMALL)?.unwrap_or_default();
    Ok(names_a_service(&file))
}

fn names_a_service(nsswitch: &[u8]) -> bool {
    nsswitch.split(|b| *b == b'\n').any(|line| {
        let line = line.split(|b| *b == b'#').next().unwrap_or_default().trim_ascii();
        line.strip_prefix(b"subid:").is_some_and(|sources| {
            sources.split(u8::is_ascii_whitespace).any(|s| !s.is_empty() && s != b"files")
        })
    })
}

/// Runs `getsubids`; nothing when it is not installed, fails, says too much or takes too long: the
/// files are read then.
fn ask(kind: IdKind, name: &[u8], resolver: &mut Resolver) -> Vec<IdRange> {
    use std::os::unix::ffi::OsStrExt;
    // A name that would be read as a flag is nobody's.
    let program = find_program("getsubids", resolver).filter(|_| !name.starts_with(b"-"));
    let Some((program, _)) = program else { return Vec::new() };
    let mut command = Command::new(program.as_path());
    if kind == IdKind::Group {
        command.arg("-g");
    }
    command.arg(std::ffi::OsStr::from_bytes(name));
    command.env_clear().stdin(Stdio::null()).stderr(Stdio::null()).stdout(Stdio::piped());
    parse_getsubids(&output_of(&mut command).unwrap_or_default())
}

/// What a program prints within [`PATIENCE`], if it succeeds.
pub(super) fn output_of(command: &mut Command) -> Option<Vec<u8>> {
    let (status, output) = answer_of(command)?;
    status.success().then_some(output)
}

/// How a program ended that did within [`PATIENCE`], and what it printed.
pub(super) fn answer_of(command: &mut Command) -> Option<(ExitStatus, Vec<u8>)> {
    output(command, Bounds { patience: PATIENCE, most: SMALL }).ok()
}

/// `INDEX: NAME FIRST COUNT` lines.
pub fn parse_getsubids(output: &[u8]) -> Vec<IdRange> {
    output
        .split(|b| *b == b'\n')
        .filter_map(|line| {
            let words: Vec<&[u8]> =
                line.split(u8::is_ascii_whitespace).filter(|w| !w.is_empty()).collect();
            let [_, _, first, count] = words[..] else { return None };
            range(first, count)
        })
        .collect()
}

/// Whether a helper is there and has the privilege it is for.
fn probe_helper(
    name: &str,
    capability: u8,
    status: &ProcessStatus,
    resolver: &mut Resolver,
) -> Helper {
    let Some((path, file)) = find_program(name, resolver) else { return Helper::Missing };
    let set_user_id = file.uid == 0 && file.mode & 0o4000 != 0;
    let nosuid = rustix::fs::statvfs(path.as_path())
        .is_ok_and(|fs| fs.f_flag.contains(rustix::fs::StatVfsMountFlags::NOSUID));
    let capable = || {
        let mut value = [0; 64];
        rustix::fs::getxattr(path.as_path(), "security.capability", &mut value)
            .is_ok_and(|length| grants(&value[..length], capability))
    };
    if !nosuid && !status.no_new_privs && (set_user_id || capable()) {
        Helper::Ready(path)
    } else {
        Helper::Unprivileged(path)
    }
}

/// Whether a `security.capability` value gives a program this capability, effective at once.
///
/// `struct vfs_cap_data`: a little-endian word with the revision in its upper byte and the effective
/// flag in its lowest bit, then permitted and inheritable sets in pairs of words. Revision 3 ends
/// with the user id of the namespace's root, which the kernel translates for whoever asks.
pub fn grants(value: &[u8], capability: u8) -> bool {
    let word = |index: usize| {
        let bytes = value.get(index * 4..index * 4 + 4)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?))
    };
    let Some(magic) = word(0) else { return false };
    let words = match (magic >> 24, value.len()) {
        (1, 12) => 1,
        (2, 20) | (3, 24) => 2,
        _ => return false,
    };
    let set = usize::from(capability / 32);
    let permitted = (set < words).then(|| word(1 + 2 * set)).flatten().unwrap_or(0);
    magic & 1 == 1 && permitted & 1 << (capability % 32) != 0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ranges(file: &str) -> Vec<(u32, u32)> {
        parse_ranges(file.as_bytes(), b"al", 1000).iter().map(|r| (r.first, r.count)).collect()
    }

    #[test]
    fn ranges_are_found_by_name_and_by_number_each_once() {
        let file = "bo:1:1\nal:100000:65536\n1000:300000:10\nal:100000:65536\n10001:5:5\n";
        assert_eq!(ranges(file), [(100_000, 65_536), (300_000, 10)]);
    }

    #[test]
    fn overlapping_ranges_are_kept_as_they_are_for_the_planner_to_refuse() {
        assert_eq!(ranges("al:100:50\nal:120:50\n"), [(100, 50), (120, 50)]);
    }

    #[test]
    fn lines_that_make_no_sense_are_passed_over() {
        let file = "al:5\nal:5:0\nal::9\nal:4294967290:10\nal:-1:5\nal:1:2:3\n:1:2\n al:1:2\n\
                    al:0x10:5\nal:7:4294967288";
        assert_eq!(ranges(file), [(7, 4_294_967_288)]);
    }

    #[test]
    fn an_account_without_a_name_has_no_lines_without_one() {
        assert_eq!(parse_ranges(b":1:2\n1000:3:4\n", b"", 1000), [IdRange { first: 3, count: 4 }]);
    }

    #[test]
    fn the_next_range_begins_behind_all_others() {
        assert_eq!(end_of_ranges(b"a:100000:65536\nb:300000:10\nc:9:x\nd:200000:1\n"), 300_010);
        assert_eq!(end_of_ranges(b""), 0);
        assert!(first_free() >= FIRST_FREE);
    }

    #[test]
    fn the_answer_of_getsubids_is_read() {
        let output = b"0: al 100000 65536\n1: al 300000 1\nerror: something\n0: al x 1\n";
        let found = parse_getsubids(output);
        assert_eq!(
            found,
            [IdRange { first: 100_000, count: 65_536 }, IdRange { first: 300_000, count: 1 }]
        );
    }

    #[test]
    fn only_a_source_beside_the_files_is_worth_a_process() {
        assert!(names_a_service(b"passwd: files\nsubid: sss\n"));
        assert!(names_a_service(b"subid:\tfiles sss # x\n"));
        for no in [&b"subid: files\n"[..], b"#subid: sss\n", b"passwd: sss\n", b"subid:\n"] {
            assert!(!names_a_service(no));
        }
    }

    #[test]
    fn a_file_capability_is_read_in_each_revision() {
        let value = |magic: u32, words: &[u32]| -> Vec<u8> {
            std::iter::once(&magic).chain(words).flat_map(|w| w.to_le_bytes()).collect()
        };
        let setuid = 1 << SETUID;
        assert!(grants(&value(0x0100_0001, &[setuid, 0]), SETUID));
        assert!(grants(&value(0x0200_0001, &[setuid, 0, 0, 0]), SETUID));
        assert!(grants(&value(0x0300_0001, &[setuid, 0, 0, 0, 0]), SETUID));
        assert!(!grants(&value(0x0200_0001, &[setuid, 0, 0, 0]), SETGID));
        // Not effective, only inheritable, cut short, of an unknown revision.
        assert!(!grants(&value(0x0200_0000, &[setuid, 0, 0, 0]), SETUID));
        assert!(!grants(&value(0x0200_0001, &[0, setuid, 0, 0]), SETUID));
        assert!(!grants(&value(0x0200_0001, &[setuid, 0]), SETUID));
        assert!(!grants(&value(0x0400_0001, &[setuid, 0, 0, 0]), SETUID));
        assert!(!grants(&value(0x0100_0001, &[u32::MAX, 0]), 40));
        assert!(grants(&value(0x0200_0001, &[0, 0, 1 << 8, 0]), 40));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            parse_ranges(&bytes, b"al", 1000);
            parse_getsubids(&bytes);
            grants(&bytes, SETUID);
            names_a_service(&bytes);
        }

        #[test]
        fn every_range_ends_where_ids_do(file in "(al:[0-9]{1,10}:[0-9]{1,10}\n){0,5}") {
            for range in parse_ranges(file.as_bytes(), b"al", 1000) {
                prop_assert!(range.count > 0);
                prop_assert!(range.first.checked_add(range.count).is_some());
            }
        }
    }
}
