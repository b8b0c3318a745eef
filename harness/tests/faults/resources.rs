//! Faults of what a node lives on: processor, memory, names, disk, clock.

use std::{slice::from_ref, sync::Arc, time::Duration};

use dora_harness::{
    fault::{ClockSkew, CpuPressure, DiskFull, DiskTrouble, Fault as _, FaultError, MemoryPressure, NameLoss, PowerLoss, inject},
    patience::within,
    topology::{Equipment, Node},
};
use libtest_mimic::{Failed, Trial};

use crate::lab::{LIMIT, Lab, PORT, lives, stays_unseen};

/// Runs a command beside the node's listener, as somebody else would.
async fn run(node: Node, command: &[&str]) -> Result<(), Failed> {
    node.exec_as_root(command, &[], LIMIT).await.map(drop).map_err(|error| error.to_string().into())
}

pub fn trials(lab: &Arc<Lab>) -> Vec<Trial> {
    let (laboratory, powered) = (Arc::clone(lab), Arc::clone(lab));
    vec![
        lab.trial("processor pressure", |n| async move {
            let pressure = || CpuPressure::new(n.a.clone(), "listener", 0.1);
            lives(pressure()).await?;
            let node = n.a.clone();
            let lifted = async move { node.limit_cpus(0.0).await.map_err(|error| error.to_string().into()) };
            stays_unseen(pressure(), lifted, "processors").await
        }),
        lab.trial("memory pressure", |n| async move {
            let pressure = || MemoryPressure::new(n.a.clone(), "listener", 24 << 20);
            lives(pressure()).await?;
            // Root has no right to signal another user's processes there, so it is done by that user.
            let node = n.a.clone();
            let freed = async move {
                let command = ["pkill", "-KILL", "-f", "^dora-[a-z0-9]{8} "];
                node.exec(&command, &[], LIMIT).await.map(drop).map_err(|error| error.to_string().into())
            };
            stays_unseen(pressure(), freed, "MiB are free").await
        }),
        lab.trial("loss of names", |n| async move {
            let loss = || NameLoss::new(n.a.clone(), "listener", &[n.b.clone(), n.c.clone()]);
            lives(loss()).await?;
            let node = n.a.clone();
            let written = async move {
                let entry = format!("{} b", node.address());
                node.exec_in_pod(&["sh", "-c", &format!("echo {entry} >> /etc/hosts")], &[], LIMIT)
                    .await
                    .map(drop)
                    .map_err(|e| e.to_string().into())
            };
            stays_unseen(loss(), written, "b is still found").await
        }),
        lab.trial("what a node is not equipped for is refused", |n| async move {
            let full = DiskFull::new(n.a.clone(), "listener", 1 << 20);
            let slow = DiskTrouble::slow(n.a.clone(), "listener", Duration::from_secs(1));
            let failing = DiskTrouble::failing(n.a.clone(), "listener");
            let skewed = ClockSkew::new(n.a.clone(), "listener", 300);
            let dark = PowerLoss::new(n.a.clone(), "listener", PORT);
            let now = std::time::Instant::now();
            let outcomes = [
                inject(dark, now).await.map(drop),
                inject(full, now).await.map(drop),
                inject(slow, now).await.map(drop),
                inject(failing, now).await.map(drop),
                inject(skewed, now).await.map(drop),
            ];
            for outcome in outcomes {
                match outcome {
                    Err(FaultError::Unsupported { why, .. }) if why.contains("--equip a=") => {}
                    other => return Err(format!("{other:?}").into()),
                }
            }
            Ok(())
        }),
        lab.trial("disk and clock of an equipped node", move |_| async move { disk_and_clock(&laboratory).await }),
        lab.trial("power loss of a node with an honest disk, and with one that lies", move |_| async move { power_loss(&powered).await }),
        lab.trial("a name that is not lost is told", |n| async move {
            match inject(NameLoss::new(n.a.clone(), "listener", from_ref(&n.a)), std::time::Instant::now()).await {
                Err(FaultError::Other(text)) if text.contains("at least one peer") => Ok(()),
                other => Err(format!("{other:?}").into()),
            }
        }),
    ]
}

async fn disk_and_clock(lab: &Lab) -> Result<(), Failed> {
    let equipment = Equipment { data_bytes_max: Some(64 << 20), clock: true, disk_faults: true, power: false };
    let node = lab.equipped("d", equipment).await?;
    within("the listener", LIMIT, Duration::from_millis(50), || async {
        if node.accepts(PORT).await { Ok(()) } else { Err("it does not listen") }
    })
    .await
    .map_err(|error| error.to_string())?;

    let full = || DiskFull::new(node.clone(), "listener", 1 << 20);
    lives(full()).await?;
    stays_unseen(full(), run(node.clone(), &["rm", "/dora/data/.dora-filler"]), "`written`").await?;
    // The data outlive a restart.
    run(node.clone(), &["touch", "/dora/data/kept"]).await?;
    node.kill().await.map_err(|error| error.to_string())?;
    node.start().await.map_err(|error| error.to_string())?;
    node.exec_ok(&["stat", "/dora/data/kept"], &[], LIMIT).await.map_err(|error| error.to_string())?;

    let slow = || DiskTrouble::slow(node.clone(), "listener", Duration::from_millis(400));
    lives(slow()).await?;
    stays_unseen(slow(), run(node.clone(), &["truncate", "-s", "0", "/dora/fault/disk"]), "a flush takes").await?;
    let failing = || DiskTrouble::failing(node.clone(), "listener");
    lives(failing()).await?;
    stays_unseen(failing(), run(node.clone(), &["truncate", "-s", "0", "/dora/fault/disk"]), "a flush takes").await?;

    let skewed = |seconds| ClockSkew::new(node.clone(), "listener", seconds);
    lives(skewed(3600)).await?;
    lives(skewed(-600)).await?;
    stays_unseen(skewed(3600), run(node.clone(), &["sh", "-c", "echo +0 > /dora/fault/clock"]), "0 s apart").await?;
    node.destroy().await.map_err(|error| error.to_string().into())
}

async fn power_loss(lab: &Lab) -> Result<(), Failed> {
    let node = lab.equipped("e", Equipment { power: true, ..Equipment::default() }).await?;
    let listens = || async {
        let listening = within("the listener", LIMIT, Duration::from_millis(50), || async {
            if node.accepts(PORT).await { Ok(()) } else { Err("it does not listen") }
        });
        listening.await.map_err(|error| error.to_string())
    };
    listens().await?;
    let honest = || PowerLoss::new(node.clone(), "listener", PORT);
    lives(honest()).await?;
    lives(PowerLoss::of_a_lying_disk(node.clone(), "listener", PORT, Duration::from_millis(500))).await?;
    // A node that was only killed is not taken for one that lost its power.
    honest().prepare().await.map_err(|error| error.to_string())?;
    node.kill().await.map_err(|error| error.to_string())?;
    node.start().await.map_err(|error| error.to_string())?;
    listens().await?;
    match honest().is_mended().await {
        Err(why) if why.contains("did not behave as ordered") => {}
        other => return Err(format!("{other:?}").into()),
    }
    node.destroy().await.map_err(|error| error.to_string().into())
}
