//! Faults of the links between nodes.

use std::{slice::from_ref, sync::Arc, time::Duration};

use dora_harness::{
    fault::{Bandwidth, ConnectionReset, Latency, Loss, Partition, Together},
    topology::Node,
};
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
        lab.trial("several nodes at once", |n| async move {
            let isolation =
                |node: &Node| -> Box<dyn dora_harness::fault::Fault> { Box::new(Partition::isolate(node, from_ref(&n.c)).on_port(PORT)) };
            lives(Together::new(vec![isolation(&n.a), isolation(&n.b)]).apart()).await?;
            lives(Partition::between(&[n.a.clone(), n.b.clone()], from_ref(&n.c)).on_port(PORT).and_clients()).await.map(drop)
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
        lab.trial("loss", |n| async move {
            let loss = || Loss::new(n.a.clone(), "listener", n.b.clone(), 0.3);
            lives(loss()).await?;
            stays_unseen(loss(), flush(n.a.clone()), "0 of 400").await
        }),
        lab.trial("connections reset", |n| async move {
            let reset = || ConnectionReset::new(n.a.clone(), "listener", PORT);
            lives(reset()).await?;
            stays_unseen(reset(), flush(n.a.clone()), "Accepted").await?;
            // A port that refuses because its process is dead is no reset by the network.
            let node = n.a.clone();
            let killed = async move { node.kill().await.map_err(|error| Failed::from(error.to_string())) };
            let unseen = stays_unseen(reset(), killed, "does not listen").await;
            n.a.start().await.map_err(|error| error.to_string())?;
            match unseen {
                Err(failed) if format!("{failed:?}").contains("not seen to end") => Ok(()),
                other => other,
            }
        }),
        lab.trial("latency", |n| async move {
            let delay = Duration::from_millis(80);
            let latency = || Latency::new(n.a.clone(), "listener", PORT, delay);
            lives(latency().jitter(Duration::from_millis(10))).await?;
            lives(latency().towards(from_ref(&n.b))).await?;
            stays_unseen(latency(), flush(n.a.clone()), "a connection takes").await
        }),
        lab.trial("bandwidth", |n| async move {
            let limit = || Bandwidth::new(n.a.clone(), "listener", n.b.clone(), 4_000_000);
            lives(limit()).await?;
            let node = n.a.clone();
            let lifted = async move {
                let command = ["tc", "qdisc", "del", "dev", "eth0", "root"];
                node.exec_in_pod(&command, &[], LIMIT).await.map(drop).map_err(|error| Failed::from(error.to_string()))
            };
            stays_unseen(limit(), lifted, "times the rate arrives").await
        }),
        lab.trial("bridge", |n| async move { lives(Partition::bridge(from_ref(&n.a), &n.b, from_ref(&n.c))).await.map(drop) }),
    ]
}
