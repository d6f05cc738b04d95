//! The daemon's door into the library; nothing else.

use std::process::ExitCode;

fn main() -> ExitCode {
    latchd::cli::main(std::env::args_os())
}
