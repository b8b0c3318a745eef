//! How numbers, durations and names are written for people.

/// Capitalised proper name of a database, pillar or anything else that evidence names by a lowercase key.
pub(crate) fn proper(key: &str) -> String {
    let known = match key {
        "postgres" | "postgresql" => "PostgreSQL",
        "neo4j" => "Neo4j",
        "mongodb" => "MongoDB",
        "influxdb" => "InfluxDB",
        "redis" => "Redis",
        "openbao" => "OpenBao",
        "platform" => "All five together",
        "ha" => "High availability",
        "backup" => "Backup and restore",
        "tls" | "encryption" => "Encryption",
        "roles" => "Roles of the databases",
        "lifecycle" => "Data lifecycle",
        _ => return capitalised(&human(key)),
    };
    known.to_owned()
}

/// A stable snake-case or kebab-case name as words.
pub(crate) fn human(name: &str) -> String {
    let words = name.strip_suffix("_ms").unwrap_or(name).replace(['_', '-'], " ");
    let word = |word| match word {
        "cpu" => "CPU",
        "io" => "I/O",
        word => word,
    };
    words.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

/// The first letter in upper case, unless the first word is the name of a node, a scenario or a measure.
pub(crate) fn capitalised(text: &str) -> String {
    let first_word = text.split_whitespace().next().unwrap_or_default();
    if first_word.contains(|letter: char| letter == '/' || letter == '_' || letter.is_ascii_digit()) {
        return text.to_owned();
    }
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// Milliseconds in the unit that reads best, with about three significant digits.
pub(crate) fn duration(ms: f64) -> String {
    let seconds = ms / 1_000.0;
    if !ms.is_finite() {
        "—".to_owned()
    } else if seconds.abs() < 1.0 {
        format!("{}\u{a0}ms", significant(ms))
    } else if seconds.abs() < 120.0 {
        format!("{}\u{a0}s", significant(seconds))
    } else {
        let whole = seconds.round() as i64;
        match whole % 60 {
            0 => format!("{}\u{a0}min", whole / 60),
            rest => format!("{}\u{a0}min {rest}\u{a0}s", whole / 60),
        }
    }
}

/// Bytes with a binary prefix.
pub(crate) fn bytes(count: f64) -> String {
    let mut value = count;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value.abs() < 1024.0 {
            return format!("{}\u{a0}{unit}", significant(value));
        }
        value /= 1024.0;
    }
    format!("{}\u{a0}TiB", significant(value))
}

/// A value with its unit; durations and sizes get the prefix that reads best, ratios are percentages.
pub(crate) fn quantity(value: f64, unit: &str) -> String {
    match unit {
        "ms" => duration(value),
        "s" => duration(value * 1_000.0),
        "bytes" | "B" => bytes(value),
        "%" => format!("{}\u{a0}%", number(value)),
        "" | "count" => number(value),
        "ratio" => format!("{}\u{a0}%", number(value * 100.0)),
        unit if (value - 1.0).abs() < f64::EPSILON && unit.ends_with('s') && !unit.contains('/') => {
            format!("1\u{a0}{}", &unit[..unit.len() - 1])
        }
        unit => format!("{}\u{a0}{unit}", number(value)),
    }
}

/// A number: whole numbers in full with grouped thousands, others with about three significant digits.
pub(crate) fn number(value: f64) -> String {
    if !value.is_finite() {
        return "—".to_owned();
    }
    if value.fract() == 0.0 || value.abs() >= 1_000.0 {
        return grouped(value.round() as i64);
    }
    significant(value)
}

fn significant(value: f64) -> String {
    let decimals = match value.abs() {
        v if v >= 99.95 => 0,
        v if v >= 9.995 => 1,
        v if v >= 0.9995 => 2,
        _ => 3,
    };
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

fn grouped(value: i64) -> String {
    let digits = value.unsigned_abs().to_string();
    let mut out = String::from(if value < 0 { "−" } else { "" });
    for (at, digit) in digits.chars().enumerate() {
        // Numbers of four digits read well without a gap.
        if at > 0 && digits.len() > 4 && (digits.len() - at).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}

/// `1 scenario`, `2 scenarios`.
pub(crate) fn plural(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// Letters, digits and hyphens only: fit for an anchor, a file name.
pub(crate) fn slug(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_ascii_alphanumeric() {
            out.push(letter.to_ascii_lowercase());
        } else if !out.ends_with('-') && !out.is_empty() {
            out.push('-');
        }
    }
    out.trim_end_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_read_well() {
        let plain = |value, unit| quantity(value, unit).replace(['\u{a0}', '\u{202f}'], " ");
        assert_eq!(plain(0.412, "ms"), "0.412 ms");
        assert_eq!(plain(999.96, "ms"), "1000 ms");
        assert_eq!(plain(4_213.0, "ms"), "4.21 s");
        assert_eq!(plain(15_000.0, "ms"), "15 s");
        assert_eq!(plain(192_000.0, "ms"), "3 min 12 s");
        assert_eq!(plain(f64::from(3 << 19), "bytes"), "1.5 MiB");
        assert_eq!(plain(1_234_567.0, "op/s"), "1 234 567 op/s");
        assert_eq!(plain(1.0, "operations"), "1 operation");
        assert_eq!(plain(0.0, "operations"), "0 operations");
        assert_eq!(plain(99.95, "%"), "100 %");
        assert_eq!(plain(0.001, "ratio"), "0.1 %");
    }

    #[test]
    fn slugs_are_safe_names() {
        assert_eq!(slug("ha/postgres"), "ha-postgres");
        assert_eq!(slug("../../etc/passwd"), "etc-passwd");
    }
}
