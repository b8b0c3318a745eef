//! Several faults at the same moment.

use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::{join_all, try_join_all};
use tokio::time::sleep;

use super::{Fault, FaultError};

/// Faults that are injected side by side: a room that loses its power, a majority that goes. It is broken when each of them is, and
/// mended when each of them is.
#[derive(Debug)]
pub struct Together {
    parts: Vec<Box<dyn Fault>>,
    between: Duration,
    /// Whether one probe is asked after the other.
    apart: bool,
}

impl Together {
    /// At least one.
    pub fn new(parts: Vec<Box<dyn Fault>>) -> Self {
        Self { parts, between: Duration::ZERO, apart: false }
    }

    /// The same, but injected one after the other in their order, with this much time between two. They are healed at the same moment.
    #[must_use]
    pub fn spaced(self, between: Duration) -> Self {
        Self { between, ..self }
    }

    /// The same, but the probes are asked one after the other: those that count packets on a node would count each other's.
    #[must_use]
    pub fn apart(self) -> Self {
        Self { apart: true, ..self }
    }

    fn joined(&self, of: impl Fn(&dyn Fault) -> String) -> String {
        let mut all: Vec<String> = self.parts.iter().map(|part| of(part.as_ref())).collect();
        all.dedup();
        all.join(", ")
    }
}

#[async_trait]
impl Fault for Together {
    fn kind(&self) -> &'static str {
        self.parts.first().map_or("nothing", |part| part.kind())
    }

    fn target(&self) -> String {
        self.joined(|part| part.target())
    }

    async fn prepare(&self) -> Result<(), FaultError> {
        if self.parts.is_empty() {
            return Err(FaultError::Other("nothing is to be broken; name at least one fault".into()));
        }
        if self.apart {
            for part in &self.parts {
                part.prepare().await?;
            }
            return Ok(());
        }
        try_join_all(self.parts.iter().map(Fault::prepare)).await?;
        Ok(())
    }

    async fn inject(&self) -> Result<(), FaultError> {
        if self.between.is_zero() {
            try_join_all(self.parts.iter().map(Fault::inject)).await?;
            return Ok(());
        }
        for (at, part) in self.parts.iter().enumerate() {
            if at > 0 {
                sleep(self.between).await;
            }
            part.inject().await?;
        }
        Ok(())
    }

    fn confirmed_by(&self) -> String {
        self.joined(|part| part.confirmed_by())
    }

    async fn is_broken(&self) -> Result<(), String> {
        if self.apart {
            for part in &self.parts {
                part.is_broken().await?;
            }
            return Ok(());
        }
        try_join_all(self.parts.iter().map(Fault::is_broken)).await?;
        Ok(())
    }

    async fn heal(&self) -> Result<(), FaultError> {
        // One that cannot be healed does not keep the others from it.
        join_all(self.parts.iter().map(Fault::heal)).await.into_iter().collect()
    }

    fn healed_by(&self) -> String {
        self.joined(|part| part.healed_by())
    }

    async fn is_mended(&self) -> Result<(), String> {
        if self.apart {
            for part in &self.parts {
                part.is_mended().await?;
            }
            return Ok(());
        }
        try_join_all(self.parts.iter().map(Fault::is_mended)).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    };

    use super::*;

    #[derive(Debug, Default)]
    struct Lamp {
        dark: AtomicBool,
        stuck: bool,
        /// What a probe has to itself while it looks.
        glass: Option<Arc<AtomicBool>>,
    }

    #[async_trait]
    impl Fault for Lamp {
        fn kind(&self) -> &'static str {
            "lamp"
        }
        fn target(&self) -> String {
            "a lamp".into()
        }
        async fn inject(&self) -> Result<(), FaultError> {
            self.dark.store(!self.stuck, Ordering::Relaxed);
            Ok(())
        }
        fn confirmed_by(&self) -> String {
            "looking".into()
        }
        async fn is_broken(&self) -> Result<(), String> {
            if let Some(glass) = &self.glass {
                if glass.swap(true, Ordering::Relaxed) {
                    return Err("another probe looks".into());
                }
                sleep(Duration::from_millis(10)).await;
                glass.store(false, Ordering::Relaxed);
            }
            if self.dark.load(Ordering::Relaxed) { Ok(()) } else { Err("it shines".into()) }
        }
        async fn heal(&self) -> Result<(), FaultError> {
            self.dark.store(false, Ordering::Relaxed);
            if self.stuck { Err(FaultError::Other("stuck".into())) } else { Ok(()) }
        }
        fn healed_by(&self) -> String {
            "looking".into()
        }
        async fn is_mended(&self) -> Result<(), String> {
            if self.dark.load(Ordering::Relaxed) { Err("dark".into()) } else { Ok(()) }
        }
    }

    #[tokio::test]
    async fn all_are_broken_or_it_does_not_count_and_all_are_healed() {
        let (stuck, other) = (Arc::new(Lamp { stuck: true, ..Lamp::default() }), Arc::new(Lamp::default()));
        let both = Together::new(vec![Box::new(Arc::clone(&stuck)), Box::new(Arc::clone(&other))]);
        both.inject().await.unwrap();
        assert_eq!(both.is_broken().await, Err("it shines".into()));
        assert!(both.is_mended().await.is_err());
        assert!(both.heal().await.is_err());
        assert_eq!(both.is_mended().await, Ok(()));
        assert_eq!(both.target(), "a lamp");
    }

    #[tokio::test]
    async fn one_after_the_other_means_that_the_second_shines_until_its_turn() {
        let (first, second) = (Arc::new(Lamp::default()), Arc::new(Lamp::default()));
        let both = Together::new(vec![Box::new(Arc::clone(&first)), Box::new(Arc::clone(&second))]).spaced(Duration::from_millis(400));
        let early = async {
            sleep(Duration::from_millis(100)).await;
            (first.is_broken().await.is_ok(), second.is_broken().await.is_ok())
        };
        let (injected, early) = tokio::join!(both.inject(), early);
        injected.unwrap();
        assert_eq!(early, (true, false));
        assert_eq!(both.is_broken().await, Ok(()));
    }

    #[tokio::test]
    async fn apart_no_probe_looks_while_another_does() {
        let glass = Arc::new(AtomicBool::default());
        let lamp = || -> Box<dyn Fault> { Box::new(Lamp { glass: Some(Arc::clone(&glass)), ..Lamp::default() }) };
        let apart = Together::new(vec![lamp(), lamp()]).apart();
        apart.inject().await.unwrap();
        assert_eq!(apart.is_broken().await, Ok(()));
        let at_once = Together::new(vec![lamp(), lamp()]);
        at_once.inject().await.unwrap();
        assert_eq!(at_once.is_broken().await, Err("another probe looks".into()));
    }

    #[tokio::test]
    async fn nothing_is_no_fault() {
        assert!(Together::new(Vec::new()).prepare().await.is_err());
    }
}
