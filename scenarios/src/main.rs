//! `dora`: starts the platform, runs the scenarios, writes and shows the report.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    dora_harness::engine::reaper::become_reaper_if_asked();
    dora_harness::fault::become_delay_if_asked();
    dora_harness::network::seat::become_seat_if_asked();
    dora_harness::security::install_provider();
    cli::become_guardian_if_asked();
    cli::main()
}
