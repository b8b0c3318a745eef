//! Changes of a running set's configuration, and what its primary thinks of the members.

use std::time::Duration;

use mongodb::bson::{Document, doc};

use super::{Connection, MongodbError, PORT, ReplicaSet, limited};
use crate::topology::Node;

/// A command to one member.
const ADMIN_LIMIT: Duration = Duration::from_secs(5);

impl ReplicaSet {
    /// Gives the data nodes other than the primary this priority in elections.
    ///
    /// # Errors
    /// [`MongodbError`].
    pub async fn prioritise_secondaries(&self, priority: i32) -> Result<(), MongodbError> {
        let primary = self.primary().await?.socket(PORT).to_string();
        self.reconfigure(|host, member| {
            if !member.get_bool("arbiterOnly").unwrap_or(false) {
                member.insert("priority", if host == primary { 1 } else { priority });
            }
        })
        .await
    }

    /// Lets a member apply writes only when they are this old; such a member cannot be elected. 0: as any other member.
    ///
    /// # Errors
    /// [`MongodbError`].
    pub async fn delay(&self, node: &Node, seconds: u32) -> Result<(), MongodbError> {
        let delayed = node.socket(PORT).to_string();
        self.reconfigure(|host, member| {
            if host == delayed {
                member.insert("secondaryDelaySecs", i64::from(seconds));
                member.insert("priority", i32::from(seconds == 0));
            }
        })
        .await
    }

    /// Gives a member a vote, or takes it away; one without a vote cannot be elected and does not count for a majority.
    ///
    /// # Errors
    /// [`MongodbError`].
    pub async fn enfranchise(&self, node: &Node, votes: bool) -> Result<(), MongodbError> {
        let changed = node.socket(PORT).to_string();
        let set = async |name: &str, value: i32| {
            self.reconfigure(|host, member| {
                if host == changed {
                    member.insert(name, value);
                }
            })
            .await
        };
        // A member without a vote must not be electable, and beside an arbiter the set refuses to give both at once.
        if votes {
            set("votes", 1).await?;
            set("priority", 1).await
        } else {
            set("priority", 0).await?;
            set("votes", 0).await
        }
    }

    /// Gives members these tags, by name, and takes all others' away.
    ///
    /// # Errors
    /// [`MongodbError`].
    pub async fn tag(&self, tags: &[(Node, Document)]) -> Result<(), MongodbError> {
        self.reconfigure(|host, member| {
            let own = tags.iter().find(|(node, _)| node.socket(PORT).to_string() == host);
            if !member.get_bool("arbiterOnly").unwrap_or(false) {
                member.insert("tags", own.map_or_else(Document::new, |(_, tags)| tags.clone()));
            }
        })
        .await
    }

    /// Hides a member from clients, and no other; a hidden one cannot be elected.
    ///
    /// # Errors
    /// [`MongodbError`].
    pub async fn hide(&self, node: Option<&Node>) -> Result<(), MongodbError> {
        let hidden = node.map(|node| node.socket(PORT).to_string());
        self.reconfigure(|host, member| {
            if !member.get_bool("arbiterOnly").unwrap_or(false) {
                let is_hidden = hidden.as_deref() == Some(host);
                member.insert("hidden", is_hidden);
                member.insert("priority", i32::from(!is_hidden));
            }
        })
        .await
    }

    /// The set's configuration as its primary has it.
    ///
    /// # Errors
    /// [`MongodbError`].
    pub async fn configuration(&self) -> Result<Document, MongodbError> {
        let what = "read the set's configuration";
        let answer = self.command(what, doc! { "replSetGetConfig": 1 }).await?;
        answer.get_document("config").cloned().map_err(|error| MongodbError::unusable(what, error))
    }

    /// Forces a member to take itself for the whole set, whatever the others have: what an operator must not do to a member that
    /// lost its peers.
    ///
    /// # Errors
    /// [`MongodbError`].
    pub async fn force_alone(&self, node: &Node) -> Result<(), MongodbError> {
        let what = "force a member into a set of its own";
        let member = self.administrator_of(node)?;
        let mut config = configuration_at(&member).await?;
        let own = node.socket(PORT).to_string();
        let members = config.get_array_mut("members").map_err(|error| MongodbError::unusable(what, error.to_string()))?;
        members.retain(|member| member.as_document().is_some_and(|member| member.get_str("host").is_ok_and(|host| host == own)));
        let command = doc! { "replSetReconfig": config, "force": true };
        limited(what, ADMIN_LIMIT, member.database("admin").run_command(command)).await.map(drop)
    }

    /// The version of the configuration that a member has.
    ///
    /// # Errors
    /// [`MongodbError`].
    pub async fn version_of(&self, node: &Node) -> Result<i32, MongodbError> {
        let config = configuration_at(&self.administrator_of(node)?).await?;
        config.get_i32("version").map_err(|error| MongodbError::unusable("read a member's configuration", error))
    }

    /// Gives the configuration a version above this one, at the primary by its own word: drivers that saw a higher one take it for an old
    /// primary.
    ///
    /// # Errors
    /// [`MongodbError`].
    pub async fn raise_version(&self, above: i32) -> Result<(), MongodbError> {
        let primary = self.administrator_of(&self.primary().await?)?;
        let mut config = configuration_at(&primary).await?;
        config.insert("version", above.saturating_add(1));
        let command = doc! { "replSetReconfig": config };
        limited("raise the configuration's version", ADMIN_LIMIT, primary.database("admin").run_command(command)).await.map(drop)
    }

    /// The addresses of the members that the primary counts as down.
    ///
    /// # Errors
    /// [`MongodbError`] when there is no primary to ask.
    pub async fn counted_as_down(&self) -> Result<Vec<String>, MongodbError> {
        let what = "ask the primary for the members' health";
        let status = self.command(what, doc! { "replSetGetStatus": 1 }).await?;
        let members = status.get_array("members").map_err(|error| MongodbError::unusable(what, error))?;
        let down = members
            .iter()
            .filter_map(|member| member.as_document())
            .filter(|member| member.get_f64("health").is_ok_and(|health| health < 1.0));
        Ok(down.filter_map(|member| member.get_str("name").ok().map(ToOwned::to_owned)).collect())
    }

    /// Changes each member's entry (given with its address) and puts the new configuration into force.
    async fn reconfigure(&self, change: impl Fn(&str, &mut Document)) -> Result<(), MongodbError> {
        let mut config = self.configuration().await?;
        let unusable = |why| MongodbError::unusable("read the set's configuration", why);
        let version = config.get_i32("version").map_err(|error| unusable(error.to_string()))?;
        config.insert("version", version + 1);
        for member in config.get_array_mut("members").map_err(|error| unusable(error.to_string()))? {
            if let Some(member) = member.as_document_mut() {
                let host = member.get_str("host").map_err(|error| unusable(error.to_string()))?.to_owned();
                change(&host, member);
            }
        }
        self.command("change the set's configuration", doc! { "replSetReconfig": config, "maxTimeMS": 15_000 }).await?;
        Ok(())
    }
}

/// The configuration that one member has.
async fn configuration_at(member: &Connection) -> Result<Document, MongodbError> {
    let what = "read a member's configuration";
    let answer = limited(what, ADMIN_LIMIT, member.database("admin").run_command(doc! { "replSetGetConfig": 1 })).await?;
    answer.get_document("config").cloned().map_err(|error| MongodbError::unusable(what, error))
}
