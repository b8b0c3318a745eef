//! What one program said in one run, and how two programs compare.

use std::collections::BTreeMap;

/// Histories that are checked and compared together.
pub struct Group {
    /// Its name on the command lines.
    pub name: &'static str,
    what: &'static str,
    /// Our time may be this part of theirs; `None`: reported only.
    time_max: Option<f64>,
    /// Whether our peak memory may not be more than theirs.
    is_memory_bound: bool,
    /// A history is compared with its counterpart too, not only their sum.
    is_each: bool,
    /// Histories that may take a minute each: one round.
    pub is_slow: bool,
}

/// All groups, and what is asked of each.
pub const GROUPS: [Group; 3] = [
    Group {
        name: "keyed",
        what: "102 etcd registers and 6 key-value stores, checked key by key",
        time_max: Some(1.0 / 3.0),
        is_memory_bound: true,
        is_each: false,
        is_slow: false,
    },
    Group {
        name: "whole-10",
        what: "the key-value stores of 10 clients as one object",
        time_max: Some(0.5),
        is_memory_bound: true,
        is_each: true,
        is_slow: false,
    },
    Group {
        name: "whole-50",
        what: "the key-value stores of 50 clients as one object, 60 s each",
        time_max: None,
        is_memory_bound: false,
        is_each: false,
        is_slow: true,
    },
];

/// What one process printed.
pub struct Run {
    /// Verdict and milliseconds of each history.
    histories: BTreeMap<String, (String, f64)>,
    peak_kib: f64,
}

impl Run {
    /// Reads the JSON lines.
    pub fn parse(lines: &str) -> Result<Self, String> {
        let mut run = Self { histories: BTreeMap::new(), peak_kib: f64::NAN };
        for line in lines.lines() {
            let value: serde_json::Value = serde_json::from_str(line).map_err(|error| format!("read {line}: {error}"))?;
            if let (Some(history), Some(verdict), Some(ms)) = (value["history"].as_str(), value["verdict"].as_str(), value["ms"].as_f64()) {
                run.histories.insert(history.to_owned(), (verdict.to_owned(), ms));
            } else if let Some(peak) = value["peak_kib"].as_f64() {
                run.peak_kib = peak;
            } else {
                return Err(format!("read {line}: neither a history nor the peak memory"));
            }
        }
        Ok(run)
    }

    fn total_ms(&self) -> f64 {
        self.histories.values().map(|(_, ms)| ms).sum()
    }
}

impl Group {
    /// Prints the comparison; `false` when something that is asked is not met.
    pub fn compare(&self, ours: &[Run], theirs: &[Run]) -> bool {
        println!("{}: {} (median of {})", self.name, self.what, ours.len());
        let mut met = self.verdicts(ours, theirs);
        let (our_ms, their_ms) = (median(ours.iter().map(Run::total_ms)), median(theirs.iter().map(Run::total_ms)));
        met &= row("time, all", "ms", our_ms, their_ms, self.time_max);
        let ms = |runs: &[Run], name: &str| median(runs.iter().filter_map(|run| run.histories.get(name).map(|(_, ms)| *ms)));
        let mut slowest: Vec<(f64, &String)> = theirs[0].histories.keys().map(|name| (ms(theirs, name), name)).collect();
        slowest.sort_by(|one, other| other.0.total_cmp(&one.0));
        for (their_ms, name) in slowest.into_iter().take(6) {
            met &= row(name, "ms", ms(ours, name), their_ms, self.time_max.filter(|_| self.is_each));
        }
        let (our_kib, their_kib) = (median(ours.iter().map(|run| run.peak_kib)), median(theirs.iter().map(|run| run.peak_kib)));
        met &= row("peak memory", "KiB", our_kib, their_kib, self.is_memory_bound.then_some(1.0));
        println!();
        met
    }

    /// Every history got the same verdict from both, in every run. Where a limit is allowed, unknown differs from nothing.
    fn verdicts(&self, ours: &[Run], theirs: &[Run]) -> bool {
        let mut same = true;
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for (ours, theirs) in ours.iter().zip(theirs) {
            counts.clear();
            if !ours.histories.keys().eq(theirs.histories.keys()) {
                println!("  DIFFERENT histories were checked");
                same = false;
            }
            for (name, (verdict, _)) in &ours.histories {
                let (other, _) = theirs.histories.get(name).cloned().unwrap_or_default();
                *counts.entry(verdict).or_default() += 1;
                let is_open = self.is_slow && (verdict == "unknown" || other == "unknown");
                if *verdict != other {
                    println!("  {name}: ours says {verdict}, theirs {other}{}", if is_open { "" } else { "  DIFFERENT" });
                    same &= is_open;
                }
            }
        }
        println!("  verdicts: {}", counts.iter().map(|(verdict, count)| format!("{count} {verdict}")).collect::<Vec<_>>().join(", "));
        same
    }
}

fn row(name: &str, unit: &str, ours: f64, theirs: f64, max: Option<f64>) -> bool {
    let ratio = ours / theirs;
    // Not a number, where one is missing, is not met either.
    let met = max.is_none_or(|max| ratio <= max);
    let asked = max.map_or(String::new(), |max| format!(" asked: {max:.3}{}", if met { "" } else { "  NOT MET" }));
    println!("  {name:<12} ours {ours:>12.1} {unit:<3}  theirs {theirs:>12.1} {unit:<3}  ratio {ratio:.4}{asked}");
    met
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
