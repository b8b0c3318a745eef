//! Faults of a node's processes.

use std::{sync::Arc, time::Duration};

use dora_harness::{
    fault::{Fault, FaultError, Kill, NodeLoss, Pause, ProcessKill, Restart, Signal, Stop, inject, probe::listens},
    patience::within,
    topology::Node,
};
use libtest_mimic::{Failed, Trial};

use crate::lab::{LIMIT, Lab, PORT, lives, stays_unseen};

const GRACE: Duration = Duration::from_secs(1);

/// Starts the node again as somebody else would, and waits until it listens.
async fn restarted(node: Node) -> Result<(), Failed> {
    node.start().await.map_err(|error| error.to_string())?;
    let listening = within("the listener", LIMIT, Duration::from_millis(20), || async {
        if listens(&node, PORT).await? { Ok(()) } else { Err("nobody listens".to_owned()) }
    });
    Ok(listening.await.map_err(|error| error.to_string())?)
}

pub fn trials(lab: &Arc<Lab>) -> Vec<Trial> {
    vec![
        lab.trial("kill", |nodes| async move {
            lives(Kill::new(nodes.a.clone(), "listener", PORT)).await?;
            // The listener is its container's first process, and the kernel drops a SIGTERM that such a process does not await.
            let ignored = Kill::new(nodes.a.clone(), "listener", PORT).signal(Signal::Term);
            stays_unseen(ignored, async { Ok(()) }, "accepts").await?;
            let node = nodes.a.clone();
            stays_unseen(Kill::new(nodes.a, "listener", PORT), restarted(node), "accepts").await
        }),
        lab.trial("kill with SIGSTOP", |nodes| async move {
            lives(Kill::new(nodes.a.clone(), "listener", PORT).signal(Signal::Stop)).await?;
            let node = nodes.a.clone();
            let continued = async move { node.signal("CONT").await.map_err(|error| Failed::from(error.to_string())) };
            stays_unseen(Kill::new(nodes.a, "listener", PORT).signal(Signal::Stop), continued, "Reacted").await
        }),
        lab.trial("pause", |nodes| async move {
            lives(Pause::new(nodes.a.clone(), "listener", PORT)).await?;
            let node = nodes.a.clone();
            let unpaused = async move { node.unpause().await.map_err(|error| Failed::from(error.to_string())) };
            stays_unseen(Pause::new(nodes.a, "listener", PORT), unpaused, "Reacted").await
        }),
        lab.trial("stop and restart", |nodes| async move {
            lives(Stop::new(nodes.a.clone(), "listener", PORT, GRACE)).await?;
            lives(Restart::new(nodes.a, "listener", PORT, GRACE)).await.map(drop)
        }),
        lab.trial("loss of a node", |nodes| async move {
            lives(NodeLoss::new(nodes.a.clone(), "listener", PORT)).await?;
            let node = nodes.a.clone();
            stays_unseen(NodeLoss::new(nodes.a, "listener", PORT), restarted(node), "listens").await
        }),
        lab.trial("signals to one process", |nodes| async move {
            let sleeper = |signal| ProcessKill::new(nodes.a.clone(), "listener", "sleep 86400", signal);
            lives(sleeper(Signal::Stop)).await?;
            let node = nodes.a.clone();
            let continued = async move {
                let command = ["pkill", "-CONT", "-f", "sleep 8640[0]"];
                node.exec(&command, &[], LIMIT).await.map(drop).map_err(|error| Failed::from(error.to_string()))
            };
            stays_unseen(sleeper(Signal::Stop), continued, "in state S").await?;
            // The listener beside it lives on until the node is healed by a restart.
            let confirmed = inject(sleeper(Signal::Kill), std::time::Instant::now())
                .await
                .map_err(|error| error.to_string())?
                .confirm(LIMIT)
                .await
                .map_err(|unconfirmed| unconfirmed.last_seen().to_owned())?;
            if !nodes.a.accepts(PORT).await {
                return Err("the listener went with it".into());
            }
            let record = confirmed.heal().await.map_err(|error| error.to_string())?.confirm(LIMIT).await;
            if record.heal_confirmed_ms.is_none() { Err("the process did not come back".into()) } else { Ok(()) }
        }),
        lab.trial("what is not there is not killed", |nodes| async move {
            let fault: Box<dyn Fault> = Box::new(ProcessKill::new(nodes.a.clone(), "listener", "no such thing", Signal::Kill));
            match fault.inject().await {
                Err(FaultError::Other(text)) if text.contains("no process of a matches") => Ok(()),
                other => Err(format!("{other:?}").into()),
            }
        }),
        lab.trial("healing twice changes nothing", |nodes| async move {
            let faults: [Box<dyn Fault>; 4] = [
                Box::new(Kill::new(nodes.a.clone(), "listener", PORT)),
                Box::new(Pause::new(nodes.a.clone(), "listener", PORT)),
                Box::new(Stop::new(nodes.a.clone(), "listener", PORT, GRACE)),
                Box::new(NodeLoss::new(nodes.a.clone(), "listener", PORT)),
            ];
            for fault in faults {
                fault.heal().await.map_err(|error| format!("{}: {error}", fault.kind()))?;
                fault.is_mended().await?;
            }
            Ok(())
        }),
    ]
}
