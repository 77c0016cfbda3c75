//! Standard output that writes nothing more after its reader is gone.

use std::io::{self, Write};

/// Returns standard output, buffered.
pub(super) fn stdout() -> impl Write {
    Quiet { out: io::BufWriter::new(io::stdout()), gone: false }
}

struct Quiet<W: Write> {
    out: W,
    gone: bool,
}

impl<W: Write> Quiet<W> {
    fn ask<T>(&mut self, fallback: T, call: impl FnOnce(&mut W) -> io::Result<T>) -> io::Result<T> {
        if self.gone {
            return Ok(fallback);
        }
        match call(&mut self.out) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.gone = true;
                Ok(fallback)
            }
            other => other,
        }
    }
}

impl<W: Write> Write for Quiet<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.ask(buf.len(), |out| out.write(buf))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.ask((), Write::flush)
    }
}
