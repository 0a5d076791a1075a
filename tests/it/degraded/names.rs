//! Files of name servers that are not where one expects.

use super::then_as_user;
use crate::support::World;

/// Mounted from a place that is private, as some container engines and test beds do.
const MOUNTED: &str = "mount -t tmpfs none /mnt; echo nameserver 192.0.2.7 >/mnt/names; \
                       mount --bind /mnt/names /etc/resolv.conf";

/// A link into a place that is hidden by default, as in WSL.
const LINKED: &str = "mount -t tmpfs none /media; cp -a /etc /media 2>/dev/null || true; mount --bind /media/etc /etc; \
                      umount -l /media; mount -t tmpfs none /mnt; echo nameserver 192.0.2.7 >/mnt/names; \
                      rm -f /etc/resolv.conf; ln -s /mnt/names /etc/resolv.conf";

#[test]
fn a_payload_with_a_network_is_told_its_name_server_wherever_that_file_is() {
    let world = World::new();
    let look = "cat /etc/resolv.conf; ls /mnt";
    for host in [MOUNTED, LINKED] {
        let run = |flags: &[&str]| {
            let bryo = world.bryo(["run", "--rm", "-w", "/"]).args(flags);
            bryo.under(then_as_user(host)).run(look)
        };
        let outside = world.program("/bin/sh", ["-c", look]).under(then_as_user(host)).ends();
        outside.succeeds().stdout_is("nameserver 192.0.2.7\nnames\n");
        let user = run(&["--network", "user"]).stdout();
        assert!(user.starts_with("nameserver 10.0.2.3\n"), "{host}: {user}");
        let hosts = run(&["--network", "host"]).stdout();
        assert!(hosts.starts_with("nameserver 192.0.2.7\n"), "{host}: {hosts}");
        // Nobody to ask: the place stays hidden.
        assert_eq!(run(&[]).stdout(), "", "{host}");
        // What was said of the file itself holds.
        let hidden =
            run(&["--network", "user", "--hide", "/mnt/names", "--hide", "/etc/resolv.conf"]);
        assert!(!hidden.stdout().contains("nameserver"), "{host}: {hidden}");
    }
}
