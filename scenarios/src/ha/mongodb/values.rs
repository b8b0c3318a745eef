//! The values that were inserted, read back.

use std::time::Duration;

use dora_harness::database::mongodb::{Connection, MongodbError, ReplicaSet, TRIALS, limited};
use futures_util::TryStreamExt as _;
use mongodb::{
    bson::{Document, doc},
    options::{CollectionOptions, ReadConcern, ReadPreference, SelectionCriteria},
};

/// Reading all of them.
const READ_LIMIT: Duration = Duration::from_secs(20);

/// Every value that a majority holds, with repetitions; nothing that the primary knows now is left out.
pub(super) async fn committed(set: &ReplicaSet, collection: &str) -> Result<Vec<u64>, MongodbError> {
    let options = CollectionOptions::builder().read_concern(ReadConcern::majority()).build();
    let collection = set.admin().database(TRIALS).collection_with_options::<Document>(collection, options);
    let mut session = set.settled_session().await?;
    let reading = async {
        let mut cursor = collection.find(doc! {}).session(&mut session).await?;
        cursor.stream(&mut session).try_collect::<Vec<Document>>().await
    };
    numbers(&limited("read the values", READ_LIMIT, reading).await?)
}

/// Every value that one member holds itself, committed or not.
pub(super) async fn held_by(member: &Connection, collection: &str) -> Result<Vec<u64>, MongodbError> {
    let anyone = SelectionCriteria::ReadPreference(ReadPreference::Nearest { options: None });
    let options = CollectionOptions::builder().read_concern(ReadConcern::local()).selection_criteria(anyone).build();
    let collection = member.database(TRIALS).collection_with_options::<Document>(collection, options);
    let reading = async { collection.find(doc! {}).await?.try_collect::<Vec<Document>>().await };
    numbers(&limited("read a member's values", READ_LIMIT, reading).await?)
}

fn numbers(documents: &[Document]) -> Result<Vec<u64>, MongodbError> {
    let number = |document: &Document| document.get_i64("value").ok().and_then(|value| u64::try_from(value).ok());
    let unusable = |document: &Document| MongodbError::unusable("read the values", format!("{document} holds none"));
    documents.iter().map(|document| number(document).ok_or_else(|| unusable(document))).collect()
}
