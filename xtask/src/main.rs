//! The project's own chores, run as `cargo xtask <command>`.

mod guest_image;
mod tidy;

use std::process::ExitCode;

use clap::Parser;

#[derive(Parser)]
#[command(name = "xtask", about = "The chores of the Hanse repository")]
enum Command {
    /// Build the small bootable guest that the tests and the demonstration run.
    GuestImage(guest_image::Options),
    /// Check the rules of the house that compilers and linters do not know.
    Tidy,
}

fn main() -> ExitCode {
    let done = match Command::parse() {
        Command::GuestImage(options) => guest_image::run(&options),
        Command::Tidy => tidy::run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        // One line with all causes; the backtrace that anyhow would add says nothing about a missing program.
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
