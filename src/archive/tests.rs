//! Archives of hostile and of ordinary making, against real directories.

#![expect(clippy::too_many_lines, reason = "each is one story")]

use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;

use proptest::prelude::*;

use super::write::BLOCK;
use super::*;
use crate::plan::errand::{Keep, Source, SourceKind};

/// Packs a path as `name`.
fn packed(path: &Path, name: &[u8], keep: Keep) -> (Vec<u8>, Told) {
    let (mut out, mut told) = (Vec::new(), Told::default());
    let found =
        resolve(path.as_os_str().as_encoded_bytes(), Start::Here(&Shared::default()), Last::Keep)
            .unwrap();
    pack(&found, name, keep, Archive::new(&mut out), &mut told).unwrap();
    (out, told)
}

/// Unpacks an archive from elsewhere into a directory.
fn unpacked(archive: &[u8], into: &Path) -> Result<Told, UnpackError> {
    let mut input = archive;
    let source = Source { kind: SourceKind::Stream, name: None };
    let found =
        resolve(into.as_os_str().as_encoded_bytes(), Start::Here(&Shared::default()), Last::Follow)
            .unwrap();
    let place = locate(found, &source)?;
    let mut told = Told::default();
    let mut reader = Reader::new(&mut input);
    unpack(&mut reader, None, place, (Keep::All, Owners::Ours), &mut told, &mut |_, _, _| ())?;
    Ok(told)
}

