//! `dora check` on histories of each outcome: what it prints and with which code it ends.

use std::process::{Command, Output};

use tempfile::TempDir;

const BANK: &str = r"{:type :invoke, :f :read, :value nil, :process 0, :time 1, :index 0}
{:type :info, :f :start-partition, :value nil, :process :nemesis, :time 2, :index 1}
{:type :ok, :f :read, :value {0 10, 1 10}, :process 0, :time 3, :index 2}
";

fn check(history: &str, arguments: &[&str]) -> Output {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("history");
    std::fs::write(&file, history).unwrap();
    Command::new(env!("CARGO_BIN_EXE_dora")).arg("check").arg(&file).args(arguments).current_dir(folder.path()).output().unwrap()
}

fn said(output: &Output) -> (i32, String) {
    (output.status.code().unwrap(), String::from_utf8_lossy(&[output.stdout.as_slice(), output.stderr.as_slice()].concat()).into_owned())
}

#[test]
fn each_answer_has_its_exit_code_and_its_reason() {
    let (code, text) = said(&check(BANK, &["--model", "bank"]));
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("holds: bank") && text.contains("1 operations: 1 ok, 0 failed, 0 unknown (1 read); 1 lines of others"), "{text}");
    let (code, text) = said(&check(BANK, &["--model", "bank", "--total", "30"]));
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("[total-changed]") && text.contains("#0 process 0: read"), "{text}");
    // Nothing was ever acknowledged, so there is nothing to decide from.
    let (code, text) = said(&check(&BANK.replace(":type :ok", ":type :info"), &["--model", "bank"]));
    assert_eq!(code, 4, "{text}");
}

#[test]
fn what_the_user_can_set_right_ends_with_2() {
    let (code, text) = said(&check(&BANK.replace(":time 3", ":time 1"), &["--model", "bank"]));
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("line 3: the time 1 is before 2"), "{text}");
    let (code, text) = said(&check(&format!("\n{BANK}"), &["--model", "causal"]));
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("line 2: operation 0 (read") && text.contains("--model"), "{text}");
    assert_eq!(said(&check(BANK, &["--model", "banks"])).0, 2);
    assert_eq!(said(&check(BANK, &["--model", "bank", "--level", "serializable"])).0, 2);
    assert_eq!(said(&check(BANK, &["--model", "list-append", "--level", "serial"])).0, 2);
    assert_eq!(said(&check(BANK, &["--model", "bank", "--time-limit", "soon"])).0, 2);
}
