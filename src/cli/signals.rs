//! SIGINT and SIGTERM: the first lets the batch in hand finish, a second stops at once (the journal is for that).

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::{flag, iterator};

use super::args::Common;
use super::failure::Failure;
use super::screen::fit_stderr;
use crate::run::Stop;

/// The answer to the first signal while files may be under way.
const STOPPING: &str = "stopping: the files in hand are finished or put back first; a second Ctrl-C stops at once, \
                        and `mergerfs.xdedup resume` settles the rest";

/// Whether the program was asked to stop, and by which signal.
#[derive(Debug, Clone)]
pub(super) struct Signals {
    stop: Stop,
    which: Arc<AtomicUsize>,
}

impl Signals {
    /// Listens from now on.
    ///
    /// After `max_time`, the program stops in the same way by itself.
    pub(super) fn listen(max_time: Option<Duration>) -> Result<Self, Failure> {
        let signals = Self { stop: Stop::after(max_time), which: Arc::new(AtomicUsize::new(0)) };
        signals.register().map_err(cannot_listen)?;
        Ok(signals)
    }

    /// Answers the first signal at once, unless the user wants to read problems only.
    pub(super) fn answer(&self, common: &Common) -> Result<(), Failure> {
        if common.quiet {
            return Ok(());
        }
        let waiting = iterator::Signals::new([SIGINT, SIGTERM]).and_then(|mut signals| {
            let answer = move || {
                if signals.forever().next().is_some() {
                    say_stopping();
                }
            };
            thread::Builder::new().name("signals".to_owned()).spawn(answer)
        });
        waiting.map(drop).map_err(cannot_listen)
    }

    fn register(&self) -> io::Result<()> {
        for (signal, number) in [(SIGINT, 2), (SIGTERM, 15)] {
            // The order matters: at the first signal, the flag is not yet set when the shutdown handler reads it.
            flag::register_conditional_shutdown(signal, 128 + signal, self.stop.flag())?;
            flag::register_usize(signal, Arc::clone(&self.which), number)?;
            flag::register(signal, self.stop.flag())?;
        }
        Ok(())
    }

    pub(super) fn asked(&self) -> bool {
        self.stop.asked()
    }

    /// The stop flag of a run.
    pub(super) fn stop(&self) -> &Stop {
        &self.stop
    }

    /// The exit status that a shell reports for a program killed by the signal.
    pub(super) fn exit_code(&self) -> Option<u8> {
        let which = self.which.load(Ordering::Relaxed);
        self.asked().then(|| 128 + u8::try_from(which).unwrap_or(2))
    }
}

fn cannot_listen(error: io::Error) -> Failure {
    Failure::environment(format!("cannot listen for signals: {error}"))
}

fn say_stopping() {
    let mut out = io::stderr().lock();
    // The progress and the terminal's own ^C are on the line.
    let begin = if out.is_terminal() { "\n" } else { "" };
    // A failed write is ignored: no other output is left when standard error is closed.
    drop(out.write_all(format!("{begin}{}", fit_stderr(&format!("{STOPPING}\n"))).as_bytes()));
}
