//! Which nodes are started first: a platform is ready when its slowest part is.

use crate::places::Rank;

/// The images, by name in the catalogue, whose nodes are waited for longest from their start on. A Neo4j core is a JVM that finds the others,
/// elects, and only then lets a read replica copy the store; Patroni waits for etcd, its replicas for the primary, and the pooler for
/// all of them; Sentinels need their master; a JVM alone waits for nobody and would only take processor time from the cores; the others are
/// ready soon after they run.
const FIRST: [&str; 7] = ["neo4j-cluster", "etcd", "postgres", "redis", "mongodb", "neo4j-community", "influxdb-cluster"];

/// Where in the order of starts a node of this image stands.
pub(super) fn rank(image: &str) -> Rank {
    FIRST.iter().position(|first| *first == image).unwrap_or(FIRST.len())
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
