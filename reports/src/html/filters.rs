//! What templates use to write values for people.

use std::fmt::Write as _;

use minijinja::value::ValueKind;
use minijinja::{AutoEscape, Environment, Error, Output, State, Value};

use crate::text;

/// Registers the filters.
pub(super) fn register(environment: &mut Environment<'_>) {
    environment.add_filter("duration", |ms: f64| text::duration(ms));
    environment.add_filter("bytes", |count: f64| text::bytes(count));
    environment.add_filter("number", |value: f64| text::number(value));
    environment.add_filter("quantity", |value: f64, unit: &str| text::quantity(value, unit));
    environment.add_filter("axis", axis);
    environment.add_filter("human", |name: &str| text::human(name));
    environment.add_filter("proper", |name: &str| text::proper(name));
    environment.add_filter("capitalised", |name: &str| text::capitalised(name));
    environment.add_filter("slug", |name: &str| text::slug(name));
    environment.add_filter("plural", |count: usize, noun: &str| text::plural(count, noun));
    environment.add_filter("verdict", |key: &str| key.replace('-', " "));
    environment.add_filter("mark", mark);
    environment.add_filter("sign", sign);
    environment.add_filter("pct", |share: f64| pct(share));
    environment.add_filter("short_hash", |hash: &str| hash.chars().take(12).collect::<String>());
}

/// The sign that goes with a verdict, so that no meaning hangs on colour alone.
fn mark(key: &str) -> &'static str {
    match key {
        "satisfied" => "✓",
        "not-satisfied" => "✕",
        "inconclusive" => "?",
        _ => "–",
    }
}

/// The label of a tick: durations with their unit, anything else without, for the panel's title has it.
fn axis(value: f64, unit: &str) -> String {
    match unit {
        _ if value == 0.0 => "0".to_owned(),
        "ms" | "s" | "bytes" | "B" => text::quantity(value, unit),
        _ => text::number(value),
    }
}

/// The sign of a comparison, from its key in the evidence.
fn sign(op: &str) -> &'static str {
    match op {
        "at-most" => "≤",
        "below" => "<",
        "at-least" => "≥",
        _ => "=",
    }
}

/// A share of one as a percentage for an attribute, with as few digits as a screen can show.
pub(super) fn pct(share: f64) -> String {
    let text = format!("{:.2}", share.clamp(0.0, 1.0) * 100.0);
    format!("{}%", text.trim_end_matches('0').trim_end_matches('.'))
}

/// Writes a value: the five characters that mean something in HTML are escaped, and nothing else, so that paths stay
/// readable in the page's source. An absent value is written as nothing.
pub(super) fn format(out: &mut Output, state: &mut State, value: &Value) -> Result<(), Error> {
    if value.is_none() || value.is_undefined() {
        return Ok(());
    }
    let escape = *state.auto_escape() != AutoEscape::None && !value.is_safe();
    if !escape || value.kind() == ValueKind::Number {
        return out.write_str(&value.to_string()).map_err(Error::from);
    }
    for letter in value.to_string().chars() {
        let entity = match letter {
            '&' => "&amp;",
            '<' => "&lt;",
            '>' => "&gt;",
            '"' => "&quot;",
            '\'' => "&#39;",
            letter => {
                out.write_char(letter)?;
                continue;
            }
        };
        out.write_str(entity)?;
    }
    Ok(())
}
