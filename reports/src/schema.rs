//! The JSON schema of `evidence.json`, which is also published as the file `evidence.schema.json` of this crate.

use crate::Evidence;

/// The JSON schema of the evidence, generated from the types that write it.
#[must_use]
pub fn json_schema() -> serde_json::Value {
    schemars::schema_for!(Evidence).into()
}
