//! What `/query` answers.

use serde::Deserialize;
use serde_json::{Map, Value};

/// One statement's answer.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct Answer {
    /// The series in it; none when nothing was found.
    #[serde(default)]
    pub series: Vec<Series>,
    #[serde(default)]
    pub(super) error: Option<String>,
}

/// One series of an answer.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct Series {
    /// Its measurement, or what a statement calls its table.
    #[serde(default)]
    pub name: String,
    /// Its tags.
    #[serde(default)]
    pub tags: Map<String, Value>,
    /// Names of the columns.
    #[serde(default)]
    pub columns: Vec<String>,
    /// Rows, each as long as `columns`.
    #[serde(default)]
    pub values: Vec<Vec<Value>>,
}

/// The body of an answer with one statement.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Body {
    #[serde(default)]
    pub(super) results: Vec<Answer>,
    #[serde(default)]
    pub(super) error: Option<String>,
}

impl Answer {
    /// The series of that name.
    pub fn named(&self, name: &str) -> Option<&Series> {
        self.series.iter().find(|series| series.name == name)
    }

    /// All values of the first column as texts, such as the names of `SHOW DATABASES`.
    pub fn first_column(&self) -> Vec<String> {
        let rows = self.series.iter().flat_map(|series| &series.values);
        rows.filter_map(|row| row.first()?.as_str().map(ToOwned::to_owned)).collect()
    }
}

impl Series {
    /// Where a column stands in a row.
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column == name)
    }
}