/// An archive of these members: kind, name, target, data.
fn archive(members: &[(Kind, &str, &str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut archive = Archive::new(&mut out);
    for (kind, name, target, data) in members {
        let entry = Entry {
            name: name.as_bytes(),
            kind: *kind,
            mode: 0o7755,
            owner: 0,
            group: 0,
            modified: 0,
            target: target.as_bytes(),
            attributes: &[],
        };
        archive.entry(&entry, data.len() as u64).unwrap();
        archive.data(data.as_bytes()).unwrap();
    }
    archive.finish().unwrap();
    out
}

#[test]
fn a_tree_comes_back_as_it_was() {
    let from = tempfile::tempdir().unwrap();
    let root = from.path().join("t");
    std::fs::create_dir_all(root.join("a/b")).unwrap();
    std::fs::write(root.join("a/f"), "text").unwrap();
    std::fs::hard_link(root.join("a/f"), root.join("a/again")).unwrap();
    symlink("/etc/passwd", root.join("a/link")).unwrap();
    let long = "n".repeat(200);
    std::fs::write(root.join(&long), "long").unwrap();
    let mut sparse = std::fs::File::create(root.join("sparse")).unwrap();
    sparse.set_len(8 << 20).unwrap();
    std::io::Seek::seek(&mut sparse, std::io::SeekFrom::Start(4 << 20)).unwrap();
    sparse.write_all(b"middle").unwrap();
    std::fs::set_permissions(root.join("a/b"), std::fs::Permissions::from_mode(0o500)).unwrap();
    std::fs::set_permissions(root.join("a/f"), std::fs::Permissions::from_mode(0o640)).unwrap();
    let (bytes, told) = packed(&root, b"t", Keep::All);
    assert!(told.left.is_empty(), "{told:?}");
    let to = tempfile::tempdir().unwrap();
    let told = unpacked(&bytes, to.path()).unwrap();
    assert!(told.left.is_empty(), "{told:?}");
    let came = to.path().join("t");
    assert_eq!(std::fs::read_to_string(came.join("a/f")).unwrap(), "text");
    let (file, again) =
        (came.join("a/f").metadata().unwrap(), came.join("a/again").metadata().unwrap());
    assert_eq!((file.ino(), file.mode() & 0o7777), (again.ino(), 0o640));
    assert_eq!(std::fs::read_link(came.join("a/link")).unwrap(), Path::new("/etc/passwd"));
    assert_eq!(std::fs::read_to_string(came.join(long)).unwrap(), "long");
    assert_eq!(came.join("a/b").metadata().unwrap().mode() & 0o7777, 0o500);
    assert_eq!(
        came.join("a/f").metadata().unwrap().modified().unwrap(),
        root.join("a/f").metadata().unwrap().modified().unwrap()
    );
    let sparse = came.join("sparse").metadata().unwrap();
    assert!(sparse.len() == 8 << 20 && sparse.blocks() * 512 < 1 << 20, "{}", sparse.blocks());
    let text = std::fs::read(came.join("sparse")).unwrap();
    assert_eq!(&text[4 << 20..(4 << 20) + 7], b"middle\0");
    // For whoever removes them.
    let full = std::fs::Permissions::from_mode(0o700);
    std::fs::set_permissions(root.join("a/b"), full.clone()).unwrap();
    std::fs::set_permissions(came.join("a/b"), full).unwrap();
}

#[test]
fn no_name_leads_elsewhere_and_no_link_is_followed() {
    let victim = tempfile::tempdir().unwrap();
    let secret = victim.path().join("secret");
    std::fs::write(&secret, "secret").unwrap();
    let outside = victim.path().to_str().unwrap();
    let dotted = format!("../{}/new", victim.path().file_name().unwrap().to_str().unwrap());
    let absolute = format!("{outside}/new");
    let hard = format!("d/link/{}", "secret");
    let cases: &[&[(Kind, &str, &str, &str)]] = &[
        &[(Kind::File, &dotted, "", "x")],
        &[(Kind::File, "a/../../x", "", "x")],
        &[(Kind::File, &absolute, "", "x")],
        &[(Kind::Link, "d", outside, ""), (Kind::File, "d/new", "", "x")],
        &[
            (Kind::Link, "d", outside, ""),
            (Kind::Directory, "d/", "", ""),
            (Kind::File, "d/new", "", "x"),
        ],
        &[
            (Kind::Link, "d", outside, ""),
            (Kind::HardLink, "h", "d/secret", ""),
            (Kind::File, "h", "", "x"),
        ],
        &[
            (Kind::Directory, "d/", "", ""),
            (Kind::Link, "d/link", outside, ""),
            (Kind::HardLink, "h", &hard, ""),
        ],
        &[(Kind::HardLink, "h", &absolute, "")],
        // A file that was there before is not one of the archive's.
        &[(Kind::HardLink, "h", "there", "")],
        &[(Kind::File, "there/x", "", "x")],
        &[(Kind::File, "full", "", "x")],
    ];
    for members in cases {
        let to = tempfile::tempdir().unwrap();
        std::fs::write(to.path().join("there"), "before").unwrap();
        std::fs::create_dir_all(to.path().join("full/of")).unwrap();
        let result = unpacked(&archive(members), to.path());
        assert!(result.is_err(), "{members:?}");
        assert_eq!(std::fs::read_dir(victim.path()).unwrap().count(), 1, "{members:?}");
        assert_eq!(std::fs::read_to_string(&secret).unwrap(), "secret");
        assert_eq!(std::fs::read_to_string(to.path().join("there")).unwrap(), "before");
        let names = std::fs::read_dir(to.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let is_ours = |name: &std::ffi::OsString| name.to_str().unwrap().starts_with(".bryo");
        assert!(!names.into_iter().any(|name| is_ours(&name)), "{members:?}");
    }
    // The control: the same members, without the way out, are unpacked.
    let to = tempfile::tempdir().unwrap();
    let fine = archive(&[
        (Kind::File, "./a//b/x", "", "1"),
        (Kind::File, "a/b/x", "", "2"),
        (Kind::HardLink, "h", "a/b/x", ""),
        (Kind::Link, "l", outside, ""),
        (Kind::File, "l", "", "a file now"),
    ]);
    unpacked(&fine, to.path()).unwrap();
    assert_eq!(std::fs::read_to_string(to.path().join("h")).unwrap(), "2");
    assert!(to.path().join("l").symlink_metadata().unwrap().is_file());
    assert_eq!(std::fs::read_dir(victim.path()).unwrap().count(), 1);
}

#[test]
fn set_id_bits_devices_and_pipes_are_told_and_not_made() {
    let to = tempfile::tempdir().unwrap();
    let mut bytes = archive(&[(Kind::File, "f", "", "x"), (Kind::Fifo, "p", "", "")]);
    // A character device, with its sum put right.
    let mut device = archive(&[(Kind::File, "null", "", "")])[..BLOCK].to_vec();
    device[156] = b'3';
    device[148..156].copy_from_slice(b"        ");
    let sum: u32 = device.iter().map(|byte| u32::from(*byte)).sum();
    device[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    device.extend_from_slice(&bytes);
    bytes = device;
    let told = unpacked(&bytes, to.path()).unwrap();
    let why: Vec<Why> = told.left.iter().map(|left| left.why).collect();
    assert_eq!(why, [Why::Device, Why::SetId, Why::NoFile]);
    assert_eq!(to.path().join("f").metadata().unwrap().mode() & 0o7777, 0o755);
    let names = std::fs::read_dir(to.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(names.collect::<Vec<_>>(), ["f"]);
}

#[test]
fn what_fails_leaves_nothing_new() {
    let above = tempfile::tempdir().unwrap();
    for kind in [SourceKind::File, SourceKind::Directory] {
        let members: &[(Kind, &str, &str, &str)] = match kind {
            SourceKind::File => &[(Kind::File, ".", "", "some text")],
            _ => &[(Kind::Directory, "./", "", ""), (Kind::File, "./f", "", "some text")],
        };
        let mut bytes = archive(members);
        bytes.truncate(bytes.len() - 3 * BLOCK + 4);
        let found = resolve(
            above.path().join("new").as_os_str().as_encoded_bytes(),
            Start::Here(&Shared::default()),
            Last::Follow,
        );
        let source = Source { kind, name: None };
        let place = locate(found.unwrap(), &source).unwrap();
        let mut input = bytes.as_slice();
        let mut reader = Reader::new(&mut input);
        let how = (Keep::Some, Owners::Ours);
        let result = unpack(&mut reader, None, place, how, &mut Told::default(), &mut |_, _, _| ());
        assert!(matches!(result, Err(UnpackError::Read(ReadError::CutOff))), "{result:?}");
        assert_eq!(std::fs::read_dir(above.path()).unwrap().count(), 0);
    }
}

#[test]
fn what_gnu_tar_writes_is_read() {
    let from = tempfile::tempdir().unwrap();
    let long = "d".repeat(90);
    std::fs::create_dir_all(from.path().join(&long).join(&long)).unwrap();
    std::fs::write(from.path().join(&long).join(&long).join("file"), "deep").unwrap();
    symlink("x".repeat(150), from.path().join("link")).unwrap();
    let sparse = std::fs::File::create(from.path().join("sparse")).unwrap();
    sparse.set_len(1 << 20).unwrap();
    for form in ["gnu", "pax", "ustar", "v7"] {
        let mut tar = std::process::Command::new("tar");
        tar.arg("-C").arg(from.path()).args(["--format", form, "-c"]);
        let names: &[&str] = match form {
            "gnu" | "ustar" => &[&long],
            "pax" => &["-S", "."],
            _ => &["sparse"],
        };
        let output = tar.args(names).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let to = tempfile::tempdir().unwrap();
        unpacked(&output.stdout, to.path()).unwrap_or_else(|error| panic!("{form}: {error}"));
        if form == "v7" || form == "pax" {
            assert_eq!(to.path().join("sparse").metadata().unwrap().len(), 1 << 20);
        }
        if form == "pax" {
            assert_eq!(to.path().join("link").read_link().unwrap().as_os_str().len(), 150);
        }
        if form != "v7" {
            let text = std::fs::read_to_string(to.path().join(&long).join(&long).join("file"));
            assert_eq!(text.unwrap(), "deep", "{form}");
        }
    }
}

/// Reads all members, and no more of one than it says that it has.
fn read_all(bytes: &[u8]) -> Result<Vec<Member>, ReadError> {
    let mut input = bytes;
    let mut reader = Reader::new(&mut input);
    let mut members = Vec::new();
    while let Some(member) = reader.next_member()? {
        let (mut scratch, mut read) = ([0; 1000], 0);
        loop {
            match reader.data(&mut scratch)? {
                0 => break,
                length => read += length as u64,
            }
        }
        assert!(read <= bytes.len() as u64 && (member.extents.is_some() || read == member.size));
        members.push(member);
    }
    Ok(members)
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        name in "[a-zß/]{1,300}", target in "[a-z/]{0,300}", size in 0_usize..2000,
        owner: u32, mode in 0_u32..0o10000, modified: u64, value in proptest::collection::vec(any::<u8>(), 0..50),
    ) {
        let attributes = [(b"user.x".to_vec(), value)];
        let entry = Entry {
            name: name.as_bytes(), kind: Kind::File, mode, owner, group: owner / 2, modified,
            target: target.as_bytes(), attributes: &attributes,
        };
        let mut out = Vec::new();
        let mut archive = Archive::new(&mut out);
        archive.entry(&entry, size as u64).unwrap();
        archive.data(&vec![7; size]).unwrap();
        archive.sparse(&entry, 1 << 40, &[(5, 10), (1 << 30, 3)]).unwrap();
        archive.data(&[1; 13]).unwrap();
        archive.finish().unwrap();
        let members = read_all(&out).unwrap();
        let seconds = i64::try_from(modified / 1_000_000_000).unwrap();
        let nanoseconds = u32::try_from(modified % 1_000_000_000).unwrap();
        prop_assert_eq!(members.len(), 2);
        for member in &members {
            prop_assert_eq!(&member.name, name.as_bytes());
            prop_assert_eq!(&member.target, target.as_bytes());
            prop_assert_eq!(member.owner, (owner, owner / 2));
            prop_assert_eq!((member.mode, member.modified), (mode, (seconds, nanoseconds)));
            prop_assert_eq!(&member.attributes[..], &attributes[..]);
        }
        prop_assert_eq!(members[1].size, 1 << 40);
        prop_assert_eq!(members[1].extents.as_deref(), Some(&[(5, 10), (1 << 30, 3)][..]));
    }

    #[test]
    fn garbage_is_refused_or_read_and_never_more(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..3000),
        flag in proptest::sample::select(&b"0125xgLKS"[..]), at in 0_usize..6,
    ) {
        // With a sum that is right, it gets further.
        let begin = at * BLOCK;
        if let Some(block) = bytes.get_mut(begin..begin + BLOCK) {
            block[100..156].fill(b'0');
            block[156] = flag;
            block[148..156].copy_from_slice(b"        ");
            let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
        drop(read_all(&bytes));
        drop(read_all(bytes.get(begin..).unwrap_or_default()));
    }
}
