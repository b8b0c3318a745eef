//! The domain data in `PostgreSQL`: migrations, loading, and digests of what is there.

use std::time::Duration;

use dora_fixtures::{
    assets,
    content::{ContentHasher, Digests},
    dataset::{Dataset, relational::Table},
};
use dora_harness::{
    database::postgres::{AccessError, PostgresCluster, connect},
    patience::within,
};
use serde_json::Value;
use sqlx::{Connection as _, PgConnection};
use tokio::time::timeout;

use crate::ScenarioError;

/// Rows of one statement.
const CHUNK: usize = 2_000;
/// Migrating and loading, the medium size included.
const LOAD_LIMIT: Duration = Duration::from_secs(90);
/// Reading every row.
const READ_LIMIT: Duration = Duration::from_mins(1);
/// Followers apply what was loaded.
const CAUGHT_UP_LIMIT: Duration = Duration::from_secs(30);
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// Makes the schema and loads the dataset unless its rows are there, and returns when every replica has applied them.
///
/// # Errors
/// [`ScenarioError`].
pub(crate) async fn load(cluster: &PostgresCluster, dataset: &Dataset) -> Result<(), ScenarioError> {
    let failed = |reason: String| ScenarioError::client("load the domain data", reason);
    timeout(LOAD_LIMIT, load_primary(cluster, dataset))
        .await
        .map_err(|_elapsed| failed(AccessError::Deadline(LOAD_LIMIT).to_string()))??;
    let followers = cluster.servers().len() - 1;
    within("the replicas' copies", CAUGHT_UP_LIMIT, Duration::from_millis(100), || async {
        match cluster.caught_up().await? {
            count if count >= followers => Ok(()),
            count => Err(format!("{count} of {followers} replicas have everything")),
        }
    })
    .await?;
    Ok(())
}

async fn load_primary(cluster: &PostgresCluster, dataset: &Dataset) -> Result<(), ScenarioError> {
    let failed = |error: sqlx::Error| ScenarioError::client("load the domain data", error);
    let primary = cluster.find_primary().await.map_err(|reason| ScenarioError::client("find the primary", reason))?;
    let mut application = cluster.primary_connection().await.map_err(|reason| ScenarioError::client("connect to the primary", reason))?;
    let migrated: bool =
        sqlx::query_scalar(assets::text("schema/postgres/monitoring/tables.sql")?).fetch_one(&mut application).await.map_err(failed)?;
    if !migrated {
        run_scripts(&mut application, "schema/postgres/migrations").await?;
        let mut superuser = connect(&cluster.superuser_login(&primary), CONNECT_LIMIT)
            .await
            .map_err(|error| ScenarioError::client("connect as superuser", error))?;
        run_scripts(&mut superuser, "schema/postgres/administration").await?;
    }
    if is_loaded(&mut application, dataset).await? {
        return Ok(());
    }
    let mut transaction = application.begin().await.map_err(failed)?;
    sqlx::raw_sql(assets::text("schema/postgres/maintenance/empty_tables.sql")?).execute(&mut *transaction).await.map_err(failed)?;
    for table in Table::ALL {
        let statement = assets::text(&format!("schema/postgres/load/{}.sql", table.name()))?;
        let rows: Vec<Value> = dataset.rows(table).collect();
        for chunk in rows.chunks(CHUNK) {
            sqlx::query(statement).bind(Value::from(chunk.to_vec()).to_string()).execute(&mut *transaction).await.map_err(failed)?;
        }
    }
    transaction.commit().await.map_err(failed)?;
    let refresh = assets::text("schema/postgres/maintenance/refresh_compliance_overview.sql")?;
    sqlx::raw_sql(refresh).execute(&mut application).await.map_err(failed)?;
    Ok(())
}

/// All scripts of a folder in the order of their names, in one transaction.
async fn run_scripts(connection: &mut PgConnection, folder: &str) -> Result<(), ScenarioError> {
    let failed = |error: sqlx::Error| ScenarioError::client("migrate the schema", error);
    let mut transaction = connection.begin().await.map_err(failed)?;
    for file in assets::list(folder)? {
        sqlx::raw_sql(assets::text(&format!("{folder}/{}", file.path))?).execute(&mut *transaction).await.map_err(failed)?;
    }
    transaction.commit().await.map_err(failed)
}

/// Whether every table has at least the dataset's rows: a load scenario may have added some, which are content like any other.
async fn is_loaded(connection: &mut PgConnection, dataset: &Dataset) -> Result<bool, ScenarioError> {
    for table in Table::ALL {
        let question = assets::text(&format!("schema/postgres/content/{}.sql", table.name()))?;
        let there =
            sqlx::query(question).fetch_all(&mut *connection).await.map_err(|error| ScenarioError::client("count the rows", error))?;
        if there.len() < dataset.rows(table).count() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A digest of every table and of the materialized view, read from the primary.
///
/// # Errors
/// [`ScenarioError`].
pub(super) async fn digests(cluster: &PostgresCluster) -> Result<Digests, ScenarioError> {
    let failed = |reason: String| ScenarioError::client("read every row", reason);
    let mut connection = cluster.primary_connection().await.map_err(failed)?;
    let read = async {
        let mut digests = Digests::new();
        for file in assets::list("schema/postgres/content")? {
            let question = assets::text(&format!("schema/postgres/content/{}", file.path))?;
            let rows: Vec<(String, String)> =
                sqlx::query_as(question).fetch_all(&mut connection).await.map_err(|error| failed(error.to_string()))?;
            let mut hasher = ContentHasher::new();
            for (key, row) in rows {
                let row: Value = serde_json::from_str(&row).map_err(|error| failed(error.to_string()))?;
                hasher.add(&key, &row);
            }
            digests.insert(file.path.trim_end_matches(".sql").to_owned(), hasher.finish());
        }
        Ok(digests)
    };
    timeout(READ_LIMIT, read).await.map_err(|_elapsed| failed(AccessError::Deadline(READ_LIMIT).to_string()))?
}
