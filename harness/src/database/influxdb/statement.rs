//! Statements of this project's own, each from a file below `schema/influxdb`.

use dora_fixtures::{assets, queries::statements};
use serde::Serialize;

use super::InfluxError;

/// A statement that is sent as its file has it, by its path without ending.
///
/// # Errors
/// [`InfluxError::Setup`] when there is no such file, or when it does not hold one statement.
pub fn influxql(path: &str) -> Result<&'static str, InfluxError> {
    let text = assets::text(&format!("schema/influxdb/{path}.influxql")).map_err(|error| InfluxError::Setup(error.to_string()))?;
    match statements(text).as_slice() {
        [statement] => Ok(*statement),
        other => Err(InfluxError::Setup(format!("schema/influxdb/{path}.influxql holds {} statements instead of one", other.len()))),
    }
}

/// A statement, or several with one in a line, whose template is filled with the members of `context`; by its path without endings.
///
/// # Errors
/// [`InfluxError::Setup`] when there is no such file, or a variable that it uses is not given.
pub fn influxql_with(path: &str, context: impl Serialize) -> Result<String, InfluxError> {
    let path = format!("schema/influxdb/{path}.influxql.j2");
    let text = assets::render(&path, context).map_err(|error| InfluxError::Setup(error.to_string()))?;
    Ok(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_the_statement_of_a_file_is_sent() -> Result<(), InfluxError> {
        for file in assets::list("schema/influxdb").map_err(|error| InfluxError::Setup(error.to_string()))? {
            if let Some(path) = file.path.strip_suffix(".influxql") {
                assert!(!influxql(path)?.contains(['\n', '-', ';']), "{path}");
            }
        }
        let account = influxql_with("administration/create_user", json!({ "user": "a", "password": "it's" }))?;
        assert!(account.ends_with(r#"USER "a" WITH PASSWORD 'it\'s'"#), "{account}");
        Ok(())
    }

    #[test]
    fn a_missing_file_and_a_missing_variable_are_told() {
        let error = influxql("monitoring/none").unwrap_err();
        assert!(error.to_string().contains("schema/influxdb/monitoring/none.influxql"), "{error}");
        let error = influxql_with("administration/drop_user", json!({})).unwrap_err();
        assert!(error.to_string().contains("administration/drop_user.influxql.j2"), "{error}");
    }
}
