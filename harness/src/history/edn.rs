//! The notation of Jepsen's histories, as JSON.

use clojure_reader::edn::{Edn, read};
use serde_json::{Map, Number, Value};

/// How deep a value may be nested (as for JSON), so that no input exhausts the stack. The reader itself has no such limit.
const DEPTH_MAX: usize = 128;

/// A text that is no EDN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    /// The line of the text, from 1.
    pub line: u64,
    /// What is wrong with it.
    pub why: String,
}

/// The next form and what comes after it; [`None`] when only blanks and comments are left.
pub fn next(text: &str) -> Result<Option<(Value, &str)>, Malformed> {
    let text = skip_blank(text);
    if text.is_empty() {
        return Ok(None);
    }
    match read(text) {
        Ok((form, rest)) => match json(&form, 0) {
            Ok(value) => Ok(Some((value, rest))),
            Err(why) => Err(Malformed { line: 1, why: why.into() }),
        },
        Err(error) => {
            let column = error.column.map_or_else(String::new, |column| format!(" at column {column}"));
            // Not the reader's own line: it counts a lone carriage return as one, and files of histories do not.
            let read = error.ptr.and_then(|ptr| text.get(..ptr)).unwrap_or_default();
            Err(Malformed { line: 1 + read.matches('\n').count() as u64, why: format!("{:?}{column}", error.code) })
        }
    }
}

/// What is left after blanks, commas and comments.
pub fn skip_blank(mut text: &str) -> &str {
    loop {
        text = text.trim_start_matches(|c: char| c.is_whitespace() || c == ',');
        let Some(comment) = text.strip_prefix(';') else { return text };
        text = comment.find('\n').map_or("", |end| &comment[end..]);
    }
}

/// Keywords, symbols and characters become texts, sets lists, keys of maps texts; a tag says nothing.
fn json(form: &Edn<'_>, depth: usize) -> Result<Value, &'static str> {
    if depth > DEPTH_MAX {
        return Err("nested too deep");
    }
    let list = |forms: &mut dyn Iterator<Item = &Edn<'_>>| {
        forms.map(|form| json(form, depth + 1)).collect::<Result<Vec<_>, _>>().map(Value::Array)
    };
    Ok(match form {
        Edn::Vector(forms) | Edn::List(forms) => list(&mut forms.iter())?,
        Edn::Set(forms) => list(&mut forms.iter())?,
        Edn::Map(entries) => {
            let entry = |(key, value): (&Edn<'_>, &Edn<'_>)| Ok((text(&json(key, depth + 1)?), json(value, depth + 1)?));
            Value::Object(entries.iter().map(entry).collect::<Result<Map<_, _>, &'static str>>()?)
        }
        Edn::Key(text) | Edn::Symbol(text) | Edn::Str(text) => text.as_ref().into(),
        Edn::Int(number) => (*number).into(),
        Edn::Tagged(_, form) => json(form, depth + 1)?,
        Edn::Double(number) => Number::from_f64(number.0).map(Value::Number).ok_or("a number that is none")?,
        Edn::Char(character) => character.to_string().into(),
        Edn::Bool(truth) => (*truth).into(),
        Edn::Nil => Value::Null,
        _ => return Err("a number that histories do not have"),
    })
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_of_jepsen_reads_as_json() {
        let line =
            "#jepsen.history.Op{:index 3, :time 17, :type :ok, :process 2, :f :txn, :value [[:r 3 [1 2]] [:append 3 4]], :x #{1}} ; seen";
        let (value, rest) = next(line).unwrap().unwrap();
        let expected = json!({"f": "txn", "index": 3, "process": 2, "time": 17, "type": "ok", "value": [["r", 3, [1, 2]], ["append", 3, 4]], "x": [1]});
        assert_eq!(value, expected);
        assert_eq!(next(rest), Ok(None));
        assert_eq!(next("{0 10, 1 -2.5, \"a\" nil, :b/c \\d}").unwrap().unwrap().0, json!({"b/c": "d", "a": null, "0": 10, "1": -2.5}));
    }

    #[test]
    fn what_is_none_says_where() {
        assert_eq!(next("{:a\n [1 }").unwrap_err().line, 2);
        assert_eq!(next("{:a\r\r\n [1 }").unwrap_err().line, 2);
    }

    #[test]
    fn depth_is_refused_and_does_not_exhaust_the_stack() {
        for deep in [format!("{}{}", "[".repeat(1_000_000), "]".repeat(1_000_000)), format!("{}1", "#a ".repeat(1_000_000))] {
            assert_eq!(next(&deep), Err(Malformed { line: 1, why: "nested too deep".into() }));
        }
        assert!(next(&"[".repeat(1_000_000)).is_err());
    }
}
