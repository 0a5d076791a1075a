//! The payload's process, from its fork to its exec.
//!
//! Everything that can be prepared is prepared by the launcher before the clone: strings, search
//! path, filter. What is left are the plan's steps, one call or few each.

use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{Access, Mode, OFlags};

use super::channel::Inside;
use super::sandbox::Failed;
use super::wire::FromSandbox;
use super::{Host, Relay};
use crate::archive;
use crate::confine::{capabilities, landlock};
use crate::plan::errand::Errand;
use crate::plan::step::{Action, ConfineStep, Plan, ProcessStep, Stage, StdioPlan};
use crate::spec::Text;
use crate::spec::seccomp::PolicyVariant;
use crate::sys::errno::{Errno, Result};
use crate::sys::process::{self, ExecImage, exit_now};
use crate::sys::seccomp::{self, Instruction};
use crate::sys::signal;

/// What the payload's process needs, made before the clone.
pub(super) struct Prepared<'a> {
    plan: &'a Plan,
    filter: Option<&'a [Instruction]>,
    /// The filter that goes before it, where the plan has one.
    attributes: Option<Vec<Instruction>>,
    /// Pipes that we made, or opened once more.
    relays: Vec<Relay>,
    image: Option<ExecImage>,
    /// Where the program may be: one place when it has a slash.
    places: Vec<CString>,
}

impl<'a> Prepared<'a> {
    pub(super) fn new(plan: &'a Plan, host: &'a Host<'_>, relays: Vec<Relay>) -> Self {
        let mut prepared = Self {
            plan,
            filter: host.payload_filter.as_deref(),
            attributes: None,
            relays,
            image: None,
            places: Vec::new(),
        };
        for (_, action) in plan.of(Stage::Payload) {
            if matches!(action, Action::Confine(ConfineStep::ShortAttributes)) {
                prepared.attributes = short_attributes();
            }
            if let Action::Process(ProcessStep::Exec { argv, environment, search }) = action {
                let variables = environment.iter().map(|variable| {
                    [variable.name.as_bytes(), b"=", variable.value.as_bytes()].concat()
                });
                let strings = |bytes: Vec<u8>| CString::new(bytes).ok();
                let argv_strings: Option<Vec<CString>> =
                    argv.iter().map(|text| strings(text.as_bytes().to_vec())).collect();
                let variables: Option<Vec<CString>> = variables.map(strings).collect();
                prepared.image =
                    argv_strings.zip(variables).map(|(argv, envp)| ExecImage::new(argv, envp));
                prepared.places = places(argv.first(), search);
            }
        }
        prepared
    }

    /// Takes the payload's steps and executes it.
    pub(super) fn run(mut self, slave: Option<BorrowedFd<'_>>, report: &Inside) -> ! {
        let failed = self.take_steps(slave, report);
        // Status as the exit table says, for init's eyes only: the launcher hears the message.
        let told = report.tell(&failed.message(), None);
        exit_now(if told.is_ok() { 126 } else { 125 })
    }

    /// Returns only when a step failed.
    fn take_steps(&mut self, slave: Option<BorrowedFd<'_>>, report: &Inside) -> Failed {
        let plan = self.plan;
        let mut listener = None;
        let mut last = 0;
        for (step, action) in plan.of(Stage::Payload) {
            last = step;
            let done = match action {
                Action::Process(ProcessStep::Exec { .. }) => {
                    return match report.tell(
                        &FromSandbox::Confined { listener: listener.is_some() },
                        listener.as_ref().map(AsFd::as_fd),
                    ) {
                        Ok(()) => self.exec(step),
                        Err(errno) => Failed::new(step, errno),
                    };
                }
                Action::Process(ProcessStep::Errand(errand)) => {
                    let failed = do_errand(errand, listener.as_ref().map(AsFd::as_fd), report);
                    return Failed::new(step, failed);
                }
                Action::Process(process) => {
                    self.take(process, slave, report).map_err(|errno| Failed::new(step, errno))
                }
                Action::Confine(confine) => self
                    .confine(confine)
                    .map(|fd| listener = listener.take().or(fd))
                    .map_err(|failure| Failed { step, errno: failure.errno, said: failure.said }),
                _ => Err(Failed::new(step, Errno::EINVAL)),
            };
            if let Err(failed) = done {
                return failed;
            }
        }
        Failed::new(last, Errno::EINVAL)
    }

