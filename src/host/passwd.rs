//! Names for ids: the caller's account, and the homes of others.
//!
//! # Decisions
//! - The files first. Only an id they do not name is asked of `getent(1)`, which asks the directory
//!   services of `nsswitch.conf` for us: they are libraries that glibc loads, and bryo is linked
//!   statically. On a machine with local accounts nothing of that is touched.
//! - The homes of others come from the file alone: a directory service is not walked through.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Stdio};
use std::rc::Rc;

use foldhash::{HashMap, HashMapExt as _};

use crate::plan::facts::{Account, Caller};
use crate::spec::{HostPath, SandboxPath, Text};

use super::HostError;
use super::bounded::{self, FILE};
use super::fuse::find_program;
use super::resolve::{Last, Resolver};
use super::subid::answer_of;

const PASSWD: &str = "/etc/passwd";
pub(super) const GROUP: &str = "/etc/group";

/// One line of passwd(5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct User<'a> {
    /// Login name.
    pub(super) name: &'a [u8],
    /// User id.
    pub(super) uid: u32,
    /// Its own group; none where the line has none.
    pub(super) gid: Option<u32>,
    /// Home directory.
    pub(super) home: &'a [u8],
    /// Login shell.
    pub(super) shell: &'a [u8],
}

/// One line of group(5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Group<'a> {
    /// Its name.
    pub(super) name: &'a [u8],
    /// Group id.
    pub(super) gid: u32,
}

/// The lines that are accounts; others (comments, NIS marks, garbage) are passed over.
pub(super) fn parse_users(passwd: &[u8]) -> impl Iterator<Item = User<'_>> {
    passwd.split(|b| *b == b'\n').filter_map(|line| {
        let fields: [&[u8]; 7] = fields(line)?;
        let [name, _, uid, gid, _, home, shell] = fields;
        Some(User { name: name_of(name)?, uid: id(uid)?, gid: id(gid), home, shell })
    })
}

/// The lines that are groups.
pub(super) fn parse_groups(group: &[u8]) -> impl Iterator<Item = Group<'_>> {
    group.split(|b| *b == b'\n').filter_map(|line| {
        let fields: [&[u8]; 4] = fields(line)?;
        let [name, _, gid, _] = fields;
        Some(Group { name: name_of(name)?, gid: id(gid)? })
    })
}

fn fields<const N: usize>(line: &[u8]) -> Option<[&[u8]; N]> {
    let mut fields: [&[u8]; N] = [&[]; N];
    let mut found = line.split(|b| *b == b':');
    for field in &mut fields {
        *field = found.next()?;
    }
    found.next().is_none().then_some(fields)
}

fn name_of(name: &[u8]) -> Option<&[u8]> {
    (!name.is_empty() && !matches!(name[0], b'+' | b'-' | b'#')).then_some(name)
}

/// A decimal id; the last one means nobody to the kernel.
pub(super) fn id(field: &[u8]) -> Option<u32> {
    let digits = std::str::from_utf8(field).ok().filter(|t| t.bytes().all(|b| b.is_ascii_digit()));
    digits?.parse().ok().filter(|id| *id != u32::MAX)
}

fn text(bytes: &[u8]) -> Text {
    OsStr::from_bytes(bytes).to_owned().into()
}

/// The text of `/etc/passwd`; empty when there is none.
pub(super) fn read_passwd() -> Result<Vec<u8>, HostError> {
    Ok(bounded::read_optional(PASSWD, FILE)?.unwrap_or_default())
}

/// What a directory service says of the caller, asked once.
#[derive(Debug, Default)]
pub(super) struct NameService(Option<Answer>);

/// An answer; none where the service failed or took too long.
type Answer = Option<Rc<[u8]>>;

/// The status of getent(1) for a name that nobody knows.
const UNKNOWN: i32 = 2;

impl NameService {
    /// The caller's line where the file has none; nothing where nobody knows him, or the service does not say.
    pub(super) fn line(&mut self, passwd: &[u8], uid: u32, resolver: &mut Resolver) -> Rc<[u8]> {
        if parse_users(passwd).any(|user| user.uid == uid) {
            return Rc::default();
        }
        self.0.get_or_insert_with(|| ask(uid, resolver)).clone().unwrap_or_default()
    }

    /// Whether it was asked and did not say: the caller may have a home that nobody knows of.
    pub(super) fn is_silent(&self) -> bool {
        matches!(self.0, Some(None))
    }
}

fn ask(uid: u32, resolver: &mut Resolver) -> Answer {
    let Some((getent, _)) = find_program("getent", resolver) else { return Some(Rc::default()) };
    let mut command = Command::new(getent.as_path());
    command.args(["passwd", &uid.to_string()]);
    command.env_clear().stdin(Stdio::null()).stderr(Stdio::null()).stdout(Stdio::piped());
    let (status, output) = answer_of(&mut command)?;
    match status.code() {
        Some(0) => Some(output.into()),
        Some(UNKNOWN) => Some(Rc::default()),
        _ => None,
    }
}

