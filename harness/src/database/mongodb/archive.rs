//! A full backup: every collection as it was at one instant, with what it takes to make it again.
//!
//! The reads share one snapshot at a majority-committed time, so collections fit together however much is written meanwhile, and nothing is
//! blocked. A collection's documents are the server's own bytes, one after the other: the layout of `mongodump`'s files.

use std::time::Duration;

use mongodb::{
    Database,
    bson::{Document, RawDocumentBuf, Timestamp, doc},
    options::SessionOptions,
};
use sha2::{Digest as _, Sha256};

use super::{
    MongodbError, ReplicaSet,
    content::{collections, indexes, user_databases},
    error::limited,
};

/// A request that moves one collection.
const BULK_LIMIT: Duration = Duration::from_secs(60);
/// Documents, and bytes, of one insert: a message holds 48 MB.
const BATCH: usize = 1_000;
const BATCH_BYTES: usize = 8 << 20;
/// Until the restored documents are on every copy.
const COPY_LIMIT: Duration = Duration::from_secs(30);

/// All collections at one instant. Accounts are not in it: another cluster has its own.
#[derive(Debug, Clone)]
pub struct Archive {
    /// The instant, a time of the source's oplog.
    pub taken_at: Timestamp,
    /// The collections.
    pub collections: Vec<ArchivedCollection>,
}

/// One collection.
#[derive(Debug, Clone)]
pub struct ArchivedCollection {
    /// Its database.
    pub database: String,
    /// Its name.
    pub name: String,
    /// What `create` takes: the validator above all.
    pub options: Document,
    /// What `createIndexes` takes.
    pub indexes: Vec<Document>,
    /// BSON documents, one after the other.
    pub documents: Vec<u8>,
    /// SHA-256 of the documents when they were read, hexadecimal.
    pub sha256: String,
}

impl Archive {
    /// Reads all collections, with the rights of the operator's account.
    ///
    /// # Errors
    /// [`MongodbError`].
    pub async fn take(set: &ReplicaSet) -> Result<Self, MongodbError> {
        let client = set.operator()?;
        let what = "fix the backup's instant";
        let mark = doc! { "appendOplogNote": 1, "data": { "backup": "full" }, "writeConcern": { "w": "majority", "wtimeout": 10_000 } };
        let answer = limited(what, BULK_LIMIT, client.database("admin").run_command(mark)).await?;
        let taken_at = answer.get_timestamp("operationTime").map_err(|error| MongodbError::unusable(what, error))?;
        let options = SessionOptions::builder().snapshot(true).snapshot_time(taken_at).build();
        let mut session = limited("start a session", BULK_LIMIT, client.start_session().with_options(options)).await?;
        let mut archived = Vec::new();
        for name in user_databases(&client).await? {
            let database = client.database(&name);
            for (collection, options) in collections(&database).await? {
                let indexes = indexes(&database, &collection).await?;
                let reading = async {
                    let mut documents = Vec::new();
                    let mut cursor = database.collection::<RawDocumentBuf>(&collection).find(doc! {}).session(&mut session).await?;
                    while let Some(document) = cursor.next(&mut session).await {
                        documents.extend_from_slice(document?.as_bytes());
                    }
                    Ok(documents)
                };
                let documents = limited(&format!("back up the collection {collection}"), BULK_LIMIT, reading).await?;
                let sha256 = hex::encode(Sha256::digest(&documents));
                archived.push(ArchivedCollection { database: name.clone(), name: collection, options, indexes, documents, sha256 });
            }
        }
        Ok(Self { taken_at, collections: archived })
    }

    /// Its size in bytes, documents only.
    pub fn bytes(&self) -> u64 {
        self.collections.iter().map(|collection| collection.documents.len() as u64).sum()
    }

