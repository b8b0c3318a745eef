//! Which nodes are started first: a platform is ready when its slowest part is.

use std::time::Duration;

use crate::places::Rank;

/// The images, by name in the catalogue, whose nodes are waited for longest from their start on. A Neo4j core is a JVM that finds the others,
/// elects, and only then lets a read replica copy the store; Patroni waits for etcd, its replicas for the primary, and the pooler for
/// all of them; Sentinels need their master; a JVM alone waits for nobody and would only take processor time from the cores; the others are
/// ready soon after they run.
const FIRST: [&str; 7] = ["neo4j-cluster", "etcd", "postgres", "redis", "mongodb", "neo4j-community", "influxdb-cluster"];
/// What a Neo4j core loads before it looks for the others keeps a processor busy for about as long.
const CORE_LOADS: Duration = Duration::from_secs(8);

/// Where in the order of starts a node of this image stands.
pub(super) fn rank(image: &str) -> Rank {
    FIRST.iter().position(|first| *first == image).unwrap_or(FIRST.len())
}

/// For how long a node of this image and role keeps its place among the starts after it runs: what is started beside it only makes both slower.
pub(super) fn loads_for(image: &str, role: &str) -> Duration {
    if image == FIRST[0] && role == "core" { CORE_LOADS } else { Duration::ZERO }
}

#[cfg(test)]
mod tests {
    use dora_fixtures::assets::ImageSource;

    use super::*;

    #[test]
    fn every_name_is_that_of_an_image() {
        for image in FIRST {
            assert!(ImageSource::named(image).is_ok(), "{image} is no image");
        }
    }

    #[test]
    fn what_is_not_named_comes_last() {
        assert_eq!(rank("neo4j-cluster"), 0);
        assert!(rank("openbao") > rank("influxdb-cluster"));
    }
}
