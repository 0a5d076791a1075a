//! What a sandbox can take of the machine's memory without a process of its own.

use crate::support::World;

/// Bytes, and files, that the file systems at these places may hold.
const ROOM: &str = "stat -f -c '%b %S %c' /tmp /var/tmp /run /dev/shm";

fn rooms(text: &str) -> Vec<(u64, u64)> {
    let numbers = |line: &str| {
        let numbers: Vec<u64> = line.split(' ').map(|number| number.parse().unwrap()).collect();
        (numbers[0] * numbers[1], numbers[2])
    };
    text.lines().map(numbers).collect()
}

#[test]
fn private_file_systems_hold_half_of_the_memory_together() {
    let world = World::new();
    let info = rustix::system::sysinfo();
    let memory = u64::from(info.mem_unit) * info.totalram;
    let rooms = rooms(&world.sandbox().run(ROOM).succeeds().stdout());
    assert_eq!(rooms.len(), 4);
    for (bytes, files) in rooms {
        // Rounded up to a page.
        assert!((memory / 8..memory / 8 + 65536).contains(&bytes), "{bytes} of {memory}");
        assert!(files <= bytes / 4096 + 1, "a file takes memory too: {files}");
    }
}

#[test]
fn a_flag_says_what_they_hold_and_no_more_goes_in() {
    let world = World::new();
    let run = || world.sandbox().args(["--tmpfs", "/tmp:2m", "--shm-size", "1m"]);
    let rooms = rooms(&run().run(ROOM).succeeds().stdout());
    assert_eq!((rooms[0].0, rooms[3].0), (2 << 20, 1 << 20));
    let fill = "cat /dev/zero >/tmp/x; cat /dev/zero >/dev/shm/x; stat -c %s /tmp/x /dev/shm/x";
    run().run(&format!("({fill}) 2>/dev/null")).stdout_is("2097152\n1048576\n");
    // Empty files have no bytes, and take memory all the same.
    let many = "cd /tmp; n=0; while [ $n -lt 20 ]; do n=$((n+1)); mkdir $n; \
                seq -f $n/%g 1000 | xargs touch 2>/dev/null || break; done; echo $n";
    run().run(many).stdout_is("17\n");
}
