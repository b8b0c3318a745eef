//! The domain's documents and files: put in, read back, hashed.

use std::time::Duration;

use dora_fixtures::{
    Store, assets,
    content::{ContentHasher, Digests, differences},
    dataset::{
        Dataset,
        documents::{BUCKET, Collection, file_content_row},
    },
};
use futures_util::TryStreamExt as _;
use mongodb::{
    Client, Database,
    bson::{Bson, Document, doc},
    options::GridFsBucketOptions,
};
use serde_json::{Map, Value};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_util::compat::{FuturesAsyncReadCompatExt as _, FuturesAsyncWriteCompatExt as _};

use super::{MongodbError, ReplicaSet, error::limited};

/// The database of the domain.
pub const DATABASE: &str = "dora";
/// The database that trials write to.
pub const TRIALS: &str = "trials";

/// A request that moves one collection or file.
const BULK_LIMIT: Duration = Duration::from_secs(60);
/// Documents of one insert.
const BATCH: usize = 1_000;

/// Puts the dataset in, unless exactly it is there already, and returns when all copies have it.
///
/// # Errors
/// [`MongodbError`], also when what was read back is not what was put in.
pub async fn load(set: &ReplicaSet, dataset: &Dataset) -> Result<(), MongodbError> {
    let expected = dataset.expected().digests(Store::Mongodb);
    if missing(&expected, digests(set.admin()).await?).is_none() {
        return Ok(());
    }
    let database = set.admin().database(DATABASE);
    limited("drop the domain's database", BULK_LIMIT, database.drop()).await?;
    for collection in Collection::ALL {
        create(&database, collection).await?;
        let mut documents = Vec::new();
        for value in dataset.documents(collection) {
            documents.push(to_document(value)?);
            if documents.len() == BATCH {
                insert(&database, collection, std::mem::take(&mut documents)).await?;
            }
        }
        insert(&database, collection, documents).await?;
    }
    let bucket = database.gridfs_bucket(GridFsBucketOptions::builder().bucket_name(BUCKET.to_owned()).build());
    for file in dataset.files() {
        let what = format!("store the file {}", file.name);
        let metadata = doc! { "policy_id": &file.policy_id };
        let stream = limited(&what, BULK_LIMIT, bucket.open_upload_stream(&file.name).metadata(metadata)).await?;
        let mut stream = stream.compat_write();
        let bytes = file.bytes();
        let writing = async {
            stream.write_all(&bytes).await?;
            // Closing writes the last chunk and the file's entry.
            stream.shutdown().await.map_err(mongodb::error::Error::from)
        };
        limited(&what, BULK_LIMIT, writing).await?;
    }
    set.copied_everywhere(BULK_LIMIT / 2).await?;
    match missing(&expected, digests(set.admin()).await?) {
        None => Ok(()),
        Some(difference) => Err(MongodbError::unusable("load the domain's data", difference)),
    }
}

/// The first expected object that is not there as expected; there may be others beside them.
fn missing(expected: &Digests, mut found: Digests) -> Option<String> {
    found.retain(|name, _| expected.contains_key(name));
    differences(expected, &found).first().map(ToString::to_string)
}

async fn create(database: &Database, collection: Collection) -> Result<(), MongodbError> {
    let name = collection.name();
    let path = format!("schema/mongodb/collections/{name}.json");
    let schema: Document =
        serde_json::from_str(assets::text(&path)?).map_err(|error| MongodbError::unusable(format!("read {path}"), error))?;
    let mut command = doc! { "create": name };
    command.extend(schema.get_document("options").cloned().unwrap_or_default());
    limited("create a collection", BULK_LIMIT, database.run_command(command)).await?;
    let indexes = schema.get_array("indexes").cloned().unwrap_or_default();
    if !indexes.is_empty() {
        limited("create indexes", BULK_LIMIT, database.run_command(doc! { "createIndexes": name, "indexes": indexes })).await?;
    }
    Ok(())
}

async fn insert(database: &Database, collection: Collection, documents: Vec<Document>) -> Result<(), MongodbError> {
    if documents.is_empty() {
        return Ok(());
    }
    limited("insert documents", BULK_LIMIT, database.collection::<Document>(collection.name()).insert_many(documents)).await?;
    Ok(())
}

fn to_document(value: Value) -> Result<Document, MongodbError> {
    serde_json::from_value(value).map_err(|error| MongodbError::unusable("make a document", error))
}

/// A digest of every collection of every database that is not the server's own, one of each bucket of files (by the files' bytes), and
/// one of what the collections are: validators and indexes.
///
/// Collections of the domain's database go by their own name, others by `database.collection`.
///
/// # Errors
/// [`MongodbError`].
pub async fn digests(client: &Client) -> Result<Digests, MongodbError> {
    let mut digests = Digests::new();
    let mut definitions = ContentHasher::new();
    for name in user_databases(client).await? {
        let database = client.database(&name);
        for (collection, options) in collections(&database).await? {
            let object = if name == DATABASE { collection.clone() } else { format!("{name}.{collection}") };
            let indexes = indexes(&database, &collection).await?;
            let definition = doc! { "options": options, "indexes": indexes };
            definitions.add(&object, &to_json(&Bson::Document(definition)));
            match (collection.strip_suffix(".files"), collection.strip_suffix(".chunks")) {
                (Some(bucket), _) => {
                    let object = object.strip_suffix(".files").unwrap_or(&object).to_owned();
                    digests.insert(object, files(&database, bucket).await?.finish());
                }
                // A bucket's chunks are read as its files.
                (None, Some(_)) => {}
                (None, None) => {
                    digests.insert(object, documents(&database, &collection).await?.finish());
                }
            }
        }
    }
    digests.insert("definitions of collections".into(), definitions.finish());
    Ok(digests)
}

