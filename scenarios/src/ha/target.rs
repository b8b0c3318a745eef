//! What a database has to tell the driver.

use std::{collections::BTreeSet, time::Duration};

use async_trait::async_trait;
use dora_harness::{
    check::Checked,
    fault::Fault,
    history::Operation,
    topology::Node,
    workload::{Client, Generator, InsertClient, Pace},
};

use super::load::INSERT_EVERY;
use crate::{ScenarioError, Trial};

/// A fault that is aimed at this moment's roles.
pub struct Strike {
    /// What is broken.
    pub fault: Box<dyn Fault>,
    /// Whom it hits.
    pub hit: Vec<Node>,
}

/// Whether this node is one of those that were hit.
pub(crate) fn is_hit(hit: &[Node], node: &Node) -> bool {
    hit.iter().any(|struck| struck.name() == node.name())
}

/// Which of the acknowledged values that the leading node holds its copies lack. A value that the leading node lacks itself is lost and judged
/// as such: no copy can be blamed for it.
pub(crate) fn lacking<N>(
    acknowledged: &BTreeSet<u64>,
    leading: &BTreeSet<u64>,
    copies: impl IntoIterator<Item = (N, BTreeSet<u64>)>,
) -> Vec<(N, Vec<u64>)> {
    let missing = |held: &BTreeSet<u64>| -> Vec<u64> {
        let kept = acknowledged.intersection(leading);
        kept.filter(|value| !held.contains(value)).copied().collect()
    };
    let copies = copies.into_iter().map(|(node, held)| (node, missing(&held)));
    copies.filter(|(_, lacks)| !lacks.is_empty()).collect()
}

/// Decides a load's history.
pub type Judge = Box<dyn Fn(&[Operation]) -> Checked + Send + Sync>;

/// A load beside the inserts, whose history a checker decides.
pub struct CheckedLoad {
    /// Its name, also in the name of its history's file.
    pub name: &'static str,
    /// Who carries it out.
    pub clients: Vec<Box<dyn Client>>,
    /// What they do.
    pub generator: Box<dyn Generator>,
    /// How fast.
    pub pace: Pace,
    /// What decides.
    pub judge: Judge,
}

/// A node's name, and a client that asks this node itself whether it is writable.
pub type NodeProber = (String, Box<dyn Client>);

/// A cluster that is struck under load. One value is one scenario: it knows its fault.
#[async_trait]
pub trait HaTarget: Send + Sync {
    /// Makes an empty set to insert into.
    async fn prepare(&self) -> Result<(), ScenarioError>;

    /// Clients that insert through the path of a real application; each has its own connection, none retries. The clocks are taken from
    /// what they see.
    async fn clients(&self, count: usize) -> Result<Vec<Box<dyn InsertClient>>, ScenarioError>;

    /// Time from one insert of a client to its next.
    fn insert_every(&self) -> Duration {
        INSERT_EVERY
    }

    /// Further loads, each with the checker of its history. Called after [`HaTarget::prepare`].
    async fn loads(&self) -> Result<Vec<CheckedLoad>, ScenarioError> {
        Ok(Vec::new())
    }

    /// One prober for each node (by name): it writes to that node itself, past every router, all the time. Its answers
    /// say `[node, epoch]`; see [`dora_harness::check::overlaps`]. Empty where the mode does not promise a single writable node.
    async fn probers(&self) -> Result<Vec<NodeProber>, ScenarioError> {
        Ok(Vec::new())
    }

    /// The fault: asked right before it is injected.
    async fn strike(&self) -> Result<Strike, ScenarioError>;

    /// `Ok` once the platform itself knows of the fault (another leader, a monitor's word); otherwise what it says.
    async fn has_noticed(&self, hit: &[Node]) -> Result<(), String>;

    /// `Ok` once every node has its role again and every copy is complete; otherwise what is missing.
    async fn is_redundant(&self, hit: &[Node]) -> Result<(), String>;

    /// Every value in the set (with repetitions, if it has any), read at the strongest level that the database has.
    async fn present(&self) -> Result<Vec<u64>, ScenarioError>;

    /// For databases whose nodes can be read one by one: which node does not hold which of these acknowledged values itself.
    ///
    /// An insert of which nobody knows may be on some nodes only; nothing was promised about it.
    async fn incomplete(&self, _acknowledged: &BTreeSet<u64>) -> Result<Vec<(Node, Vec<u64>)>, ScenarioError> {
        Ok(Vec::new())
    }

    /// Checks while the fault lasts, after service was judged: what only holds then (an old leader that refuses writes, reads on the
    /// survivors).
    async fn check_during(&self, _trial: &Trial, _hit: &[Node]) -> Result<(), ScenarioError> {
        Ok(())
    }

    /// Further checks after the set was read.
    async fn check_further(&self, _trial: &Trial, _hit: &[Node]) -> Result<(), ScenarioError> {
        Ok(())
    }

    /// Plants a defect. Called after [`HaTarget::prepare`].
    async fn sabotage(&self, id: &str) -> Result<(), ScenarioError>;

    /// Removes the defect, so that the cluster can be handed back.
    async fn undo_sabotage(&self, id: &str) -> Result<(), ScenarioError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_lacks_what_was_acknowledged_and_the_leading_node_holds() {
        let set = |values: &[u64]| values.iter().copied().collect::<BTreeSet<u64>>();
        // 4 is lost at the leading node, and nobody was told that 9 is kept.
        let (acknowledged, leading) = (set(&[1, 2, 3, 4]), set(&[1, 2, 3, 9]));
        let copies = [("whole", set(&[1, 2, 3])), ("behind", set(&[1, 9])), ("with more", set(&[1, 2, 3, 4, 9]))];
        assert_eq!(lacking(&acknowledged, &leading, copies), [("behind", vec![2, 3])]);
    }
}
