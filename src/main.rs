//! The binary: reads the command line, prints the one error, ends with the exit status.

use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;

use bryo::front::cli;
use bryo::report::Look;
use bryo::sys::heap;
use bryo::sys::signal::{SignalNumber, ignore};
use bryo::sys::umask::keep_own_rights;

#[global_allocator]
static HEAP: heap::Global = heap::Global;

fn main() -> ExitCode {
    // Where the size of files is limited, a write that is too large fails with its reason instead. It
    // fails for no signal there is; payloads begin with every signal as it was made.
    ignore(SignalNumber::XFSZ).unwrap_or_default();
    keep_own_rights();
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    match cli::main(&arguments) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            let text = failure.render(&Look::of_stderr());
            // There is nobody left to tell that stderr is closed.
            std::io::stderr().lock().write_all(text.as_bytes()).unwrap_or_default();
            ExitCode::from(failure.exit_code)
        }
    }
}