    /// The one thing of the environment that nobody knows before the fork.
    fn add_number(&mut self, names: &[Text]) -> Result<()> {
        let number = rustix::process::getpid().as_raw_nonzero();
        let added = names
            .iter()
            .map(|name| CString::new([name.as_bytes(), format!("={number}").as_bytes()].concat()));
        let added: std::result::Result<Vec<CString>, _> = added.collect();
        let image = self.image.take().ok_or(Errno::EINVAL)?;
        self.image = Some(image.with_variables(added.map_err(|_| Errno::EINVAL)?));
        Ok(())
    }

    fn take(
        &mut self,
        step: &ProcessStep,
        slave: Option<BorrowedFd<'_>>,
        report: &Inside,
    ) -> Result<()> {
        match step {
            ProcessStep::ProcessGroup { foreground } => {
                rustix::process::setpgid(None, None)?;
                if *foreground {
                    take_foreground(slave.ok_or(Errno::ENOTTY)?)?;
                }
                // The supervisor's mask and Rust's ignored SIGPIPE are not the payload's.
                signal::reset_all()
            }
            ProcessStep::EndWithParent => {
                process::set_parent_death_signal(Some(signal::SignalNumber::KILL))
            }
            ProcessStep::Stdio { number, with } => self.put(*number, *with, slave),
            ProcessStep::CloseDescriptors { keep } => close_descriptors(keep, report),
            ProcessStep::Umask(mask) => {
                rustix::process::umask(Mode::from_raw_mode(*mask));
                Ok(())
            }
            ProcessStep::Workdir(path) => Ok(rustix::process::chdir(path.as_path())?),
            ProcessStep::OwnNumber(names) => self.add_number(names),
            ProcessStep::Undumpable
            | ProcessStep::JoinNamespaces
            | ProcessStep::CgroupNamespace
            | ProcessStep::Hostname(_)
            | ProcessStep::TakeIds { .. }
            | ProcessStep::Session { .. }
            | ProcessStep::Exec { .. }
            | ProcessStep::Errand(_) => Err(Errno::EINVAL),
        }
    }

    /// Puts something at descriptor 0, 1, or 2.
    fn put(&self, number: u8, with: StdioPlan, slave: Option<BorrowedFd<'_>>) -> Result<()> {
        match with {
            StdioPlan::Keep => match self.end(number) {
                Some(end) => duplicate(end, number),
                None => Ok(()),
            },
            StdioPlan::Null => {
                let null =
                    rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
                duplicate(null.as_fd(), number)?;
                // Opened at that very number where it was free: it must stay open.
                if u8::try_from(std::os::fd::AsRawFd::as_raw_fd(&null)) == Ok(number) {
                    std::mem::forget(null);
                }
                Ok(())
            }
            StdioPlan::Pty => duplicate(slave.ok_or(Errno::ENOTTY)?, number),
            StdioPlan::Relay => duplicate(self.end(number).ok_or(Errno::EBADF)?, number),
        }
    }

    fn end(&self, number: u8) -> Option<BorrowedFd<'_>> {
        self.relays.iter().find(|relay| relay.number == number).map(|relay| relay.end.as_fd())
    }

    fn confine(
        &self,
        step: &ConfineStep,
    ) -> std::result::Result<Option<OwnedFd>, crate::confine::Failure> {
        match step {
            ConfineStep::Keyring => process::join_new_session_keyring()?,
            ConfineStep::Securebits => capabilities::irrevocably_lock_securebits()?,
            ConfineStep::Capabilities { keep } => {
                capabilities::irrevocably_drop_capabilities(keep)?;
            }
            ConfineStep::NoNewPrivs => process::irrevocably_set_no_new_privs()?,
            ConfineStep::Landlock(rules) => landlock::irrevocably_restrict(rules)?,
            ConfineStep::ShortAttributes => {
                let filter = self.attributes.as_deref().ok_or(Errno::EINVAL)?;
                seccomp::irrevocably_install_filter(filter)?;
            }
            ConfineStep::Seccomp { listen, .. } => {
                let filter = self.filter.ok_or(Errno::EINVAL)?;
                if *listen {
                    return Ok(Some(seccomp::irrevocably_install_notifying_filter(filter)?));
                }
                seccomp::irrevocably_install_filter(filter)?;
            }
        }
        Ok(None)
    }

    /// Returns why it failed: `ENOENT` when no place has it; `EACCES` wins over later places' `ENOENT`,
    /// as execvp(3) has it. What is said is the interpreter that a script wants and that is not there.
    fn exec(&self, step: usize) -> Failed {
        let Some(image) = &self.image else { return Failed::new(step, Errno::EINVAL) };
        let mut found = Failed::new(step, Errno::ENOENT);
        for place in &self.places {
            match image.exec_path(place) {
                Errno::ENOENT if found.said.is_empty() => {
                    found.said = missing_interpreter(place).unwrap_or_default();
                }
                Errno::ENOENT | Errno::ENOTDIR => {}
                Errno::EACCES => found.errno = Errno::EACCES,
                other => return Failed::new(step, other),
            }
        }
        found
    }
}

