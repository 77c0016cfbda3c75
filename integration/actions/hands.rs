//! The client's thread: it may have to wait for a lease of the program that is held, and the driver must not.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::Duration;

use super::client::Client;

/// A client at work in a thread of its own.
pub(super) struct Hands<'scope> {
    scripts: Sender<String>,
    done: Receiver<()>,
    /// Scripts that are not done yet.
    left: usize,
    thread: ScopedJoinHandle<'scope, Client>,
}

impl<'scope> Hands<'scope> {
    pub(super) fn new<'env>(scope: &'scope Scope<'scope, 'env>, mut client: Client) -> Self {
        let (scripts, inbox) = channel::<String>();
        let (finished, done) = channel();
        let thread = scope.spawn(move || {
            for script in inbox {
                client.perform(&script);
                finished.send(()).unwrap();
            }
            client
        });
        Self { scripts, done, left: 0, thread }
    }

    /// Lets the client begin a script.
    pub(super) fn begin(&mut self, script: &str) {
        self.scripts.send(script.to_owned()).unwrap();
        self.left += 1;
    }

    /// Waits until the client has done everything; `false` when that takes longer.
    pub(super) fn are_done(&mut self, at_most: Duration) -> bool {
        while self.left > 0 {
            if self.done.recv_timeout(at_most).is_err() {
                return false;
            }
            self.left -= 1;
        }
        true
    }

    /// The client, once everything is done.
    pub(super) fn end(self) -> Client {
        drop(self.scripts);
        self.thread.join().unwrap()
    }
}
