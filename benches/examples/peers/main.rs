//! The linearizability checker beside Porcupine: the same histories, the same machine, in turns.
//!
//! `peers [ROUNDS]` builds both programs, lets each check each group of histories so many times (5, or once for what may take a
//! minute), one process after the other, and compares medians. Only ratios within one run mean anything.
//!
//! Exit code: 0 when the verdicts agree and the ratios are met, 1 when not, 3 when something is missing.

mod compare;

use std::{
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use compare::{GROUPS, Run};

const MODULE: &str = "github.com/anishathalye/porcupine";

fn main() -> ExitCode {
    let rounds = std::env::args().nth(1).map_or(Ok(5), |rounds| rounds.parse());
    let Ok(rounds @ 1..) = rounds else {
        eprintln!("usage: peers [ROUNDS]");
        return ExitCode::from(2);
    };
    match run(rounds) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(message) => {
            eprintln!("failed to {message}");
            ExitCode::from(3)
        }
    }
}

fn run(rounds: usize) -> Result<bool, String> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/porcupine");
    let target = examples()?;
    let theirs = target.join("porcupine");
    let missing = "go is missing or cannot build: apt-get install golang-go";
    // The pinned version and no other toolchain than the one that is here.
    let go = |arguments: &[&str]| output(Command::new("go").args(arguments).current_dir(&source).env("GOTOOLCHAIN", "local"));
    go(&["mod", "download"]).map_err(|error| format!("fetch the module {MODULE} ({missing}): {error}"))?;
    go(&["build", "-o", &theirs.to_string_lossy(), "."]).map_err(|error| format!("build the peer ({missing}): {error}"))?;
    let module = go(&["list", "-m", "-f", "{{.Dir}}", MODULE])?;
    let data = Path::new(module.trim()).join("test_data");

    let ours = target.join("linearizability");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    output(Command::new(cargo).args(["build", "--quiet", "--release", "-p", "dora-benches", "--example", "linearizability"]))?;

    let mut met = true;
    for group in &GROUPS {
        let mut runs: [Vec<Run>; 2] = [Vec::new(), Vec::new()];
        for _ in 0..if group.is_slow { 1 } else { rounds } {
            for (program, runs) in [&ours, &theirs].into_iter().zip(&mut runs) {
                runs.push(Run::parse(&output(Command::new(program).arg(&data).arg(group.name))?)?);
            }
        }
        met &= group.compare(&runs[0], &runs[1]);
    }
    Ok(met)
}

/// Where cargo puts examples: this program is one.
fn examples() -> Result<PathBuf, String> {
    let this = std::env::current_exe().map_err(|error| format!("find this program: {error}"))?;
    this.parent().map(Path::to_owned).ok_or_else(|| "find the directory of this program".to_owned())
}

fn output(command: &mut Command) -> Result<String, String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("run {program}: {error}"))?;
    if !output.status.success() {
        return Err(format!("run {program}: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    String::from_utf8(output.stdout).map_err(|error| format!("read what {program} printed: {error}"))
}