    /// Writes all collections into an empty set, with the rights of its operator's account, and returns when all copies have them.
    ///
    /// # Errors
    /// [`MongodbError::Unusable`] before anything is written when a collection is not what was backed up; otherwise as the server says.
    pub async fn restore(&self, set: &ReplicaSet) -> Result<(), MongodbError> {
        let batches: Vec<_> = self.collections.iter().map(ArchivedCollection::batches).collect::<Result<_, _>>()?;
        let client = set.operator()?;
        for (collection, batches) in self.collections.iter().zip(batches) {
            collection.restore(&client.database(&collection.database), batches).await?;
        }
        set.copied_everywhere(COPY_LIMIT).await
    }
}

impl ArchivedCollection {
    /// The documents, checked and cut into inserts.
    fn batches(&self) -> Result<Vec<Vec<RawDocumentBuf>>, MongodbError> {
        let damaged =
            |why: &str| MongodbError::unusable("restore the backup", format!("{}.{} is damaged: {why}", self.database, self.name));
        if hex::encode(Sha256::digest(&self.documents)) != self.sha256 {
            return Err(damaged("its SHA-256 is not the one of the backup"));
        }
        let mut batches = Vec::new();
        let (mut batch, mut bytes) = (Vec::new(), 0);
        let mut rest = self.documents.as_slice();
        while let Some(head) = rest.first_chunk::<4>() {
            // A document begins with its length, these four bytes included.
            let length = usize::try_from(i32::from_le_bytes(*head)).map_err(|_negative| damaged("a document has a negative length"))?;
            let (document, behind) = rest.split_at_checked(length).ok_or_else(|| damaged("a document ends too early"))?;
            rest = behind;
            bytes += length;
            batch.push(RawDocumentBuf::from_bytes(document.to_vec()).map_err(|error| damaged(&error.to_string()))?);
            if batch.len() == BATCH || bytes >= BATCH_BYTES {
                batches.push(std::mem::take(&mut batch));
                bytes = 0;
            }
        }
        if !rest.is_empty() {
            return Err(damaged("it ends within a document's length"));
        }
        if !batch.is_empty() {
            batches.push(batch);
        }
        Ok(batches)
    }

    async fn restore(&self, database: &Database, batches: Vec<Vec<RawDocumentBuf>>) -> Result<(), MongodbError> {
        let what = format!("restore the collection {}", self.name);
        let mut create = doc! { "create": &self.name };
        create.extend(self.options.clone());
        limited(&what, BULK_LIMIT, database.run_command(create)).await?;
        let collection = database.collection::<RawDocumentBuf>(&self.name);
        for batch in batches {
            // What was valid when it was written comes back even if the validator was made stricter since.
            limited(&what, BULK_LIMIT, collection.insert_many(batch).ordered(false).bypass_document_validation(true)).await?;
        }
        if !self.indexes.is_empty() {
            let command = doc! { "createIndexes": &self.name, "indexes": self.indexes.clone() };
            limited(&what, BULK_LIMIT, database.run_command(command)).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collection(documents: Vec<u8>) -> ArchivedCollection {
        let sha256 = hex::encode(Sha256::digest(&documents));
        ArchivedCollection { database: "d".into(), name: "c".into(), options: doc! {}, indexes: Vec::new(), documents, sha256 }
    }

    fn bytes(count: usize) -> Vec<u8> {
        (0..count).flat_map(|_| RawDocumentBuf::try_from(&doc! { "n": 1 }).unwrap().into_bytes()).collect()
    }

    #[test]
    fn documents_are_cut_where_they_end() {
        let batches = collection(bytes(BATCH + 1)).batches().unwrap();
        assert_eq!(batches.iter().map(Vec::len).collect::<Vec<_>>(), [BATCH, 1]);
    }

    #[test]
    fn a_truncated_collection_is_refused_even_with_the_right_hash() {
        let mut documents = bytes(3);
        documents.truncate(documents.len() - 1);
        assert!(collection(documents).batches().unwrap_err().to_string().contains("ends too early"));
        let mut damaged = collection(bytes(3));
        damaged.documents.truncate(5);
        assert!(damaged.batches().unwrap_err().to_string().contains("SHA-256"));
    }
}
