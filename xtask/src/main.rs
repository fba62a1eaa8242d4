//! The project's own chores, run as `cargo xtask <command>`.

mod guest_image;

use clap::Parser;

#[derive(Parser)]
#[command(name = "xtask", about = "The chores of the Hanse repository")]
enum Command {
    /// Build the small bootable guest that the tests and the demonstration run.
    GuestImage(guest_image::Options),
}

fn main() -> anyhow::Result<()> {
    match Command::parse() {
        Command::GuestImage(options) => guest_image::run(&options),
    }
}
