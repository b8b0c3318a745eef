//! Dependencies have an allowed licence, come from crates.io and are none of those that are banned (`deny.toml`).
//!
//! Method: cargo-deny, which `bootstrap.sh` installs. Each of its three checks is also seen to refuse: a check that cannot fail is none.
//! What it does not show: known vulnerabilities. For those cargo-deny needs the `RustSec` database, a git repository that a build machine may
//! not reach: `just deny advisories` where it can.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_owned).unwrap_or_default()
}

/// Where `bootstrap.sh` puts programs, before where everyone does.
fn path() -> String {
    let home = std::env::var("HOME").unwrap_or_else(|_| "/root".into());
    let cache = std::env::var("XDG_CACHE_HOME").unwrap_or_else(|_| format!("{home}/.cache"));
    format!("{cache}/dora/bin:{}", std::env::var("PATH").unwrap_or_default())
}

fn deny(config: &Path, which: &[&str]) -> Output {
    let manifest = root().join("Cargo.toml");
    Command::new("cargo")
        .env("PATH", path())
        .args(["deny", "--color", "never", "--manifest-path"])
        .arg(manifest)
        .arg("--config")
        .arg(config)
        .args(["check", "--hide-inclusion-graph"])
        .args(which)
        .output()
        .expect("cargo runs, because it runs this test")
}

fn words(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn all_dependencies_are_allowed() {
    let output = deny(&root().join("deny.toml"), &["licenses", "bans", "sources"]);
    let words = words(&output);
    assert!(!words.contains("no such command"), "cargo-deny is missing: `sh bootstrap.sh test` installs it");
    assert!(output.status.success() && words.contains("bans ok, licenses ok, sources ok"), "{words}");
}

/// The project's own configuration with one line changed, the check that has to notice, and what it says.
#[test]
fn each_check_can_refuse() {
    let text = std::fs::read_to_string(root().join("deny.toml")).expect("the configuration is there");
    let changes = [
        ("    \"Unicode-3.0\",\n", "", "licenses", "licenses FAILED"),
        ("{ crate = \"failure\"", "{ crate = \"serde\"", "bans", "bans FAILED"),
        ("allow-git = []", "allow-git = []\nallow-registry = []", "sources", "sources FAILED"),
    ];
    for (from, to, check, expected) in changes {
        assert!(text.contains(from), "the configuration lacks {from}");
        let file = tempfile::NamedTempFile::new().expect("a file can be made");
        std::fs::write(file.path(), text.replace(from, to)).expect("it can be written");
        let output = deny(file.path(), &[check]);
        assert!(!output.status.success() && words(&output).contains(expected), "{check}: {}", words(&output));
    }
}