/// How the caller and the ids inside are called; `own` is what [`NameService::line`] gave.
pub(super) fn probe_account(
    passwd: &[u8],
    own: &[u8],
    caller: &Caller,
    uid_inside: u32,
    gid_inside: u32,
) -> Result<Account, HostError> {
    let group = bounded::read_optional(GROUP, FILE)?.unwrap_or_default();
    let mut account = account(caller, passwd, &group);
    let user_is_named = caller.uid == uid_inside && account.name.is_some()
        || parse_users(passwd).any(|user| user.uid == uid_inside);
    let group_is_named = caller.gid == gid_inside && account.group.is_some()
        || parse_groups(&group).any(|group| group.gid == gid_inside);
    if account.name.is_none() {
        take(own, caller.uid, &mut account);
    }
    account.passwd_without = (!user_is_named).then(|| text(&without_nul(passwd.to_vec())));
    account.group_without = (!group_is_named).then(|| text(&without_nul(group)));
    Ok(account)
}

/// What the files say of the caller.
fn account(caller: &Caller, passwd: &[u8], group: &[u8]) -> Account {
    let user = parse_users(passwd).find(|user| user.uid == caller.uid);
    let group = parse_groups(group).find(|group| group.gid == caller.gid);
    Account {
        name: user.map(|user| text(user.name)),
        group: group.map(|group| text(group.name)),
        shell: user.and_then(|user| SandboxPath::new(OsStr::from_bytes(user.shell)).ok()),
        ..Account::default()
    }
}

/// What a directory service said.
fn take(own: &[u8], uid: u32, account: &mut Account) {
    if let Some(user) = parse_users(own).find(|user| user.uid == uid) {
        account.name = Some(text(user.name));
        account.shell = SandboxPath::new(OsStr::from_bytes(user.shell)).ok();
    }
}

/// A text of the plan holds no NUL; a passwd that does is broken there anyway.
fn without_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.retain(|b| *b != 0);
    bytes
}

/// Where the file, or a directory service, says that the caller is at home; not where that is `/`, which is said of
/// who has none.
pub(super) fn probe_home(
    uid: u32,
    names: &mut NameService,
    resolver: &mut Resolver,
) -> Option<OsString> {
    let passwd = read_passwd().ok()?;
    home_of(&passwd, uid).or_else(|| home_of(&names.line(&passwd, uid, resolver), uid))
}

fn home_of(passwd: &[u8], uid: u32) -> Option<OsString> {
    let user = parse_users(passwd).find(|user| user.uid == uid)?;
    (user.home != b"/").then(|| OsStr::from_bytes(user.home).to_owned())
}

/// The caller's own homes by passwd, links resolved, without `$HOME` and `/`: whoever sets `$HOME` to
/// something else, as services and `env -i` do, still has secrets in these.
pub(super) fn probe_own_homes(
    passwd: &[u8],
    own: &[u8],
    caller: &Caller,
    resolver: &mut Resolver,
) -> Vec<HostPath> {
    let mut homes = BTreeSet::new();
    let users = parse_users(passwd).chain(parse_users(own));
    for user in users.filter(|user| user.uid == caller.uid) {
        let Ok(named) = HostPath::new(OsStr::from_bytes(user.home)) else { continue };
        let home = resolver.resolve(&named, Last::Follow).real;
        if !home.is_root() && caller.home.as_ref() != Some(&home) {
            homes.insert(home);
        }
    }
    homes.into_iter().collect()
}

