//! The JSON schema of `evidence.json`.

use crate::Evidence;

/// The JSON schema of the evidence, generated from the types that write it.
#[must_use]
pub fn json_schema() -> serde_json::Value {
    schemars::schema_for!(Evidence).into()
}
