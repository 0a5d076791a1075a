//! Entries into sandboxes made from hand-made plans.

use super::*;
use crate::launch::entry::enter as begin;
use crate::plan::entry::{Entry, plan_entry};

/// What an entry prints, and the last word of the process that entered.
fn enter(
    plan: &Plan,
    host: &Host<'_>,
    running: &Running,
    entry: &Entry,
) -> Result<(String, FromSandbox), LaunchError> {
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    let null: std::os::fd::OwnedFd = std::fs::File::open("/dev/null").unwrap().into();
    let stdio = [null, write.try_clone().unwrap(), write];
    let plan = plan_entry(plan, entry).unwrap();
    let namespaces = running.namespaces.as_ref().unwrap();
    let mut entering = begin(plan, host, namespaces, &stdio, None).unwrap();
    drop(stdio);
    let entered = loop {
        match entering.go_on() {
            Ok(true) => break entering.into_running(),
            Ok(false) => {}
            Err(error) => return Err(entering.give_up(error)),
        }
    };
    let mut printed = String::new();
    std::fs::File::from(read).read_to_string(&mut printed).unwrap();
    let Heard::Message(last, _) = hear(&entered.control).unwrap() else { panic!("no last word") };
    pidfd::wait(&entered.pidfd).unwrap();
    Ok((printed, last))
}

fn entry(argv: &[&str]) -> Entry {
    Entry {
        argv: argv.iter().map(|text| Text::from((*text).to_owned())).collect(),
        environment: vec![EnvironmentVariable { name: "B".into(), value: "c".into() }],
        workdir: None,
        user: None,
        stdio: [StdioPlan::Keep; 3],
        pty: None,
        errand: None,
    }
}

#[test]
fn an_entry_is_confined_as_the_payload_and_sees_it() {
    alone(module_path!(), "an_entry_is_confined_as_the_payload_and_sees_it", || {
        ordinary_user();
        let plan = plan(&["sh", "-c", "echo up; exec sleep 1000"]);
        let layers = LayerDirectories::default();
        let host = filtered(&layers);
        let mut running = launch(&plan, &host, |_| Ok(()), || ()).unwrap();
        let mut up = [0; 3];
        let mut output = std::fs::File::from(running.relays.remove(0).end);
        output.read_exact(&mut up).unwrap();
        let status =
            "grep -hE '^(NoNewPrivs|CapEff|CapBnd|Seccomp|Seccomp_filters):' /proc/$p/status";
        let script = format!(
            "echo $A $B; pwd; hostname; for p in self 2; do {status}; done; cat /proc/2/comm; \
             ls /proc/self/fd; touch /usr/x 2>&1; ls -d /home 2>&1; kill -9 2; exec sleep 1000"
        );
        let (printed, last) =
            enter(&plan, &host, &running, &entry(&["sh", "-c", &script])).unwrap();
        // The signal of the entry has ended the payload, and that whatever else is inside.
        assert_eq!(last, FromSandbox::Killed { signal: 9 }, "{printed}");
        let mut lines: Vec<&str> = printed.lines().collect();
        for line in ["b c", "/tmp", "moss", "sleep"] {
            assert!(lines.contains(&line), "no `{line}` in:\n{printed}");
        }
        assert!(!lines.contains(&"4"), "a descriptor was inherited:\n{printed}");
        assert!(
            printed.contains("/usr/x") && printed.contains("cannot access '/home'"),
            "{printed}"
        );
        // Each line of status twice: once for the entry, once for the payload.
        lines.retain(|line| line.starts_with(['N', 'C', 'S']));
        let (own, payload) = lines.split_at(lines.len() / 2);
        assert_eq!(own, payload, "{printed}");
        assert_eq!(own.len(), 5, "{printed}");
        let Heard::Message(last, _) = hear(&running.control).unwrap() else { panic!("no word") };
        assert_eq!(last, FromSandbox::Killed { signal: 9 });
        pidfd::wait(&running.pidfd).unwrap();
    });
}

#[test]
fn an_entry_that_fails_says_why_and_leaves_the_sandbox_alone() {
    alone(module_path!(), "an_entry_that_fails_says_why_and_leaves_the_sandbox_alone", || {
        ordinary_user();
        let plan = plan(&["sleep", "1000"]);
        let running = start(&plan).unwrap();
        let layers = LayerDirectories::default();
        let host = filtered(&layers);
        let missing = enter(&plan, &host, &running, &entry(&["no-such-program"]));
        assert!(matches!(missing, Err(LaunchError::NotFound(_))), "{missing:?}");
        let nowhere = Entry { workdir: Some(at("/no/where")), ..entry(&["true"]) };
        let nowhere = enter(&plan, &host, &running, &nowhere);
        assert!(matches!(nowhere, Err(LaunchError::Workdir { .. })), "{nowhere:?}");
        let (_, last) = enter(&plan, &host, &running, &entry(&["true"])).unwrap();
        assert_eq!(last, FromSandbox::Exited { code: 0 });
        pidfd::send_signal(&running.pidfd, crate::sys::signal::SignalNumber::KILL).unwrap();
        pidfd::wait(&running.pidfd).unwrap();
        assert_eq!(pidfd::wait_any(pidfd::Changes::Ended), Err(Errno::ECHILD));
    });
}

#[test]
fn an_entry_ends_with_whoever_asked_for_it() {
    alone(module_path!(), "an_entry_ends_with_whoever_asked_for_it", || {
        ordinary_user();
        let plan = plan(&["sleep", "1000"]);
        let running = start(&plan).unwrap();
        let layers = LayerDirectories::default();
        let host = filtered(&layers);
        let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
        let null: std::os::fd::OwnedFd = std::fs::File::open("/dev/null").unwrap().into();
        let stdio = [null, write.try_clone().unwrap(), write];
        // One that has put away the signal it would be killed with.
        let entry = entry(&[
            "python3",
            "-c",
            "import ctypes, time; ctypes.CDLL(None).prctl(1, 0); print(1, flush=True); time.sleep(1000)",
        ]);
        let plan = plan_entry(&plan, &entry).unwrap();
        let namespaces = running.namespaces.as_ref().unwrap();
        let mut entering = begin(plan, &host, namespaces, &stdio, None).unwrap();
        drop(stdio);
        while !entering.go_on().unwrap() {}
        let entered = entering.into_running();
        let mut output = std::fs::File::from(read);
        output.read_exact(&mut [0; 2]).unwrap();
        drop(entered.control);
        pidfd::wait(&entered.pidfd).unwrap();
        // The end of file: nobody holds the pipe any more.
        assert_eq!(output.read(&mut [0; 1]).unwrap(), 0);
        pidfd::send_signal(&running.pidfd, crate::sys::signal::SignalNumber::KILL).unwrap();
        pidfd::wait(&running.pidfd).unwrap();
    });
}
