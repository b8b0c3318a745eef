//! What was promised before the run and what was measured in it.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The objective of a scenario, written before its run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Objective {
    /// The objective in one sentence.
    pub statement: String,
    /// The limits that make it checkable.
    pub limits: Vec<NamedLimit>,
    /// SHA-256 of the canonical JSON of statement and limits, lowercase hexadecimal, taken before the run.
    pub sha256: String,
}

/// A limit with a name, for example `first_success ≤ 15000 ms`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NamedLimit {
    /// Stable name in snake case, the same as that of the measure which it limits.
    pub name: String,
    /// How the value is compared.
    pub op: Op,
    /// The limit.
    pub value: f64,
    /// Unit, for example `ms`, `op/s`, `operations`.
    pub unit: String,
}

/// A limit for one measured value, in that value's unit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Limit {
    /// How the value is compared.
    pub op: Op,
    /// The limit.
    pub value: f64,
}

/// How a measured value is compared with its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Op {
    /// value ≤ limit
    AtMost,
    /// value < limit
    Below,
    /// value ≥ limit
    AtLeast,
    /// value = limit, for counts
    Equal,
}

/// One measured value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Measured {
    /// Stable name in snake case.
    pub name: String,
    /// The value; absent when it was not observed (a service that never came back has no recovery time).
    #[serde(default)]
    pub value: Option<f64>,
    /// Unit, for example `ms`.
    pub unit: String,
    /// The limit that the objective sets for it.
    #[serde(default)]
    pub limit: Option<Limit>,
    /// Whether the limit was met; absent without a limit or without a value.
    #[serde(default)]
    pub met: Option<bool>,
}

impl Objective {
    /// Fixes an objective: call this before the run.
    #[must_use]
    pub fn new(statement: impl Into<String>, limits: Vec<NamedLimit>) -> Self {
        let statement = statement.into();
        let sha256 = hash(&statement, &limits);
        Self { statement, limits, sha256 }
    }

    /// Whether the hash belongs to statement and limits, that is: nobody moved the goal after the run.
    #[must_use]
    pub fn hash_matches(&self) -> bool {
        self.sha256 == hash(&self.statement, &self.limits)
    }

    /// The limit with this name.
    #[must_use]
    pub fn limit(&self, name: &str) -> Option<&NamedLimit> {
        self.limits.iter().find(|limit| limit.name == name)
    }

    /// A measured value compared with this objective's limit of the same name, if it has one.
    ///
    /// The unit is the limit's; without a limit it is `unit`.
    #[must_use]
    pub fn measure(&self, name: &str, value: Option<f64>, unit: &str) -> Measured {
        let Some(limit) = self.limit(name) else {
            return Measured::new(name, value, unit);
        };
        debug_assert_eq!(limit.unit, unit, "measure and limit of {name} have different units");
        Measured::against(name, value, &limit.unit, Limit { op: limit.op, value: limit.value })
    }
}

/// Canonical JSON has its keys in alphabetical order, no white space, and numbers in their shortest form.
fn hash(statement: &str, limits: &[NamedLimit]) -> String {
    /// The fields are in alphabetical order, and so are those of [`NamedLimit`]: serde keeps the order.
    #[derive(Serialize)]
    struct Canonical<'a> {
        limits: Vec<CanonicalLimit<'a>>,
        statement: &'a str,
    }
    #[derive(Serialize)]
    struct CanonicalLimit<'a> {
        name: &'a str,
        op: Op,
        unit: &'a str,
        value: f64,
    }
    let limits = limits.iter().map(|l| CanonicalLimit { name: &l.name, op: l.op, unit: &l.unit, value: l.value });
    let canonical = Canonical { limits: limits.collect(), statement };
    let json = serde_json::to_vec(&canonical).expect("strings, numbers and lists always serialise");
    hex::encode(Sha256::digest(json))
}

impl NamedLimit {
    /// A limit with a name.
    #[must_use]
    pub fn new(name: impl Into<String>, op: Op, value: f64, unit: impl Into<String>) -> Self {
        Self { name: name.into(), op, value, unit: unit.into() }
    }

    /// `name ≤ value unit`
    #[must_use]
    pub fn at_most(name: impl Into<String>, value: f64, unit: impl Into<String>) -> Self {
        Self::new(name, Op::AtMost, value, unit)
    }

    /// `name ≥ value unit`
    #[must_use]
    pub fn at_least(name: impl Into<String>, value: f64, unit: impl Into<String>) -> Self {
        Self::new(name, Op::AtLeast, value, unit)
    }
}

impl Measured {
    /// A value that no objective limits.
    #[must_use]
    pub fn new(name: impl Into<String>, value: Option<f64>, unit: impl Into<String>) -> Self {
        let value = value.filter(|value| value.is_finite());
        Self { name: name.into(), value, unit: unit.into(), limit: None, met: None }
    }

    /// A value compared with a limit. A value that is absent or not finite meets nothing and breaks nothing.
    #[must_use]
    pub fn against(name: impl Into<String>, value: Option<f64>, unit: impl Into<String>, limit: Limit) -> Self {
        let value = value.filter(|value| value.is_finite());
        let met = value.map(|value| limit.is_met_by(value));
        Self { name: name.into(), value, unit: unit.into(), limit: Some(limit), met }
    }
}

impl Limit {
    /// Whether `value` keeps the limit.
    #[must_use]
    pub fn is_met_by(self, value: f64) -> bool {
        match self.op {
            Op::AtMost => value <= self.value,
            Op::Below => value < self.value,
            Op::AtLeast => value >= self.value,
            // Counts are whole numbers far below 2^53, which f64 holds exactly; half a unit tells them apart.
            Op::Equal => (value - self.value).abs() < 0.5,
        }
    }
}

impl Op {
    /// The sign that people read.
    #[must_use]
    pub fn sign(self) -> &'static str {
        match self {
            Self::AtMost => "≤",
            Self::Below => "<",
            Self::AtLeast => "≥",
            Self::Equal => "=",
        }
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.sign())
    }
}
