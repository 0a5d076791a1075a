//! Laws that hold for random specs on a random host.
//!
//! # Theory of operation
//! `machine` is a small tree of files with mounts; it answers `needs` and `tree_needs` as `host` would, so
//! a fact that the planner reads and did not ask for shows. What a plan shows of every file is then
//! worked out twice in `sight`: by carrying the steps out on paper, and by asking the deepest rule at or
//! above the file. Neither uses the planner.

use bryo::plan::facts::Mount;
use bryo::plan::step::{FsStep, OverlayServer};
use bryo::plan::{Action, PlanError, check, plan};
use bryo::spec::group::Bound;
use bryo::spec::rootfs::{
    Access, HomeView, Origin, OverlayChoice, PathRequest, Pattern, Volume, VolumeMode, WorkdirView,
};
use bryo::spec::{Network, SandboxPath, Spec};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use toml::Table;

use super::machine::{ABSENT, DIRECTORIES, Host, host};
use super::sight::{Reach, expected, is_autofs, observed};

prop_compose! {
    fn hosts()(
        points in subsequence(DIRECTORIES.to_vec(), 0..5),
        types in prop::collection::vec(select(vec!["ext4", "nfs4", "autofs", "tmpfs"]), 5),
        home in select(vec!["/home/al", "/work", "/mnt/d", "/home/al/a"]),
        workdir in select(DIRECTORIES.to_vec()),
        fuse in any::<bool>(),
        kernel_overlay in prop::bool::weighted(0.9),
        store in select(vec!["/home/al/.local/bryo", "/var/tmp/bryo-1000", "/work/x/bryo"]),
    ) -> Host {
        let mut mounts = vec![mount(1, 0, "/", "ext4")];
        for (point, fs_type) in points.iter().zip(types) {
            let path = host(point);
            let above = mounts.iter().filter(|m: &&Mount| path.is_below(&m.at));
            let parent = above.max_by_key(|m| m.at.depth()).unwrap().id;
            let id = u64::try_from(mounts.len()).unwrap() + 1;
            mounts.push(mount(id, parent, point, fs_type));
        }
        let (home, workdir, store) = (host(home), host(workdir), host(store));
        Host { mounts, home, workdir, store, fuse, kernel_overlay }
    }
}

fn mount(id: u64, parent: u64, at: &str, fs_type: &str) -> Mount {
    let enterable = true;
    Mount { id, parent, at: host(at), fs_type: fs_type.into(), read_only: false, enterable }
}

fn places() -> impl Strategy<Value = &'static str> {
    select([&DIRECTORIES[..], &ABSENT[..], &["/home/al/a/f", "/work/f", "/opt/f"]].concat())
}

fn accesses() -> impl Strategy<Value = Access> {
    select(vec![
        Access::Read,
        Access::Write,
        Access::Cow,
        Access::Hide,
        Access::Tmpfs { size: None },
        Access::Tmpfs { size: Some(1 << 20) },
        Access::Toolchain,
    ])
}

prop_compose! {
    fn specs(base: Spec)(
        requests in prop::collection::vec((places(), accesses(), any::<bool>()), 0..5),
        volumes in prop::collection::vec((places(), places(), 0u8..3), 0..2),
        secrets in subsequence([&DIRECTORIES[..], &ABSENT[..], &["/home/al/a/f"]].concat(), 0..4),
        home in select(vec![HomeView::Cow, HomeView::Only, HomeView::Empty]),
        workdir in select(vec![WorkdirView::Cow, WorkdirView::Read]),
        network in select(vec![Network::None, Network::Host]),
        overlay in select(vec![OverlayChoice::Auto, OverlayChoice::Auto, OverlayChoice::Fuse]),
        read_only in prop::bool::weighted(0.2),
        disk in prop::option::weighted(0.3, 1u64 << 16..1 << 30),
    ) -> Spec {
        let mut spec = base.clone();
        spec.network = network;
        spec.rootfs.requests = requests.into_iter().map(|(path, access, by_flag)| PathRequest {
            path: Pattern::new(path).unwrap(),
            access,
            origin: if by_flag { Origin::Flag } else { Origin::Profile },
        }).collect();
        spec.rootfs.volumes = volumes.into_iter().map(|(source, target, mode)| Volume {
            source: host(source),
            target: SandboxPath::new(target).unwrap(),
            mode: [VolumeMode::Rw, VolumeMode::Ro, VolumeMode::Cow][usize::from(mode)],
        }).collect();
        spec.rootfs.secrets = secrets.into_iter().map(|path| Pattern::new(path).unwrap()).collect();
        spec.rootfs.home = home;
        spec.rootfs.workdir = workdir;
        spec.rootfs.overlay = overlay;
        spec.rootfs.read_only = read_only;
        spec.limits.disk = disk.map(Bound::required);
        spec
    }
}

