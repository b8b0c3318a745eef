//! The program on a seat: reads one JSON text from standard input, writes one to standard output.

use std::{io::Read as _, process::exit, time::Duration};

use serde::{Serialize, de::DeserializeOwned};
use tokio::runtime::Builder;

use super::{forward, probe, watch};

/// The first argument that turns a binary of this project into the program.
pub(super) const SEAT_ARGUMENT: &str = "__seat";
/// The program's file on the volume that all seats share.
pub(in crate::network) const PROGRAM_NAME: &str = "program";
/// A forgotten program ends by itself.
const LIFE_MAX: Duration = Duration::from_mins(10);

/// What the program does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Connects once to each of many ports.
    Probe,
    /// Keeps connections and makes new ones, until told to end or for a time.
    Watch,
    /// Leads connections on, for a time.
    Forward,
}

impl Mode {
    const ALL: [Self; 3] = [Self::Probe, Self::Watch, Self::Forward];

    /// The second argument.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Probe => "probe",
            Self::Watch => "watch",
            Self::Forward => "forward",
        }
    }
}

/// Becomes the program when this process was started as it, and then never returns. Every binary that runs scenarios calls it first thing
/// in `main`.
pub fn become_seat_if_asked() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [argument, word, milliseconds] = arguments.as_slice() else { return };
    if argument != SEAT_ARGUMENT {
        return;
    }
    let mode = Mode::ALL.into_iter().find(|mode| mode.word() == word);
    let (Some(mode), Ok(milliseconds)) = (mode, milliseconds.parse()) else { exit(2) };
    match carry_out(mode, Duration::from_millis(milliseconds).min(LIFE_MAX)) {
        Ok(answer) => {
            println!("{answer}");
            exit(0)
        }
        Err(reason) => {
            eprintln!("{reason}");
            exit(1)
        }
    }
}

fn carry_out(mode: Mode, time: Duration) -> Result<String, String> {
    let mut input = String::new();
    std::io::stdin().read_to_string(&mut input).map_err(|error| format!("failed to read the order: {error}"))?;
    let runtime = Builder::new_current_thread().enable_all().build().map_err(|error| format!("failed to start the runtime: {error}"))?;
    match mode {
        Mode::Probe => told(&runtime.block_on(probe::probe(order(&input)?, time))),
        Mode::Watch => told(&runtime.block_on(watch::watch(order(&input)?, time))),
        Mode::Forward => told(&runtime.block_on(forward::forward(order(&input)?, time))?),
    }
}

fn order<T: DeserializeOwned>(input: &str) -> Result<T, String> {
    serde_json::from_str(input).map_err(|error| format!("failed to understand the order: {error}"))
}

fn told<T: Serialize>(answer: &T) -> Result<String, String> {
    serde_json::to_string(answer).map_err(|error| format!("failed to put the answer in words: {error}"))
}
