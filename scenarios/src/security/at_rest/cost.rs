//! What encryption costs: the same durable writes on a plain and on an encrypted volume, in turns.

use std::time::{Duration, Instant};

use dora_harness::patience::within;

use super::Alone;
use crate::ScenarioError;

/// Rounds on each; an odd number has a median that was measured.
const ROUNDS: usize = 5;
/// How long one round writes.
const ROUND: Duration = Duration::from_millis(500);
/// Writes before the first round, which find cold caches and files that still grow.
const WARM_UP: Duration = Duration::from_millis(300);

/// A restarted server takes writes by then.
const RETURN_LIMIT: Duration = Duration::from_secs(40);

/// Durable writes a second, one after the other; medians of all rounds.
pub struct Cost {
    /// On the plain volume.
    pub plain: f64,
    /// On the encrypted one.
    pub encrypted: f64,
}

/// Measures both in turns, so that what else the machine does meets both alike.
pub async fn measure(plain: &dyn Alone, encrypted: &dyn Alone, first_number: u64) -> Result<Cost, ScenarioError> {
    let mut number = first_number;
    for server in [plain, encrypted] {
        // One of them was just started again, and may answer reads before it takes writes.
        number += 1;
        within("a write after the restart", RETURN_LIMIT, Duration::from_millis(200), || server.write(number)).await?;
        write_for(server, WARM_UP, &mut number).await?;
    }
    let mut rates = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        for (server, rates) in [plain, encrypted].into_iter().zip(&mut rates) {
            rates.push(write_for(server, ROUND, &mut number).await?);
        }
    }
    let [plain, encrypted] = rates.map(median);
    Ok(Cost { plain, encrypted })
}

async fn write_for(server: &dyn Alone, how_long: Duration, number: &mut u64) -> Result<f64, ScenarioError> {
    let (start, mut count) = (Instant::now(), 0_u32);
    while start.elapsed() < how_long {
        *number += 1;
        server.write(*number).await.map_err(|error| ScenarioError::client(format!("write to {}", server.node().name()), error))?;
        count += 1;
    }
    Ok(f64::from(count) / start.elapsed().as_secs_f64())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_one_counts() {
        assert!((median(vec![9.0, 1.0, 5.0]) - 5.0).abs() < f64::EPSILON);
    }
}
