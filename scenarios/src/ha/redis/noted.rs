//! A fault that says when it was there.

use async_trait::async_trait;
use dora_harness::fault::{Fault, FaultError};

/// A fault, and what is to be done in the moment in which its injector has done its work: a cut that takes a second to make is not there
/// from the order on.
pub struct Noted<N> {
    fault: Box<dyn Fault>,
    note: N,
}

impl<N: Fn() + Send + Sync> Noted<N> {
    /// Calls `note` when the fault is there.
    pub fn new(fault: Box<dyn Fault>, note: N) -> Self {
        Self { fault, note }
    }
}

impl<N> std::fmt::Debug for Noted<N> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.fault.fmt(formatter)
    }
}

#[async_trait]
impl<N: Fn() + Send + Sync> Fault for Noted<N> {
    fn kind(&self) -> &'static str {
        self.fault.kind()
    }

    fn target(&self) -> String {
        self.fault.target()
    }

    async fn prepare(&self) -> Result<(), FaultError> {
        self.fault.prepare().await
    }

    async fn inject(&self) -> Result<(), FaultError> {
        self.fault.inject().await?;
        (self.note)();
        Ok(())
    }

    fn confirmed_by(&self) -> String {
        self.fault.confirmed_by()
    }

    async fn is_broken(&self) -> Result<(), String> {
        self.fault.is_broken().await
    }

    async fn heal(&self) -> Result<(), FaultError> {
        self.fault.heal().await
    }

    fn healed_by(&self) -> String {
        self.fault.healed_by()
    }

    async fn is_mended(&self) -> Result<(), String> {
        self.fault.is_mended().await
    }
}
