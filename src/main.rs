//! The program: see `mongo-observer --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    mongo_observer::cli::main()
}
