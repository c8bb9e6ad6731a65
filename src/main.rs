//! Parse, run, map the outcome to an exit code; nothing else.

fn main() -> std::process::ExitCode {
    pathproof::cli::main(std::env::args_os())
}
