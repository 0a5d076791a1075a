//! Plans one place by its view, and with it what lies below.

use super::super::error::PlanError;
use super::super::facts::Kind;
use super::super::pseudo::{self, DEVICE_FLAGS};
use super::super::step::{Cover, FsStep, Missing, MountAccess, MountFlags, Notice, Room};
use super::super::view::{Pseudo, View};
use super::{Ground, Node, Trees, ids_inside, is_directory};
use crate::spec::{SandboxPath, Service, Text};

impl Trees<'_> {
    /// Plans a place and everything below it.
    pub(super) fn place(&mut self, node: &Node<'_>, ground: Ground) -> Result<(), PlanError> {
        let rule = &node.rule;
        if !is_directory(node)
            && let Some(child) = node.children.iter().find(|c| c.is_seen())
        {
            let (at, file) = (child.rule.at.clone(), rule.at.clone());
            return Err(PlanError::BelowFile { at, file });
        }
        match &rule.view {
            View::Socket => {
                self.draft.sockets.push(rule.at.clone());
                self.single(node, ground, MountFlags::READ_ONLY);
            }
            View::Device => self.device(node, ground),
            View::Write if rule.kind != Kind::Directory => {
                self.single(node, ground, MountFlags::WRITABLE);
            }
            View::Read | View::System | View::Cow | View::CowAsRoot
                if rule.kind != Kind::Directory =>
            {
                if rule.view == View::Cow {
                    self.draft.notice(Notice::ReadOnlyFile(rule.from.clone()));
                }
                self.single(node, ground, MountFlags::READ_ONLY);
            }
            View::Link(target) => self.link(node, target, ground),
            View::File(content) => self.file(node, content, ground),
            _ => self.tree(node, ground)?,
        }
        Ok(())
    }

    fn link(&mut self, node: &Node<'_>, target: &Text, ground: Ground) {
        let at = &node.rule.at;
        if ground == Ground::Ours && !self.made.contains(at) {
            self.make_parents(at);
            self.take(vec![FsStep::Link { at: at.clone(), target: target.clone() }]);
        }
    }

    fn file(&mut self, node: &Node<'_>, content: &Text, ground: Ground) {
        self.point(node, ground);
        let (at, content) = (node.rule.at.clone(), content.clone());
        self.draft.fs(FsStep::FileOver { at, content, mode: 0o644 });
    }

    /// A place that is a directory.
    fn tree(&mut self, node: &Node<'_>, ground: Ground) -> Result<(), PlanError> {
        match &node.rule.view {
            View::Skeleton => self.below(node, Ground::Ours),
            View::Hidden => self.hidden(node, ground),
            View::Own(pseudo) => self.own(node, *pseudo, ground),
            View::Tmpfs { size, mode } => self.tmpfs(node, *size, *mode, ground),
            View::Write => self.bind_tree(node, ground, MountFlags::WRITABLE),
            View::System => self.system(node, ground),
            View::Read | View::Cow | View::CowAsRoot => self.overlay_of(node, ground),
            View::Private => self.private(node, ground),
            View::Link(_) | View::File(_) | View::Socket | View::Device => Ok(()),
        }
    }

    /// Plans what lies below a place.
    pub(super) fn below(&mut self, node: &Node<'_>, ground: Ground) -> Result<(), PlanError> {
        node.children.iter().try_for_each(|child| self.place(child, ground))
    }

    /// Makes the mount point where nobody else has.
    pub(super) fn point(&mut self, node: &Node<'_>, ground: Ground) {
        if ground == Ground::Ours {
            if is_directory(node) {
                self.make_directory(&node.rule.at);
            } else {
                self.make_file(&node.rule.at);
            }
        }
    }

    /// A file, a socket, a device: one bind.
    fn single(&mut self, node: &Node<'_>, ground: Ground, flags: MountFlags) {
        self.point(node, ground);
        let (from, at) = (node.rule.from.clone(), node.rule.at.clone());
        self.draft.fs(FsStep::Bind { from, at, flags });
    }

    fn device(&mut self, node: &Node<'_>, ground: Ground) {
        // Every sandbox has some devices already.
        if ground == Ground::There || !self.made.contains(&node.rule.at) {
            self.single(node, ground, DEVICE_FLAGS);
            self.cover_sockets(node);
        }
    }

    fn tmpfs(
        &mut self,
        node: &Node<'_>,
        size: Option<u64>,
        mode: u32,
        ground: Ground,
    ) -> Result<(), PlanError> {
        self.point(node, ground);
        let at = node.rule.at.clone();
        let room = self.room(&at, size.or(self.spec.rootfs.tmpfs_size));
        self.take(vec![FsStep::Tmpfs { at, room, mode, flags: MountFlags::WRITABLE }]);
        self.below(node, Ground::Ours)
    }

    /// How much a private file system may hold, of which this was asked for.
    fn room(&self, at: &SandboxPath, asked: Option<u64>) -> Room {
        match &self.written {
            Some(written) => written.room(at),
            None => Room::Own(asked.or(pseudo::share_of_memory(self.facts))),
        }
    }

    /// A hidden directory that something visible lies in: an empty one with just that. Hidden places
    /// without anything visible are planned by what they are in.
    fn hidden(&mut self, node: &Node<'_>, ground: Ground) -> Result<(), PlanError> {
        if !node.is_seen() {
            return Ok(());
        }
        if ground == Ground::Ours {
            return self.below(node, Ground::Ours);
        }
        let at = node.rule.at.clone();
        let mode = self.mode(&node.rule.from).unwrap_or(0o755);
        let flags = MountFlags::WRITABLE;
        self.take(vec![FsStep::Tmpfs { at: at.clone(), room: Room::Own(None), mode, flags }]);
        self.below(node, Ground::Ours)?;
        self.draft.fs(FsStep::Seal { at });
        Ok(())
    }

    fn own(&mut self, node: &Node<'_>, pseudo: Pseudo, ground: Ground) -> Result<(), PlanError> {
        self.point(node, ground);
        match pseudo {
            Pseudo::Dev => {
                let shm = self.room(&pseudo::shm(), self.spec.rootfs.shm_size);
                self.take(pseudo::dev(shm));
                let service = self.spec.lifetime.service.as_ref();
                if let Some(at) = service.and_then(Service::socket_inside) {
                    self.draft.sockets.push(at.clone());
                    self.take(vec![FsStep::Socket { at }]);
                }
            }
            Pseudo::Proc => {
                if !pseudo::procfs_is_mountable(self.facts) {
                    self.draft.notice(Notice::Missing(Missing::Procfs));
                }
                self.take(pseudo::proc(self.facts));
            }
            Pseudo::Sys => {
                let divides = self.draft.divides_groups();
                self.take(pseudo::sys(self.spec, self.facts, divides));
            }
            Pseudo::Run => {
                let at = node.rule.at.clone();
                let room = self.room(&at, self.spec.rootfs.tmpfs_size);
                let flags = MountFlags { access: MountAccess::Writable, ..MountFlags::WRITABLE };
                self.take(vec![FsStep::Tmpfs { at, room, mode: 0o755, flags }]);
                self.take(pseudo::run(ids_inside(self).0));
            }
        }
        for child in &node.children {
            if child.is_seen() {
                self.place(child, Ground::Ours)?;
            } else if pseudo != Pseudo::Dev || self.made.contains(&child.rule.at) {
                // What else the host has in `/dev`, as a store in `/dev/shm`, is not in ours.
                self.draft.fs(FsStep::Cover { at: child.rule.at.clone(), with: Cover::IfThere });
            }
        }
        if pseudo == Pseudo::Dev {
            self.draft.fs(FsStep::Seal { at: node.rule.at.clone() });
        }
        Ok(())
    }
}
