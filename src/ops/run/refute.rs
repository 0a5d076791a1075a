//! Which assumed fact a failed step refutes.
//!
//! Facts that only doing can tell are assumed from something cheap. When the step that rests on one
//! fails with an errno that means just that, the run is planned once more without the assumption; any
//! other failure is an error.

use crate::plan::facts::Refuted;
use crate::plan::step::{Action, ConfineStep, FsStep, Link, NetStep, OverlayServer, Upper};
use crate::sys::errno::Errno;

/// The fact that this failure refutes, if it is one.
pub(super) fn refuted(action: &Action, errno: Errno) -> Option<Refuted> {
    match action {
        Action::Fs(FsStep::Overlay { server: OverlayServer::Kernel, upper, .. }) => {
            overlay(*upper, errno)
        }
        Action::Fs(FsStep::Proc { .. }) => only(errno, Errno::EPERM, Refuted::ProcfsMountable),
        Action::Fs(FsStep::Sysfs { .. }) => only(errno, Errno::EPERM, Refuted::SysfsMountable),
        Action::Confine(ConfineStep::Seccomp { listen: true, .. }) => {
            only(errno, Errno::EBUSY, Refuted::SeccompNotify)
        }
        // No address or no family of that kind.
        Action::Net(NetStep::Tun(Link { v6: Some(_), .. })) => {
            let means = [Errno::EAFNOSUPPORT, Errno::EOPNOTSUPP];
            means.contains(&errno).then_some(Refuted::Ipv6)
        }
        // There is no procfs, or it is read-only, or masked.
        Action::Net(NetStep::Settings { .. }) => {
            let means = [Errno::EROFS, Errno::EACCES, Errno::EPERM, Errno::ENOENT, Errno::EISDIR];
            means.contains(&errno).then_some(Refuted::NetworkSettings)
        }
        _ => None,
    }
}

/// `ENODEV`: no overlay at all; `EPERM`: not in a user namespace (before Linux 5.11, or by a security
/// module). `EINVAL` with an upper: its file system cannot be one; without: the options are refused.
fn overlay(upper: Option<Upper>, errno: Errno) -> Option<Refuted> {
    match (errno, upper) {
        (Errno::ENODEV | Errno::EPERM, _) | (Errno::EINVAL, None) => Some(Refuted::KernelOverlay),
        (Errno::EINVAL | Errno::EOPNOTSUPP, Some(_)) => Some(Refuted::StoreHoldsUpper),
        _ => None,
    }
}

fn only(errno: Errno, means: Errno, fact: Refuted) -> Option<Refuted> {
    (errno == means).then_some(fact)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::step::{LayerNumber, MountFlags};
    use crate::spec::SandboxPath;

    fn overlay_step(upper: Option<Upper>, server: OverlayServer) -> Action {
        let at = SandboxPath::root();
        Action::Fs(FsStep::Overlay {
            at,
            lower: Vec::new(),
            upper,
            server,
            flags: MountFlags::READ_ONLY,
        })
    }

    #[test]
    fn an_errno_refutes_only_the_fact_it_is_about() {
        let layer = Some(Upper::Layer(LayerNumber(0)));
        let kernel = |upper| overlay_step(upper, OverlayServer::Kernel);
        assert_eq!(refuted(&kernel(layer), Errno::EINVAL), Some(Refuted::StoreHoldsUpper));
        assert_eq!(refuted(&kernel(None), Errno::EINVAL), Some(Refuted::KernelOverlay));
        assert_eq!(refuted(&kernel(layer), Errno::ENODEV), Some(Refuted::KernelOverlay));
        assert_eq!(refuted(&kernel(layer), Errno::ESTALE), None);
        let at = SandboxPath::root();
        assert_eq!(
            refuted(&Action::Fs(FsStep::Proc { at: at.clone() }), Errno::EPERM),
            Some(Refuted::ProcfsMountable)
        );
        assert_eq!(refuted(&Action::Fs(FsStep::Proc { at }), Errno::EBUSY), None);
    }

    #[test]
    fn a_failure_of_fuse_overlayfs_refutes_nothing() {
        let program = crate::spec::HostPath::root();
        let fuse = overlay_step(None, OverlayServer::Fuse { program, squash: None });
        assert_eq!(refuted(&fuse, Errno::EINVAL), None);
    }
}
