//! The domain's keys: written, counted, and read in full.

use std::collections::{BTreeMap, BTreeSet};

use dora_fixtures::{
    content::{ContentHasher, Digests},
    dataset::{
        Dataset,
        keys::{KeySpace, KeyValue, content_row},
    },
};
use redis::{FromRedisValue, Pipeline, RedisResult, aio::MultiplexedConnection};

use super::access::ask;

/// Keys in one pipeline.
const BATCH: usize = 500;

/// Writes every key of the dataset, in place of what was under its name before.
///
/// # Errors
/// Any error of the client or the server.
pub async fn load(connection: &mut MultiplexedConnection, dataset: &Dataset) -> RedisResult<()> {
    let entries: Vec<_> = KeySpace::ALL.into_iter().flat_map(|space| dataset.keys(space)).collect();
    for batch in entries.chunks(BATCH) {
        let mut pipeline = redis::pipe();
        for entry in batch {
            // A list would grow with every loading.
            pipeline.cmd("DEL").arg(&entry.key).ignore();
            for words in entry.commands() {
                add(&mut pipeline, &words);
            }
        }
        let _: () = pipeline.query_async(connection).await?;
    }
    Ok(())
}

/// Number and hash of the keys of every key space. Keys outside of all key spaces are not content.
///
/// # Errors
/// Any error of the client or the server.
pub async fn digests(connection: &mut MultiplexedConnection) -> RedisResult<Digests> {
    let mut hashers: BTreeMap<KeySpace, ContentHasher> = KeySpace::ALL.into_iter().map(|space| (space, ContentHasher::new())).collect();
    let names: Vec<(KeySpace, String)> =
        scan(connection).await?.into_iter().filter_map(|key| KeySpace::of_key(&key).map(|space| (space, key))).collect();
    for batch in names.chunks(BATCH) {
        let values = read(connection, batch).await?;
        for ((space, key), (value, expires)) in batch.iter().zip(values) {
            if let Some(hasher) = hashers.get_mut(space) {
                let (key, row) = content_row(key, &value, expires);
                hasher.add(&key, &row);
            }
        }
    }
    Ok(hashers.into_iter().map(|(space, hasher)| (space.name().to_owned(), hasher.finish())).collect())
}

/// All keys of the application. SCAN may name a key twice, so it is a set.
async fn scan(connection: &mut MultiplexedConnection) -> RedisResult<BTreeSet<String>> {
    let mut keys = BTreeSet::new();
    let mut cursor = "0".to_owned();
    loop {
        let (next, found): (String, Vec<String>) = ask(connection, &["SCAN", &cursor, "MATCH", "app:*", "COUNT", "1000"]).await?;
        keys.extend(found);
        if next == "0" {
            return Ok(keys);
        }
        cursor = next;
    }
}

async fn read(connection: &mut MultiplexedConnection, keys: &[(KeySpace, String)]) -> RedisResult<Vec<(KeyValue, bool)>> {
    let mut pipeline = redis::pipe();
    for (space, key) in keys {
        match space {
            KeySpace::Session | KeySpace::Result => pipeline.cmd("HGETALL").arg(key),
            KeySpace::Sessions => pipeline.cmd("SMEMBERS").arg(key),
            KeySpace::Notify => pipeline.cmd("LRANGE").arg(key).arg(0).arg(-1),
            KeySpace::Cache | KeySpace::RateLimit | KeySpace::Lock | KeySpace::Fence => pipeline.cmd("GET").arg(key),
        };
        pipeline.cmd("TTL").arg(key);
    }
    let answers: Vec<redis::Value> = pipeline.query_async(connection).await?;
    keys.iter()
        .zip(answers.chunks(2))
        .map(|((space, _), pair)| {
            let [value, ttl] = pair else {
                unreachable!("two commands were sent for every key, and chunks of two of their answers are pairs")
            };
            let expires = i64::from_redis_value(ttl.clone())? >= 0;
            Ok((value_of(*space, value)?, expires))
        })
        .collect()
}

fn value_of(space: KeySpace, value: &redis::Value) -> RedisResult<KeyValue> {
    let value = value.clone();
    Ok(match space {
        KeySpace::Session | KeySpace::Result => KeyValue::Hash(BTreeMap::from_redis_value(value)?),
        KeySpace::Sessions => KeyValue::Set(BTreeSet::from_redis_value(value)?),
        KeySpace::Notify => KeyValue::List(Vec::from_redis_value(value)?),
        KeySpace::Cache | KeySpace::RateLimit | KeySpace::Lock | KeySpace::Fence => KeyValue::String(String::from_redis_value(value)?),
    })
}

/// Adds a command, given as its words.
pub fn add(pipeline: &mut Pipeline, words: &[String]) {
    if let Some((name, arguments)) = words.split_first() {
        pipeline.cmd(name);
        for argument in arguments {
            pipeline.arg(argument);
        }
    }
}
