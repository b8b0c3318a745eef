//! `dora check`: decides a recorded history, ours or another tool's.

use std::{collections::BTreeMap, process::ExitCode, time::Duration};

use dora_harness::{
    check::{Answer, Checked, Model, try_judge_within},
    history::{History, Outcome, read_file},
};

use super::{CheckArgs, error::CliError};

/// The exit code of a history that could not be decided.
const UNKNOWN: u8 = 4;

/// Reads the history, checks it against the model, prints the answer with its witness.
pub fn check(args: &CheckArgs) -> Result<ExitCode, CliError> {
    let model = model(args)?;
    let history = read_file(&args.file)?;
    let checked = try_judge_within(model, &history.operations, args.time_limit).map_err(|mismatch| CliError::Mismatch {
        line: history.line_of(mismatch.index).unwrap_or_default(),
        mismatch: Box::new(mismatch),
    })?;
    out!("{}", told(model, &checked, &history));
    Ok(match checked.answer {
        Answer::Holds => ExitCode::SUCCESS,
        Answer::Violated { .. } => ExitCode::from(1),
        Answer::Unknown(_) => ExitCode::from(UNKNOWN),
    })
}

/// The model with its options; an option that another model has is wrong usage.
fn model(args: &CheckArgs) -> Result<Model, CliError> {
    let misplaced = |option: &str, has: &str| CliError::Usage(format!("{} has no {option}; {has}", args.model));
    let mut model = args.model;
    if let Some(level) = args.level {
        model = model.at(level).ok_or_else(|| misplaced("isolation level", "list-append and rw-register have"))?;
    }
    if let Some(total) = args.total {
        let Model::Bank { .. } = model else { return Err(misplaced("total", "bank has")) };
        model = Model::Bank { total: Some(total) };
    }
    if let Some(lost_max) = args.lost_max {
        let Model::BoundedLoss { .. } = model else { return Err(misplaced("bound of what may be lost", "bounded-loss has")) };
        model = Model::BoundedLoss { lost_max };
    }
    Ok(model)
}

fn told(model: Model, checked: &Checked, history: &History) -> String {
    let model = match model {
        Model::ListAppend(level) | Model::RwRegister(level) => format!("{model} at {level}"),
        _ => model.to_string(),
    };
    let answer = match &checked.answer {
        Answer::Holds => format!("holds: {model}"),
        Answer::Violated { finding, message, witness } => format!("violated: {model} [{finding}]\n{message}\n\n{witness}\n"),
        Answer::Unknown(why) => format!("unknown: {model}\n{why}"),
    };
    format!("{answer}\n{}", counts(history))
}

/// `120 operations: 100 ok, 15 failed, 5 unknown (60 cas, 60 read); 2 lines of others than clients skipped`.
fn counts(history: &History) -> String {
    let count = |is: fn(&Outcome) -> bool| history.operations.iter().filter(|operation| is(&operation.outcome)).count();
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    for operation in &history.operations {
        *kinds.entry(operation.f.as_ref()).or_default() += 1;
    }
    let kinds = kinds.iter().map(|(f, count)| format!("{count} {f}")).collect::<Vec<_>>().join(", ");
    let skipped = if history.skipped == 0 { String::new() } else { format!("; {} lines of others than clients skipped", history.skipped) };
    format!(
        "{} operations: {} ok, {} failed, {} unknown ({kinds}){skipped}",
        history.operations.len(),
        count(|outcome| *outcome == Outcome::Ok),
        count(|outcome| matches!(outcome, Outcome::Fail(_))),
        count(|outcome| matches!(outcome, Outcome::Unknown(_))),
    )
}

/// `500ms`, `60s` or `5m`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no duration; write it as 500ms, 60s or 5m");
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let number: u64 = text[..text.len() - unit.len()].parse().map_err(|_| wrong())?;
    let ms = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        _ => return Err(wrong()),
    };
    number.checked_mul(ms).map(Duration::from_millis).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_with_their_unit() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("60s"), Ok(Duration::from_secs(60)));
        assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
        for wrong in ["", "60", "s", "1h", "-1s", "99999999999999999999s", "18446744073709551615m"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
