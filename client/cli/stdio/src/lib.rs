//! Standard output and standard error of every program, whose reader may leave at any time (`| head -1`).
//!
//! Rust ignores SIGPIPE, and `println!` and `eprintln!` panic if they can't write. Here, a program whose output nobody
//! reads any more ends at once and with exit code 0, because its reader has what it wanted; messages that can't be
//! printed are left out. A program that must clean up before it ends uses [`try_print`].

use std::{
    fmt,
    io::{self, Write},
    process,
};

/// The exit code after a write that failed for another reason than a closed pipe, such as a full disk.
const WRITE_FAILED: i32 = 1;

/// Prints a line to standard output, like `println!` but never with a panic.
#[macro_export]
macro_rules! outln {
    ($($text:tt)*) => {
        $crate::print(format_args!("{}\n", format_args!($($text)*)))
    };
}

/// Prints a line to standard error, like `eprintln!` but never with a panic.
#[macro_export]
macro_rules! errln {
    () => {
        $crate::report(format_args!("\n"))
    };
    ($($text:tt)*) => {
        $crate::report(format_args!("{}\n", format_args!($($text)*)))
    };
}

/// Standard output as a [`Write`]. Ends the process if its reader has left.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stdout;

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        or_end(io::stdout().lock().write(bytes))
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        or_end(io::stdout().lock().write_all(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        or_end(io::stdout().lock().flush())
    }
}

/// Prints a text to standard output, and ends the process if that is not possible: with 0 if the reader has left, with
/// 1 and a message otherwise.
pub fn print(text: fmt::Arguments<'_>) {
    let printed = Stdout.write_fmt(text).and_then(|()| Stdout.flush());
    if let Err(error) = printed {
        report(format_args!("error: can't write the result: {error}\n"));
        process::exit(WRITE_FAILED);
    }
}

/// Prints a text to standard output. For programs that must not end before they have cleaned up.
///
/// # Errors
/// The text could not be written, such as [`BrokenPipe`](io::ErrorKind::BrokenPipe).
pub fn try_print(text: fmt::Arguments<'_>) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_fmt(text)?;
    out.flush()
}

/// Prints a text to standard error. If nobody reads it, it is left out: what a program reports must not end it.
pub fn report(text: fmt::Arguments<'_>) {
    // The one failure that can't be reported anywhere.
    let _ = io::stderr().lock().write_fmt(text);
}

fn or_end<T>(written: io::Result<T>) -> io::Result<T> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => process::exit(0),
        written => written,
    }
}