/// The databases that are not the server's own.
pub(super) async fn user_databases(client: &Client) -> Result<Vec<String>, MongodbError> {
    let mut names = limited("list databases", BULK_LIMIT, client.list_database_names()).await?;
    names.retain(|name| !matches!(name.as_str(), "admin" | "config" | "local"));
    Ok(names)
}

/// Where a member records commands while it profiles them.
const PROFILE: &str = "system.profile";

/// Names and options of a database's collections, by name, without those that are a member's own.
pub(super) async fn collections(database: &Database) -> Result<Vec<(String, Document)>, MongodbError> {
    let listing = async { database.run_cursor_command(doc! { "listCollections": 1 }).await?.try_collect::<Vec<Document>>().await };
    let mut found = Vec::new();
    for entry in limited("list collections", BULK_LIMIT, listing).await? {
        let (Ok(name), Ok(kind)) = (entry.get_str("name"), entry.get_str("type")) else { continue };
        // A member's own record of commands, which no other has; a backup cannot read it at one instant, and mongodump leaves it out, too.
        if name == PROFILE {
            continue;
        }
        if kind != "collection" {
            return Err(MongodbError::unusable("read the collections", format!("{name} is a {kind}")));
        }
        found.push((name.to_owned(), entry.get_document("options").cloned().unwrap_or_default()));
    }
    found.sort_by(|left, right| left.0.cmp(&right.0));
    Ok(found)
}

/// The indexes of a collection, by name, without the one on `_id` that every collection has.
pub(super) async fn indexes(database: &Database, collection: &str) -> Result<Vec<Document>, MongodbError> {
    let listing = async { database.run_cursor_command(doc! { "listIndexes": collection }).await?.try_collect::<Vec<Document>>().await };
    let mut indexes = limited("list indexes", BULK_LIMIT, listing).await?;
    let name = |index: &Document| index.get_str("name").unwrap_or_default().to_owned();
    indexes.retain(|index| name(index) != "_id_");
    indexes.sort_by_key(name);
    Ok(indexes)
}

async fn documents(database: &Database, collection: &str) -> Result<ContentHasher, MongodbError> {
    let reading = async {
        let mut hasher = ContentHasher::new();
        let mut cursor = database.collection::<Document>(collection).find(doc! {}).await?;
        while let Some(document) = cursor.try_next().await? {
            let row = to_json(&Bson::Document(document));
            let key = row["_id"].as_str().map_or_else(|| row["_id"].to_string(), ToOwned::to_owned);
            hasher.add(&key, &row);
        }
        Ok(hasher)
    };
    limited(&format!("read the collection {collection}"), BULK_LIMIT, reading).await
}

async fn files(database: &Database, bucket: &str) -> Result<ContentHasher, MongodbError> {
    let what = format!("read the files of {bucket}");
    let handle = database.gridfs_bucket(GridFsBucketOptions::builder().bucket_name(bucket.to_owned()).build());
    let reading = async {
        let mut hasher = ContentHasher::new();
        let mut entries = handle.find(doc! {}).await?;
        while let Some(entry) = entries.try_next().await? {
            let mut bytes = Vec::new();
            handle.open_download_stream(entry.id.clone()).await?.compat().read_to_end(&mut bytes).await?;
            let (key, row) = file_content_row(&entry.filename.unwrap_or_default(), &bytes);
            hasher.add(&key, &row);
        }
        Ok(hasher)
    };
    limited(&what, BULK_LIMIT, reading).await
}

/// A value in the form that the dataset's documents have: relaxed extended JSON.
pub fn to_json(value: &Bson) -> Value {
    match value {
        Bson::Document(document) => {
            Value::Object(document.iter().map(|(name, member)| (name.clone(), to_json(member))).collect::<Map<_, _>>())
        }
        Bson::Array(items) => Value::Array(items.iter().map(to_json).collect()),
        Bson::Double(number) => Value::from(*number),
        Bson::Int32(number) => Value::from(*number),
        Bson::Int64(number) => Value::from(*number),
        Bson::String(text) => Value::from(text.as_str()),
        Bson::Boolean(flag) => Value::from(*flag),
        Bson::Null => Value::Null,
        Bson::DateTime(instant) => match instant.try_to_rfc3339_string() {
            Ok(text) => serde_json::json!({ "$date": text }),
            Err(_beyond_the_calendar) => serde_json::json!({ "$date": instant.timestamp_millis() }),
        },
        // Identifiers, timestamps and bytes have a textual form of their own that says their type.
        other => Value::from(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use dora_fixtures::{
        content::canonical,
        dataset::{Seed, Size},
    };

    use super::*;

    #[test]
    fn documents_come_back_as_they_went_in() {
        let dataset = Dataset::generate(Seed(7), Size::Small);
        for collection in Collection::ALL {
            for value in dataset.documents(collection) {
                let document = to_document(value.clone()).unwrap();
                assert_eq!(canonical(&to_json(&Bson::Document(document))), canonical(&value));
            }
        }
    }

    #[test]
    fn an_index_keeps_the_order_of_its_fields() {
        let schema: Document = serde_json::from_str(r#"{"key": {"z": 1, "a": -1}}"#).unwrap();
        let names: Vec<_> = schema.get_document("key").unwrap().keys().cloned().collect();
        assert_eq!(names, ["z", "a"]);
    }
}
