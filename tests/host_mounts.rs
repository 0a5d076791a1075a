//! Mount tables of this kernel's, made in namespaces of their own: what the parser leaves is what a
//! path can lead to.
#![expect(
    clippy::unwrap_used,
    reason = "allow-unwrap-in-tests does not reach helper functions of integration tests"
)]

use std::process::Command;

use bryo::host::mountinfo::{self, Line};

/// The table after a shell, as root of a user and mount namespace, has mounted something below `$1`.
fn table_after(script: &str) -> (String, Vec<Line>) {
    let dir = tempfile::tempdir().unwrap();
    let root = std::fs::canonicalize(dir.path()).unwrap().to_str().unwrap().to_owned();
    let script = format!("set -e; cd \"$1\"; exec 3</proc/self/mountinfo; {script}\nexec cat <&3");
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", &script, "sh", &root])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    (root, mountinfo::parse(&output.stdout).unwrap())
}

/// The names below the test's own directory at which something is mounted, in the table's order.
fn below(script: &str) -> Vec<Vec<u8>> {
    let (root, lines) = table_after(script);
    let prefix = format!("{root}/").into_bytes();
    let names = lines.iter().filter_map(|line| line.mount.at.as_bytes().strip_prefix(&prefix[..]));
    names.map(<[u8]>::to_vec).collect()
}

#[test]
fn names_that_the_kernel_escapes_come_out_as_they_are() {
    let script = r#"
        for name in 'a b' 'back\slash' 'new
line' "tab	" '#' ; do mkdir "$name"; mount -t tmpfs none "$name"; done
        mkdir "$(printf 'x\377')"; mount -t tmpfs none "$(printf 'x\377')"
    "#;
    let expected: [&[u8]; 6] = [b"a b", b"back\\slash", b"new\nline", b"tab\t", b"#", b"x\xff"];
    assert_eq!(below(script), expected);
}

#[test]
fn a_mount_over_another_hides_it_and_what_is_below() {
    assert_eq!(below("mkdir a; mount -t tmpfs one a; mount -t tmpfs two a"), [b"a"]);
    let script = "mkdir -p a/b; mount -t tmpfs one a/b; mkdir a/b/c; mount -t tmpfs two a/b/c; \
                  mount -t tmpfs three a; mkdir a/d; mount -t tmpfs four a/d";
    assert_eq!(below(script), [&b"a"[..], b"a/d"]);
}

#[test]
fn the_kept_mount_is_the_one_a_path_leads_to() {
    let (root, lines) = table_after("mkdir a; mount -t tmpfs one a; mount -t tmpfs -o ro two a");
    let kept: Vec<_> =
        lines.iter().filter(|l| l.mount.at.as_bytes() == format!("{root}/a").as_bytes()).collect();
    assert_eq!(kept.len(), 1);
    assert!(kept[0].mount.read_only, "the lower of two was kept");
}

#[test]
fn a_bind_of_a_file_and_of_a_directory_say_what_of_their_file_system_they_show() {
    let (root, lines) =
        table_after("echo x >f; touch g; mkdir -p d/e h; mount --bind f g; mount --bind d/e h");
    let of = |name: &str| {
        let path = format!("{root}/{name}");
        lines.iter().find(|line| line.mount.at.as_bytes() == path.as_bytes()).unwrap()
    };
    assert!(of("g").root.as_bytes().ends_with(b"/f"));
    assert!(of("h").root.as_bytes().ends_with(b"/d/e"));
}
