//! The life of a fault: prepare, inject, confirm, heal, confirm.

use std::{
    fmt::Debug,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use serde::Serialize;

use crate::{engine::EngineError, patience::within};

/// A fault could not be injected, healed or confirmed.
#[derive(Debug, thiserror::Error)]
pub enum FaultError {
    /// The engine refused.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A probe saw nothing in time.
    #[error(transparent)]
    Deadline(#[from] crate::patience::DeadlineError),
    /// The target was not whole before: what is broken already cannot be seen breaking.
    #[error("{target} is not whole before the {kind} ({why}); wait until it is, or aim elsewhere")]
    NotWhole {
        /// The fault's kind.
        kind: String,
        /// Its target.
        target: String,
        /// What the probe saw.
        why: String,
    },
    /// This machine, engine or image cannot do it.
    #[error("{what} is not possible here: {why}")]
    Unsupported {
        /// What was asked for.
        what: String,
        /// What is missing, and what to do about it.
        why: String,
    },
    /// A script or template of the injector.
    #[error(transparent)]
    Asset(#[from] dora_fixtures::assets::AssetError),
    /// Something else, in words.
    #[error("{0}")]
    Other(String),
}

/// Something that can be broken and mended.
#[async_trait]
pub trait Fault: Send + Sync + Debug {
    /// The kind, such as `kill`.
    fn kind(&self) -> &'static str;
    /// The node with its role at this moment, such as `pg2 (primary)`.
    fn target(&self) -> String;
    /// Looks whether the fault can be injected and seen here. By default the probe must find the target whole: the positive control,
    /// without which a probe that always fails would confirm every fault.
    async fn prepare(&self) -> Result<(), FaultError> {
        whole(self, WHOLE_LIMIT).await
    }
    /// Breaks it.
    async fn inject(&self) -> Result<(), FaultError>;
    /// Which probe tells that it is broken; it must not be the injector.
    fn confirmed_by(&self) -> String;
    /// Asks that probe once: `Ok` when it is broken.
    async fn is_broken(&self) -> Result<(), String>;
    /// Mends it; also what is only partly broken, or mended already.
    async fn heal(&self) -> Result<(), FaultError>;
    /// Which probe tells that it is mended.
    fn healed_by(&self) -> String;
    /// Asks that probe once: `Ok` when it is mended.
    async fn is_mended(&self) -> Result<(), String>;
}

/// Waits until the probe finds the target whole.
///
/// # Errors
/// [`FaultError::NotWhole`] after `limit`.
pub(super) async fn whole<F: Fault + ?Sized>(fault: &F, limit: Duration) -> Result<(), FaultError> {
    match within("a whole target", limit, PROBE_EVERY, || fault.is_mended()).await {
        Ok(()) => Ok(()),
        Err(deadline) => Err(FaultError::NotWhole { kind: fault.kind().to_owned(), target: fault.target(), why: deadline.last }),
    }
}

/// A scenario chooses its fault as a value: what a pointer points at is a fault itself.
macro_rules! fault_through_pointer {
    ($($pointer:ident),*) => {$(
        #[async_trait]
        impl<F: Fault + ?Sized> Fault for $pointer<F> {
            fn kind(&self) -> &'static str {
                (**self).kind()
            }
            fn target(&self) -> String {
                (**self).target()
            }
            async fn prepare(&self) -> Result<(), FaultError> {
                (**self).prepare().await
            }
            async fn inject(&self) -> Result<(), FaultError> {
                (**self).inject().await
            }
            fn confirmed_by(&self) -> String {
                (**self).confirmed_by()
            }
            async fn is_broken(&self) -> Result<(), String> {
                (**self).is_broken().await
            }
            async fn heal(&self) -> Result<(), FaultError> {
                (**self).heal().await
            }
            fn healed_by(&self) -> String {
                (**self).healed_by()
            }
            async fn is_mended(&self) -> Result<(), String> {
                (**self).is_mended().await
            }
        }
    )*};
}
fault_through_pointer!(Box, Arc);

/// A fault from injection to confirmed healing; all instants in milliseconds from the origin given at injection.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FaultRecord {
    /// The kind.
    pub kind: String,
    /// The target.
    pub target: String,
    /// When the injector had done its work.
    pub injected_ms: f64,
    /// When the probe saw it.
    pub confirmed_ms: Option<f64>,
    /// Which probe.
    pub confirmed_by: String,
    /// When healing was ordered.
    pub healed_ms: Option<f64>,
    /// When the probe saw it healed.
    pub heal_confirmed_ms: Option<f64>,
    /// Which probe.
    pub heal_confirmed_by: String,
}

/// What all states of a fault share.
#[derive(Debug)]
struct Life<F> {
    fault: F,
    origin: Instant,
    record: FaultRecord,
}

impl<F> Life<F> {
    fn now_ms(&self) -> f64 {
        self.origin.elapsed().as_secs_f64() * 1e3
    }
}

/// The injector has done its work; nobody has seen it yet.
#[derive(Debug)]
#[must_use = "an injected fault has to be confirmed and healed"]
pub struct Injected<F>(Life<F>);
/// A probe saw the fault.
#[derive(Debug)]
#[must_use = "a confirmed fault has to be healed"]
pub struct Confirmed<F>(Life<F>);
/// No probe saw the fault in time: what follows proves nothing, but it still has to be healed.
#[derive(Debug)]
#[must_use = "an unconfirmed fault has to be healed"]
pub struct Unconfirmed<F> {
    life: Life<F>,
    last: String,
}
/// The fault was mended; nobody has seen it yet.
#[derive(Debug)]
#[must_use = "healing has to be confirmed"]
pub struct Healed<F>(Life<F>);

/// How often a probe is asked.
const PROBE_EVERY: Duration = Duration::from_millis(50);
/// A target that is whole shows it within this time.
pub(super) const WHOLE_LIMIT: Duration = Duration::from_secs(10);

/// Prepares and injects a fault; its times count from `origin`. What was injected in part is healed before an error is returned.
///
/// # Errors
/// [`FaultError`] of the preparation or the injector.
pub async fn inject<F: Fault>(fault: F, origin: Instant) -> Result<Injected<F>, FaultError> {
    let record = FaultRecord {
        kind: fault.kind().to_owned(),
        target: fault.target(),
        injected_ms: 0.0,
        confirmed_ms: None,
        confirmed_by: fault.confirmed_by(),
        healed_ms: None,
        heal_confirmed_ms: None,
        heal_confirmed_by: fault.healed_by(),
    };
    fault.prepare().await?;
    // The clocks start when the order is given: the outage begins somewhere inside the order, and a later start would flatter.
    let injected_ms = origin.elapsed().as_secs_f64() * 1e3;
    if let Err(error) = fault.inject().await {
        // The first error tells more than one of the clean-up.
        let _ = fault.heal().await;
        return Err(error);
    }
    Ok(Injected(Life { fault, origin, record: FaultRecord { injected_ms, ..record } }))
}

impl<F: Fault> Injected<F> {
    /// When the injection was ordered, in milliseconds from the origin.
    pub fn injected_ms(&self) -> f64 {
        self.0.record.injected_ms
    }

    /// Asks the probe until it sees the fault.
    ///
    /// # Errors
    /// [`Unconfirmed`], which can still be healed.
    pub async fn confirm(self, limit: Duration) -> Result<Confirmed<F>, Unconfirmed<F>> {
        let Self(mut life) = self;
        let seen = within("the fault's effect", limit, PROBE_EVERY, || life.fault.is_broken()).await;
        match seen {
            Ok(()) => {
                life.record.confirmed_ms = Some(life.now_ms());
                Ok(Confirmed(life))
            }
            Err(deadline) => Err(Unconfirmed { life, last: deadline.last }),
        }
    }
}

impl<F: Fault> Confirmed<F> {
    /// The record so far.
    pub fn record(&self) -> &FaultRecord {
        &self.0.record
    }

    /// Mends it.
    ///
    /// # Errors
    /// [`FaultError`] of the healer.
    pub async fn heal(self) -> Result<Healed<F>, FaultError> {
        heal(self.0).await
    }
}

impl<F: Fault> Unconfirmed<F> {
    /// The record so far.
    pub fn record(&self) -> &FaultRecord {
        &self.life.record
    }

    /// What the probe saw in place of the fault.
    pub fn last_seen(&self) -> &str {
        &self.last
    }

    /// Mends it.
    ///
    /// # Errors
    /// [`FaultError`] of the healer.
    pub async fn heal(self) -> Result<Healed<F>, FaultError> {
        heal(self.life).await
    }
}

async fn heal<F: Fault>(mut life: Life<F>) -> Result<Healed<F>, FaultError> {
    life.record.healed_ms = Some(life.now_ms());
    life.fault.heal().await?;
    Ok(Healed(life))
}

impl<F: Fault> Healed<F> {
    /// Asks the probe until it sees the fault mended; the record says whether it did.
    pub async fn confirm(self, limit: Duration) -> FaultRecord {
        let Self(mut life) = self;
        if within("the end of the fault's effect", limit, PROBE_EVERY, || life.fault.is_mended()).await.is_ok() {
            life.record.heal_confirmed_ms = Some(life.now_ms());
        }
        life.record
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    /// A fault that may or may not show.
    #[derive(Debug)]
    struct Switch {
        shows: bool,
        broken: AtomicBool,
    }

    #[async_trait]
    impl Fault for Switch {
        fn kind(&self) -> &'static str {
            "switch"
        }
        fn target(&self) -> String {
            "a lamp".into()
        }
        async fn inject(&self) -> Result<(), FaultError> {
            self.broken.store(self.shows, Ordering::Relaxed);
            Ok(())
        }
        fn confirmed_by(&self) -> String {
            "looking".into()
        }
        async fn is_broken(&self) -> Result<(), String> {
            if self.broken.load(Ordering::Relaxed) { Ok(()) } else { Err("still shines".into()) }
        }
        async fn heal(&self) -> Result<(), FaultError> {
            self.broken.store(false, Ordering::Relaxed);
            Ok(())
        }
        fn healed_by(&self) -> String {
            "looking".into()
        }
        async fn is_mended(&self) -> Result<(), String> {
            if self.broken.load(Ordering::Relaxed) { Err("dark".into()) } else { Ok(()) }
        }
    }

    #[tokio::test]
    async fn a_fault_that_shows_is_confirmed_and_healed() {
        let fault = Switch { shows: true, broken: AtomicBool::new(false) };
        let injected = inject(fault, Instant::now()).await.unwrap();
        let confirmed = injected.confirm(Duration::from_secs(1)).await.unwrap();
        let record = confirmed.heal().await.unwrap().confirm(Duration::from_secs(1)).await;
        assert!(record.confirmed_ms.is_some() && record.heal_confirmed_ms.is_some());
    }

    #[tokio::test]
    async fn a_fault_that_does_not_show_stays_unconfirmed() {
        let fault = Switch { shows: false, broken: AtomicBool::new(false) };
        let injected = inject(fault, Instant::now()).await.unwrap();
        let unconfirmed = injected.confirm(Duration::from_millis(20)).await.unwrap_err();
        let record = unconfirmed.heal().await.unwrap().confirm(Duration::from_secs(1)).await;
        assert_eq!(record.confirmed_ms, None);
    }

    #[tokio::test]
    async fn what_is_broken_already_is_not_broken_again() {
        let fault = Switch { shows: true, broken: AtomicBool::new(true) };
        let error = whole(&fault, Duration::from_millis(20)).await.unwrap_err();
        assert!(matches!(&error, FaultError::NotWhole { why, .. } if why == "dark"), "{error}");
    }

    #[tokio::test]
    async fn a_fault_can_be_a_value() {
        let fault: Box<dyn Fault> = Box::new(Switch { shows: true, broken: AtomicBool::new(false) });
        let confirmed = inject(fault, Instant::now()).await.unwrap().confirm(Duration::from_secs(1)).await.unwrap();
        assert_eq!(confirmed.record().target, "a lamp");
    }
}