/// What the first line of a script names, where nothing is there.
fn missing_interpreter(script: &CStr) -> Option<String> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::open(script, flags, Mode::empty()).ok()?;
    // As much as the kernel looks at.
    let mut line = [0; 256];
    let length = rustix::io::read(&file, &mut line).ok()?;
    let line = line.get(..length)?.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let mut words = line.split(|byte| matches!(byte, b' ' | b'\t' | 0));
    let interpreter = words.find(|word| !word.is_empty())?;
    let is_missing = rustix::fs::access(interpreter, Access::EXISTS).is_err();
    is_missing.then(|| String::from_utf8_lossy(interpreter).into_owned())
}

/// Does it and ends; or says why not. Everything but descriptors 0 to 2 is closed: no exec does that here, and what the
/// supervisor had open is in this process too.
fn do_errand(errand: &Errand, listener: Option<BorrowedFd<'_>>, report: &Inside) -> Errno {
    let kept: Vec<BorrowedFd<'_>> = listener.into_iter().chain([report.as_fd()]).collect();
    let closed = process::irrevocably_close_from(3, &kept)
        .and_then(|()| {
            report.tell(&FromSandbox::Confined { listener: listener.is_some() }, listener)
        })
        .and_then(|()| process::irrevocably_close_from(3, &[]));
    match closed {
        Ok(()) => exit_now(archive::errand::run(errand)),
        Err(errno) => errno,
    }
}

/// The built-in filter of attributes; always there.
fn short_attributes() -> Option<Vec<Instruction>> {
    let program = crate::confine::seccomp::builtin("attributes", PolicyVariant::default());
    program.map(|program| program.instructions())
}

/// The paths at which to look for a program.
fn places(program: Option<&Text>, search: &[Text]) -> Vec<CString> {
    let Some(program) = program.map(Text::as_bytes) else { return Vec::new() };
    if program.contains(&b'/') {
        return CString::new(program).into_iter().collect();
    }
    let joined = search.iter().map(|directory| {
        std::path::Path::new(directory.as_os_str()).join(OsStr::from_bytes(program))
    });
    joined.filter_map(|path| CString::new(path.as_os_str().as_bytes()).ok()).collect()
}

/// A background group that takes the foreground is stopped by SIGTTOU unless it is blocked; all
/// it is reset afterwards.
fn take_foreground(terminal: BorrowedFd<'_>) -> Result<()> {
    signal::SignalSet::full().block()?;
    Ok(rustix::termios::tcsetpgrp(terminal, rustix::process::getpid())?)
}

fn duplicate(fd: BorrowedFd<'_>, number: u8) -> Result<()> {
    match number {
        0 => Ok(rustix::stdio::dup2_stdin(fd)?),
        1 => Ok(rustix::stdio::dup2_stdout(fd)?),
        2 => Ok(rustix::stdio::dup2_stderr(fd)?),
        _ => Err(Errno::EBADF),
    }
}

/// Everything above 2 is closed, but for `keep` and our own socket, which goes with the exec. Not by the exec: until
/// then `/proc/self/fd/N`, in the path of a directory or program that a link inside made, would lead to a descriptor
/// that the launcher has of the host's tree. What is closed is neither used nor dropped by any later step.
fn close_descriptors(keep: &[u32], report: &Inside) -> Result<()> {
    process::irrevocably_close_but(3, &[report.as_fd()], keep)?;
    process::set_cloexec_from(3)?;
    keep.iter().try_for_each(|number| process::keep_on_exec(*number))
}
