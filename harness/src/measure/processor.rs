//! What the harness itself costs.

use std::time::Duration;

/// The length of a tick in `/proc/PID/stat`: 100 a second for every program, whatever the kernel's own clock (proc(5), `USER_HZ`).
const TICK: Duration = Duration::from_millis(10);
/// User and system time are the fields 14 and 15; what follows the program's name begins with field 3.
const USER_AFTER_NAME: usize = 14 - 3;

/// The processor time of this process so far, all its threads together; [`None`] where the kernel does not tell.
pub fn processor_time() -> Option<Duration> {
    parse(&std::fs::read_to_string("/proc/self/stat").ok()?)
}

/// The name is in parentheses and may hold anything, blanks and parentheses among it.
fn parse(stat: &str) -> Option<Duration> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let ticks: Vec<u32> = after_name.split_whitespace().skip(USER_AFTER_NAME).take(2).filter_map(|field| field.parse().ok()).collect();
    match ticks.as_slice() {
        [user, system] => Some(TICK * (user + system)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_time_count() {
        let stat = "7 (a) name) S 1 7 7 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 9 0 100 1000 200";
        assert_eq!(parse(stat), Some(Duration::from_secs(3)));
        assert_eq!(parse("7 (name) S 1"), None);
    }

    #[test]
    fn work_is_seen() {
        let before = processor_time().unwrap();
        let mut sum = 0_u64;
        while processor_time().unwrap() < before + 2 * TICK {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
    }
}
