//! Statements are files that a DBA can read: no SQL, Cypher or InfluxQL stands in a string of the Rust sources.
//!
//! Method: every string literal below `harness/src` and `scenarios/src`, those of their tests too, is searched for the words with which
//! statements and their clauses begin, as statements are written here: in capitals, with a blank behind. Comments are not searched.
//! What it does not show: a statement in small letters, one put together from pieces without such a word, and what drivers take as data
//! and not as text (commands of MongoDB and Redis).

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

const WORDS: &[&str] = &[
    "SELECT ",
    "INSERT ",
    "UPDATE ",
    "DELETE ",
    "CREATE ",
    "DROP ",
    "ALTER ",
    "GRANT ",
    "REVOKE ",
    "TRUNCATE ",
    "SHOW ",
    "SET PASSWORD ",
    "MATCH ",
    "MERGE ",
    "UNWIND ",
    "CALL ",
    "RETURN ",
];

/// Strings with such a word that are no statement of the harness: their file, and how they begin.
const ALLOWED: &[(&str, &str)] = &[
    // A line for a person's shell, which `dora up` prints.
    ("harness/src/database/influxdb/deployment.rs", "curl --cacert"),
    // By this a statement of the project's own script is known.
    ("scenarios/src/security/identity/neo4j/roles.rs", "CALL dbms.security.addRoleToUser("),
    // Words of a report.
    ("scenarios/src/security/identity/postgres/scenarios.rs", "statements that cannot run in a transaction"),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_owned).unwrap_or_default()
}

/// Adds every Rust source below a folder.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("the folder can be read").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
}

/// How many bytes stand before `mark`; all when it is not there.
fn before(rest: &[u8], mark: &[u8]) -> usize {
    rest.windows(mark.len()).position(|window| window == mark).unwrap_or(rest.len())
}

/// How many bytes stand before the quote that ends a string.
fn before_quote(rest: &[u8]) -> usize {
    let mut is_escaped = false;
    let ends = |byte: &u8| {
        let ends = *byte == b'"' && !is_escaped;
        is_escaped = *byte == b'\\' && !is_escaped;
        ends
    };
    rest.iter().position(ends).unwrap_or(rest.len())
}

/// How many `#` a raw string has that begins here.
fn raw_hashes(rest: &[u8]) -> Option<usize> {
    let behind = rest.strip_prefix(b"r")?;
    let hashes = behind.iter().take_while(|byte| **byte == b'#').count();
    (behind.get(hashes) == Some(&b'"')).then_some(hashes)
}

/// Every string literal of a Rust source as it stands there, with the line in which it begins.
fn literals(source: &str) -> Vec<(usize, &str)> {
    let bytes = source.as_bytes();
    let line = |at: usize| source[..at].matches('\n').count() + 1;
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        if rest.starts_with(b"//") {
            at += before(rest, b"\n");
        } else if rest.starts_with(b"/*") {
            at += before(rest, b"*/") + 2;
        } else if let Some(quote) = [r#"'"'"#, r#"'\"'"#].iter().find(|quote| rest.starts_with(quote.as_bytes())) {
            at += quote.len();
        } else if let Some(hashes) = raw_hashes(rest) {
            let (start, mark) = (at + hashes + 2, format!("\"{}", "#".repeat(hashes)));
            let end = start + before(&bytes[start..], mark.as_bytes());
            found.push((line(at), &source[start..end]));
            at = end + mark.len();
        } else if rest.starts_with(b"\"") {
            let start = at + 1;
            let end = start + before_quote(&bytes[start..]);
            found.push((line(at), &source[start..end]));
            at = end + 1;
        } else {
            at += 1;
        }
    }
    found
}

/// The first word of a statement in a literal.
fn query_word(literal: &str) -> Option<&'static str> {
    let text = literal.replace("\\n", "\n");
    let stands_alone = |word: &str| text.match_indices(word).any(|(at, _)| !text[..at].ends_with(char::is_alphanumeric));
    WORDS.iter().copied().find(|word| stands_alone(word))
}

#[test]
fn every_statement_is_a_file() {
    let root = root();
    let mut files = Vec::new();
    for folder in ["harness/src", "scenarios/src"] {
        sources(&root.join(folder), &mut files);
    }
    files.sort();
    let mut wrong = Vec::new();
    let mut used = BTreeSet::new();
    for path in &files {
        let name = path.strip_prefix(&root).unwrap_or(path).to_string_lossy().into_owned();
        let source = std::fs::read_to_string(path).expect("a source is text");
        for (line, text) in literals(&source) {
            let Some(word) = query_word(text) else { continue };
            if let Some(at) = ALLOWED.iter().position(|(file, beginning)| *file == name && text.starts_with(beginning)) {
                used.insert(at);
            } else {
                wrong.push(format!("{name}:{line}: {} in \"{text}\"", word.trim_end()));
            }
        }
    }
    assert!(wrong.is_empty(), "these belong into files below fixtures/schema or fixtures/roles:\n{}", wrong.join("\n"));
    assert_eq!(used.len(), ALLOWED.len(), "take out of the list what is not there any more; used are {used:?}");
}

#[test]
fn a_statement_in_a_string_is_found_with_its_line() {
    let source = r##"// "SELECT 1"
let quote = '"';
/* "DROP TABLE a" */
let raw = r#"SHOW "grants" x"#;
let text = "\"\nMATCH (n)"; // "CALL a"
"##;
    let found: Vec<_> = literals(source).into_iter().map(|(line, text)| (line, query_word(text))).collect();
    assert_eq!(found, [(4, Some("SHOW ")), (5, Some("MATCH "))]);
    for text in ["a SHOWcase", "RESELECT one", "-j RETURN", "SET", "match nothing"] {
        assert_eq!(query_word(text), None, "{text}");
    }
}