/// Homes of other accounts: directories that belong to the account whose home they are. Those beside
/// the caller's own are left out, as everything there is hidden.
pub(super) fn probe_other_homes(
    passwd: &[u8],
    caller: &Caller,
    resolver: &mut Resolver,
) -> Vec<HostPath> {
    let beside = caller.home.as_ref().and_then(HostPath::parent);
    let mut found = BTreeSet::new();
    // Many accounts of the system share `/bin` or `/nonexistent`.
    let mut asked = HashMap::new();
    // The caller's own is another's when `$HOME` names another: its secrets are looked for there.
    for user in parse_users(passwd).filter(|user| user.uid != 0) {
        let Ok(named) = HostPath::new(OsStr::from_bytes(user.home)) else { continue };
        if beside.is_some() && named.parent() == beside {
            continue;
        }
        let home = asked.entry(user.home).or_insert_with(|| resolver.resolve(&named, Last::Follow));
        let own = home.status.is_some_and(|status| status.uid == user.uid);
        let holds_caller = caller.home.as_ref().is_some_and(|path| path.starts_with(&home.real));
        // What holds the caller's home is hidden around it.
        if home.is_directory() && own && !holds_caller {
            found.insert(home.real.clone());
        }
    }
    found.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PASSWD_TEXT: &[u8] = b"root:x:0:0:root:/root:/bin/bash\n\
        # comment\n\
        +nis::::::\n\
        al:x:1000:1000:Al,,,:/home/al:/bin/zsh\n\
        bad:x:4294967296:1:a:/x:/y\n\
        worse:x:-1:1:a:/x:/y\n\
        short:x:5:5\n\
        twin:x:1000:1000::/home/twin:/bin/sh\n";

    #[test]
    fn only_lines_that_are_accounts_are_taken() {
        let names: Vec<&[u8]> = parse_users(PASSWD_TEXT).map(|user| user.name).collect();
        assert_eq!(names, [&b"root"[..], b"al", b"twin"]);
        let groups: Vec<u32> =
            parse_groups(b"a:x:5:m,n\n:x:6:\nb:x:x:\nc:x:7\nd:x:8:\n").map(|g| g.gid).collect();
        assert_eq!(groups, [5, 8]);
    }

    #[test]
    fn the_first_line_of_an_id_names_it() {
        let caller = Caller { uid: 1000, gid: 7, ..Caller::default() };
        let account = account(&caller, PASSWD_TEXT, b"wheel:x:7:\n");
        assert_eq!(account.name, Some("al".into()));
        assert_eq!(account.group, Some("wheel".into()));
        assert_eq!(account.shell, SandboxPath::new("/bin/zsh").ok());
        let nobody = Caller { uid: 4_000_000, ..Caller::default() };
        assert_eq!(super::account(&nobody, PASSWD_TEXT, b"").name, None);
    }

    #[test]
    fn a_home_is_that_of_the_first_line_and_never_the_root() {
        assert_eq!(home_of(PASSWD_TEXT, 1000), Some("/home/al".into()));
        assert_eq!(home_of(PASSWD_TEXT, 7), None);
        assert_eq!(home_of(b"d:x:7:7::/:/bin/sh\n", 7), None);
    }

    #[test]
    fn whom_the_file_does_not_name_has_the_name_and_the_homes_of_a_directory_service() {
        let line = b"far:x:77:7::/proc:/bin/far\nother:x:78:7::/sys:/bin/sh\n";
        let caller = Caller { uid: 77, ..Caller::default() };
        let account = probe_account(PASSWD_TEXT, line, &caller, 77, 7).unwrap();
        assert_eq!(account.name, Some("far".into()));
        assert_eq!(account.shell, SandboxPath::new("/bin/far").ok());
        let homes = |own| probe_own_homes(PASSWD_TEXT, own, &caller, &mut Resolver::default());
        assert_eq!(homes(&line[..]), [HostPath::new("/proc").unwrap()]);
        assert_eq!(homes(b""), []);
        // Nobody is asked about whom the file names.
        let mut names = NameService(Some(Some(line[..].into())));
        assert!(names.line(PASSWD_TEXT, 1000, &mut Resolver::default()).is_empty());
        assert_eq!(*names.line(PASSWD_TEXT, 77, &mut Resolver::default()), line[..]);
    }

    #[test]
    fn the_text_is_given_only_where_a_line_is_missing() {
        let caller = Caller::default();
        let account =
            probe_account(&read_passwd().unwrap(), b"", &caller, 3_999_999_999, 0).unwrap();
        assert!(account.passwd_without.is_some_and(|text| text.as_bytes().starts_with(b"root:")));
        assert_eq!(account.group_without, None);
        assert_eq!(account.name, Some("root".into()));
    }

    #[test]
    fn a_home_is_taken_when_it_belongs_to_its_account() {
        use std::fmt::Write as _;
        let dir = tempfile::tempdir().unwrap();
        let root = std::fs::canonicalize(dir.path()).unwrap();
        let own = rustix::process::geteuid().as_raw();
        let mut passwd = String::new();
        for (name, uid) in [("mine", own), ("theirs", own + 1)] {
            std::fs::create_dir(root.join(name)).unwrap();
            writeln!(passwd, "{name}:x:{uid}:1::{}/{name}:/bin/sh", root.display()).unwrap();
        }
        writeln!(passwd, "sync:x:{own}:1::/usr/bin:/bin/sync").unwrap();
        writeln!(passwd, "gone:x:{own}:1::{}/gone:/bin/sh", root.display()).unwrap();
        // As another user, to whom `mine` is somebody else's.
        let caller = Caller { uid: own + 5, ..Caller::default() };
        let found = probe_other_homes(passwd.as_bytes(), &caller, &mut Resolver::default());
        if own == 0 {
            // Root's homes are hidden by name.
            assert_eq!(found, []);
        } else {
            assert_eq!(found, [HostPath::new(root.join("mine")).unwrap()]);
        }
        // Beside the caller's own home nothing needs to be named.
        let home = HostPath::new(root.join("theirs")).ok();
        let neighbour = Caller { uid: own + 5, home, ..Caller::default() };
        assert_eq!(probe_other_homes(passwd.as_bytes(), &neighbour, &mut Resolver::default()), []);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            parse_users(&bytes).count();
            parse_groups(&bytes).count();
        }
    }
}