fn base() -> Spec {
    super::merged("spec.toml", Table::new())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_plan_is_complete_checked_and_the_same_each_time(machine in hosts(), spec in specs(base())) {
        let facts = match machine.facts(&spec) {
            Ok(facts) => facts,
            Err(error) => {
                prop_assert!(!matches!(error, PlanError::Unprobed(_)), "{error}");
                return Ok(());
            }
        };
        let planned = plan(&spec, &facts);
        prop_assert_eq!(&planned, &plan(&spec, &facts));
        match planned {
            Ok(plan) => {
                let checked = check(&spec, &facts, &plan);
                prop_assert!(checked.is_ok(), "{}\n{}", checked.unwrap_err(), bryo::plan::render(&plan));
            }
            Err(error) => prop_assert!(!matches!(error, PlanError::Unprobed(_)), "{error}"),
        }
    }

    #[test]
    fn the_deepest_rule_decides_what_is_seen_of_every_file(machine in hosts(), spec in specs(base())) {
        let Ok(facts) = machine.facts(&spec) else { return Ok(()) };
        let Ok(plan) = plan(&spec, &facts) else { return Ok(()) };
        let copies = plan.steps.iter().any(|step| matches!(
            &step.action,
            Action::Fs(FsStep::Overlay { server: OverlayServer::Fuse { .. }, .. })
        ));
        for directory in DIRECTORIES {
            let file = host(directory).join("f").unwrap();
            // The current directory's own rule is the planner's to add; /sys is a bind where the
            // network is the host's.
            if file.starts_with(&machine.workdir) || file.starts_with(&host("/sys")) {
                continue;
            }
            // What lies behind an automount point in a tree is left out.
            if machine.mounts.iter().any(|m| is_autofs(m) && file.starts_with(&m.at)) {
                continue;
            }
            // A toolchain's single file is a copy where its directory is private, and else read-only.
            let tool = |request: &&PathRequest| {
                let at = request.path.resolve(Some(&machine.home), Some(&machine.workdir));
                request.access == Access::Toolchain && at.as_ref() == Some(&file)
            };
            if spec.rootfs.requests.iter().any(|request| tool(&request)) {
                continue;
            }
            let (seen, wanted) = (observed(&plan, &file), expected(&spec, &machine, &file));
            prop_assert_eq!(seen, wanted, "{} (fuse: {})\n{}", file, copies, bryo::plan::render(&plan));
        }
    }

    #[test]
    fn nothing_is_written_straight_that_no_request_names(machine in hosts(), spec in specs(base())) {
        let Ok(facts) = machine.facts(&spec) else { return Ok(()) };
        let Ok(plan) = plan(&spec, &facts) else { return Ok(()) };
        for directory in DIRECTORIES {
            let file = host(directory).join("f").unwrap();
            if observed(&plan, &file) == Reach::Straight {
                let named = spec.rootfs.requests.iter().any(|request| {
                    let at = request.path.resolve(Some(&machine.home), Some(&machine.workdir));
                    request.access == Access::Write && at.is_some_and(|at| file.starts_with(&at))
                });
                let volume = spec.rootfs.volumes.iter().any(|volume| {
                    volume.mode == VolumeMode::Rw && file.starts_with(&volume.source)
                });
                prop_assert!(named || volume, "{}", file);
            }
        }
    }
}
