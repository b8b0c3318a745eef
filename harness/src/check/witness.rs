//! Operations as lines that a person reads.

use crate::history::{Operation, Outcome};

/// Values that a list in a witness shows.
const VALUES_MAX: usize = 10;

/// `#12 process 3: cas [0,[1,2]] → ok, 12.000 ms to 14.500 ms`.
pub fn line(operation: &Operation) -> String {
    let ms = |ns: u64| format!("{:.3} ms", ns as f64 / 1e6);
    let end = match &operation.outcome {
        Outcome::Ok if operation.returned == operation.value => "ok".to_owned(),
        Outcome::Ok => format!("ok {}", operation.returned),
        Outcome::Fail(why) => format!("failed ({why})"),
        Outcome::Unknown(why) => format!("unknown ({why})"),
    };
    let until = operation.completed.map_or_else(|| "the end".to_owned(), ms);
    format!(
        "#{} process {}: {} {} → {end}, {} to {until}",
        operation.index,
        operation.process,
        operation.f,
        operation.value,
        ms(operation.invoked)
    )
}

/// One line each.
pub fn lines<'a>(operations: impl IntoIterator<Item = &'a Operation>) -> String {
    operations.into_iter().map(line).collect::<Vec<_>>().join("\n")
}

/// The first few values, and how many there are.
pub fn values<T: std::fmt::Display>(values: &[T]) -> String {
    let shown = values.iter().take(VALUES_MAX).map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if values.len() > VALUES_MAX { format!("{shown}, … ({} in all)", values.len()) } else { shown }
}
