//! The project's own chores, run as `cargo xtask <command>`.

mod guest_image;
mod postgres;
mod tidy;

use std::process::ExitCode;

use clap::Parser;

#[derive(Parser)]
#[command(name = "xtask", about = "The chores of the Hanse repository")]
enum Command {
    /// Build the small bootable guest that the tests and the demonstration run.
    GuestImage(guest_image::Options),
    /// Run a command with a throw-away PostgreSQL server, named by HANSE_TEST_POSTGRES.
    WithPostgres {
        /// Write to the disk as a server in use does: for measuring.
        #[arg(long)]
        durable: bool,
        /// The command and its arguments.
        #[arg(trailing_var_arg = true, required = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// Check the rules of the house that compilers and linters do not know.
    Tidy,
}

fn main() -> ExitCode {
    let done = match Command::parse() {
        Command::GuestImage(options) => guest_image::run(&options),
        Command::WithPostgres { durable, command } => match postgres::run(&command, durable) {
            Ok(status) if status.success() => Ok(()),
            Ok(_) => return ExitCode::FAILURE,
            Err(error) => Err(error),
        },
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
