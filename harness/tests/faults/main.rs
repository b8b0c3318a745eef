//! Goal: every fault that this machine can inject is seen by its probe, ends when it is healed, and is *not* seen when it was
//! not injected. A node that ends by itself while it is waited for is told, and its log is kept.
//! Method: three pods with a listener each and no database. Every fault goes through its whole life; then the same once more, with the
//! injection undone behind the fault's back, which must leave it unconfirmed.
//! What it does not show: what a database makes of a fault; the scenarios are for that.

mod ended;
mod lab;
mod network;
mod process;
mod resources;

use std::process::ExitCode;

use dora_harness::{
    engine::{Engine, reaper::become_reaper_if_asked},
    fault::become_delay_if_asked,
    security::install_provider,
};
use libtest_mimic::{Arguments, Trial};
use tokio::runtime::Runtime;

fn main() -> ExitCode {
    become_reaper_if_asked();
    become_delay_if_asked();
    install_provider();
    let mut arguments = Arguments::from_args();
    // They all break the same three nodes.
    arguments.test_threads = Some(1);
    let lab = lab::Lab::new(Runtime::new().expect("a test process can start a runtime"));
    if !arguments.list
        && let Err(error) = lab.runtime().block_on(Engine::connect())
    {
        eprintln!("error: {error}");
        return ExitCode::from(101);
    }
    let trials: Vec<Trial> =
        [process::trials(&lab), network::trials(&lab), resources::trials(&lab), ended::trials(&lab)].into_iter().flatten().collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    lab.close();
    conclusion.exit_code()
}
