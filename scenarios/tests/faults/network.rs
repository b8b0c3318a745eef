//! Faults of the links between nodes.

use std::{slice::from_ref, sync::Arc};

use dora_harness::{fault::Partition, topology::Node};
use libtest_mimic::{Failed, Trial};

use crate::lab::{LIMIT, Lab, PORT, lives, stays_unseen};

/// Takes all of a fault's rules out, as somebody else would.
async fn flush(node: Node) -> Result<(), Failed> {
    let outcome = node.exec_in_pod(&["iptables", "-F"], &[], LIMIT).await.map_err(|error| error.to_string())?;
    if outcome.code == 0 { Ok(()) } else { Err(outcome.stderr.into()) }
}

pub fn trials(lab: &Arc<Lab>) -> Vec<Trial> {
    vec![
        lab.trial("isolation", |n| async move {
            let peers = [n.b.clone(), n.c.clone()];
            let isolation = || Partition::isolate(&n.a, &peers).on_port(PORT);
            lives(isolation()).await?;
            lives(isolation().and_clients()).await?;
            stays_unseen(isolation(), flush(n.a.clone()), "b → a arrives").await
        }),
        lab.trial("partition between two groups", |n| async move {
            let minority = || Partition::between(from_ref(&n.a), &[n.b.clone(), n.c.clone()]).on_port(PORT);
            lives(minority()).await?;
            stays_unseen(minority(), flush(n.a.clone()), "a → c arrives").await
        }),
        lab.trial("partition from one peer only", |n| async move {
            lives(Partition::between(from_ref(&n.a), from_ref(&n.b)).sparing(from_ref(&n.c)).on_port(PORT)).await.map(drop)
        }),
        lab.trial("one-way partitions", |n| async move {
            let link = || Partition::between(from_ref(&n.a), from_ref(&n.b)).sparing(from_ref(&n.c));
            lives(link().deaf()).await?;
            lives(link().mute()).await?;
            stays_unseen(link().mute(), flush(n.a.clone()), "a → b arrives").await?;
            // A link that is cut more than asked for is not what was asked for either.
            let more = Partition::between(from_ref(&n.b), from_ref(&n.a));
            let fault = more.clone();
            let widened = async move {
                use dora_harness::fault::Fault as _;
                fault.inject().await.map_err(|error| Failed::from(error.to_string()))
            };
            let unseen = stays_unseen(link().mute(), widened, "b → a is lost").await;
            let ended = {
                use dora_harness::fault::Fault as _;
                more.heal().await
            };
            ended.map_err(|error| error.to_string())?;
            match unseen {
                Err(failed) if format!("{failed:?}").contains("not seen to end") => Ok(()),
                other => other,
            }
        }),
        lab.trial("bridge", |n| async move { lives(Partition::bridge(from_ref(&n.a), &n.b, from_ref(&n.c))).await.map(drop) }),
    ]
}
