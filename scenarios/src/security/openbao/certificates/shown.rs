//! Client certificates of several kinds, shown to listeners: what each is answered, and what is wrong with the answers.

use dora_harness::{security::Identity, topology::Node};
use dora_reports::evidence::{Finding, ProbeCell, ProbeMatrix, ProbeRow};

use crate::Trial;

/// One kind: its name, the answer that is due, and a certificate of the kind.
pub(super) type Kind<'a> = (&'a str, &'a str, Identity);

/// What each kind of certificate got from each node, as a matrix. The answers are in the order of the nodes, and of the kinds for each.
pub(super) fn matrix(nodes: &[Node], port: u16, title: &str, kinds: &[Kind<'_>], answers: Vec<String>) -> ProbeMatrix {
    let mut answers = answers.into_iter();
    let rows = nodes.iter().map(|node| ProbeRow {
        name: format!("{}:{port}", node.name()),
        cells: kinds.iter().map(|(name, due, _)| answers.next().map(|answer| cell(name, due, answer))).collect(),
    });
    let rows = rows.collect();
    ProbeMatrix {
        title: title.to_owned(),
        row_heading: "Listener".into(),
        columns: kinds.iter().map(|(name, _, _)| (*name).to_owned()).collect(),
        rows,
    }
}

/// A bad certificate that was refused, but not visibly for the reason that is to be shown, decides nothing.
fn cell(name: &str, due: &str, answer: String) -> ProbeCell {
    let undecided = name != "good" && answer != "accepted" && answer != due;
    ProbeCell { undecided, ..ProbeCell::new(due, answer) }
}

/// Registers what is wrong with the answers.
pub(super) fn judge(trial: &Trial, matrix: &ProbeMatrix, kinds: &[Kind<'_>]) {
    for row in &matrix.rows {
        for ((name, due, _), cell) in kinds.iter().zip(row.cells.iter().flatten()).filter(|(_, cell)| !cell.ok) {
            let message = format!("{}: the certificate `{name}` was answered with {} instead of {due}", row.name, cell.observed);
            trial.find(match (*name, cell.observed.as_str()) {
                ("expired", "accepted") => Finding::violation("expired-certificate-accepted", message),
                ("revoked", "accepted") => Finding::violation("revoked-certificate-accepted", message),
                ("by a foreign authority", "accepted") => Finding::violation("foreign-certificate-accepted", message),
                ("good", _) => Finding::violation("good-certificate-refused", message),
                // Refused, but for another reason than the one that is to be shown.
                _ => Finding::unconfirmed("refused-for-another-reason", message),
            });
        }
    }
}
