//! Several faults at the same moment.

use async_trait::async_trait;
use futures_util::future::{join_all, try_join_all};

use super::{Fault, FaultError};

/// Faults that are injected side by side and healed side by side, such as the loss of two of three nodes. They count as one: it is broken when
/// all are, and mended when all are.
#[derive(Debug)]
pub struct Together(Vec<Box<dyn Fault>>);

impl Together {
    /// All of these.
    pub fn new(faults: Vec<Box<dyn Fault>>) -> Self {
        Self(faults)
    }

    /// What all of them say, each once.
    fn words(&self, word: impl Fn(&dyn Fault) -> String) -> String {
        let mut words: Vec<String> = self.0.iter().map(|fault| word(fault.as_ref())).collect();
        words.dedup();
        words.join(" and ")
    }
}

#[async_trait]
impl Fault for Together {
    fn kind(&self) -> &'static str {
        self.0.first().map_or("nothing", |fault| fault.kind())
    }

    fn target(&self) -> String {
        self.words(|fault| fault.target())
    }

    async fn prepare(&self) -> Result<(), FaultError> {
        try_join_all(self.0.iter().map(Fault::prepare)).await.map(drop)
    }

    async fn inject(&self) -> Result<(), FaultError> {
        try_join_all(self.0.iter().map(Fault::inject)).await.map(drop)
    }

    fn confirmed_by(&self) -> String {
        format!("on each: {}", self.words(|fault| fault.confirmed_by()))
    }

    async fn is_broken(&self) -> Result<(), String> {
        if self.0.is_empty() {
            return Err("there is no fault among these".into());
        }
        try_join_all(self.0.iter().map(Fault::is_broken)).await.map(drop)
    }

    async fn heal(&self) -> Result<(), FaultError> {
        // One that cannot be healed must not keep the others broken.
        join_all(self.0.iter().map(Fault::heal)).await.into_iter().collect()
    }

    fn healed_by(&self) -> String {
        format!("on each: {}", self.words(|fault| fault.healed_by()))
    }

    async fn is_mended(&self) -> Result<(), String> {
        try_join_all(self.0.iter().map(Fault::is_mended)).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicBool, Ordering},
        },
        time::{Duration, Instant},
    };

    use super::*;
    use crate::fault::inject;

    /// A lamp that can be put out, or one that shines for ever.
    #[derive(Debug)]
    struct Lamp {
        eternal: bool,
        dark: Arc<AtomicBool>,
    }

    #[async_trait]
    impl Fault for Lamp {
        fn kind(&self) -> &'static str {
            "darkness"
        }
        fn target(&self) -> String {
            "a lamp".into()
        }
        async fn inject(&self) -> Result<(), FaultError> {
            self.dark.store(!self.eternal, Ordering::Relaxed);
            Ok(())
        }
        fn confirmed_by(&self) -> String {
            "looking".into()
        }
        async fn is_broken(&self) -> Result<(), String> {
            if self.dark.load(Ordering::Relaxed) { Ok(()) } else { Err("it shines".into()) }
        }
        async fn heal(&self) -> Result<(), FaultError> {
            self.dark.store(false, Ordering::Relaxed);
            Ok(())
        }
        fn healed_by(&self) -> String {
            "looking".into()
        }
        async fn is_mended(&self) -> Result<(), String> {
            if self.dark.load(Ordering::Relaxed) { Err("it is dark".into()) } else { Ok(()) }
        }
    }

    #[tokio::test]
    async fn one_that_does_not_show_leaves_all_unconfirmed_and_all_are_healed() {
        let mortal = Arc::new(AtomicBool::new(false));
        let faults: Vec<Box<dyn Fault>> =
            vec![Box::new(Lamp { eternal: false, dark: Arc::clone(&mortal) }), Box::new(Lamp { eternal: true, dark: Arc::default() })];
        let injected = inject(Together::new(faults), Instant::now()).await.unwrap();
        assert!(mortal.load(Ordering::Relaxed));
        let unconfirmed = injected.confirm(Duration::from_millis(120)).await.unwrap_err();
        let record = unconfirmed.heal().await.unwrap().confirm(Duration::from_secs(1)).await;
        assert!(!mortal.load(Ordering::Relaxed) && record.heal_confirmed_ms.is_some());
        assert_eq!(record.target, "a lamp");
    }

    #[tokio::test]
    async fn nothing_at_all_is_never_confirmed() {
        assert!(Together::new(Vec::new()).is_broken().await.is_err());
    }
}
