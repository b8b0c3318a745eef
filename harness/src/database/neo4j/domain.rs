//! The domain's graph in a server: schema, data, and what is there.

use dora_fixtures::{
    assets::{self, AssetError},
    content::{ContentHasher, Digests},
    dataset::{
        Dataset,
        graph::{Label, Relation},
    },
    queries::statements,
};
use serde_json::{Map, Value, json};

use super::client::{Dialect, GraphClient, GraphError};

/// Rows of one loading statement: few enough for a small heap.
const BATCH: usize = 500;

/// The domain's data could not be loaded or read.
#[derive(Debug, thiserror::Error)]
pub enum DomainError {
    /// The server.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// A statement's file.
    #[error(transparent)]
    Asset(#[from] AssetError),
    /// A row that is not as its statement promises.
    #[error("a row of {0} has no key")]
    Row(String),
}

/// Every label and relationship type with the statements that load and read it.
fn objects() -> Vec<(&'static str, &'static str)> {
    let labels = Label::ALL.into_iter().map(|label| (label.name(), label.file()));
    let relations = Relation::ALL.into_iter().map(|relation| (relation.name(), relation.file()));
    labels.chain(relations).collect()
}

/// Nodes and relationships of the domain, in one number each.
///
/// # Errors
/// [`GraphError`].
pub async fn counts(client: &mut GraphClient) -> Result<(u64, u64), GraphError> {
    let nodes = count(client, &nodes_statement()?).await?;
    // The notation of alternatives changed between the generations.
    let edges = match count(client, &edges_statement(Dialect::Three)?).await {
        Ok(edges) => edges,
        Err(GraphError::Refused { .. }) => count(client, &edges_statement(Dialect::Five)?).await?,
        Err(error) => return Err(error),
    };
    Ok((nodes, edges))
}

fn nodes_statement() -> Result<String, AssetError> {
    assets::render("schema/neo4j/counts/nodes.cypher.j2", json!({ "labels": Label::ALL.map(Label::name) }))
}

fn edges_statement(dialect: Dialect) -> Result<String, AssetError> {
    let path = match dialect {
        Dialect::Three => "schema/neo4j/counts/edges_3.cypher.j2",
        Dialect::Five => "schema/neo4j/counts/edges_5.cypher.j2",
    };
    assets::render(path, json!({ "types": Relation::ALL.map(Relation::name) }))
}

async fn count(client: &mut GraphClient, statement: &str) -> Result<u64, GraphError> {
    let rows = client.ask(statement).await?;
    rows.first().and_then(|row| row["number"].as_u64()).ok_or_else(|| GraphError::Broken("no number".into()))
}

/// What [`counts`] is when the dataset is loaded.
pub fn expected_counts(dataset: &Dataset) -> (u64, u64) {
    let nodes = Label::ALL.into_iter().map(|label| dataset.nodes(label).count() as u64).sum();
    let edges = Relation::ALL.into_iter().map(|relation| dataset.edges(relation).count() as u64).sum();
    (nodes, edges)
}

/// Makes the schema and loads the data; does nothing when they are there.
///
/// # Errors
/// [`DomainError`].
pub async fn load(client: &mut GraphClient, dialect: Dialect, dataset: &Dataset) -> Result<(), DomainError> {
    if counts(client).await? == expected_counts(dataset) {
        return Ok(());
    }
    let constraints = match dialect {
        Dialect::Three => assets::text("schema/neo4j/constraints/3.x.cypher")?,
        Dialect::Five => assets::text("schema/neo4j/constraints/5.x.cypher")?,
    };
    for statement in statements(constraints) {
        client.ask(statement).await?;
    }
    for label in Label::ALL {
        let rows: Vec<Value> = dataset.nodes(label).collect();
        load_rows(client, label.file(), rows).await?;
    }
    for relation in Relation::ALL {
        let rows: Vec<Value> =
            dataset.edges(relation).map(|edge| json!({"from": edge.from, "to": edge.to, "weight": edge.weight})).collect();
        load_rows(client, relation.file(), rows).await?;
    }
    Ok(())
}

async fn load_rows(client: &mut GraphClient, file: &str, rows: Vec<Value>) -> Result<(), DomainError> {
    let statement = assets::text(&format!("schema/neo4j/load/{file}"))?;
    for batch in rows.chunks(BATCH) {
        client.run(statement, &Map::from_iter([("rows".to_owned(), Value::from(batch))])).await?;
    }
    Ok(())
}

/// A digest of every label and every relationship type, read in full.
///
/// # Errors
/// [`DomainError`].
pub async fn digests(client: &mut GraphClient) -> Result<Digests, DomainError> {
    let mut digests = Digests::new();
    for (name, file) in objects() {
        let rows = client.ask(assets::text(&format!("schema/neo4j/content/{file}"))?).await?;
        let mut hasher = ContentHasher::new();
        for row in &rows {
            let key = row.get("key").and_then(Value::as_str).ok_or_else(|| DomainError::Row(name.to_owned()))?;
            hasher.add(key, row.get("row").unwrap_or(&Value::Null));
        }
        digests.insert(name.to_owned(), hasher.finish());
    }
    Ok(digests)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counts_ask_for_everything_in_the_servers_own_notation() -> Result<(), AssetError> {
        let labels = "n:Organisation OR n:User OR n:Framework OR n:Vendor OR n:Policy OR n:System OR n:Asset";
        let nodes = nodes_statement()?;
        assert!(nodes.contains(&format!("(n) WHERE {labels} ")), "{nodes}");
        let (three, five) = (edges_statement(Dialect::Three)?, edges_statement(Dialect::Five)?);
        assert!(five.contains("[r:WORKS_FOR|OWNS|") && five.contains("|SUPPLIES]"), "{five}");
        assert!(three.contains("[r:WORKS_FOR|:OWNS|:") && three.contains("|:SUPPLIES]"), "{three}");
        assert_eq!(three.replace("|:", "|"), five);
        Ok(())
    }
}
