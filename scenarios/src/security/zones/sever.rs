//! One zone is cut off while all are watched, and let back in.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use dora_fixtures::catalogue::Unpromised;
use dora_harness::{
    network::{
        Enforcement, Policy, Zones,
        seat::{Sample, SampleKind, WatchEnd, Watched},
    },
    patience::within,
    security::StartTls,
};
use dora_reports::evidence::Finding;
use futures_util::future::{join_all, try_join_all};
use tokio::time::sleep;

use super::{
    client::{Asked, ZoneClient, clients, longest_unserved},
    defect::{Defect, OTHERS_SEVERED},
    tries::{Gap, TRIES_MIN, gaps, silent_from_us, tries},
};
use crate::{ScenarioError, Trial, security::TlsTarget};

/// The zone that is cut off: the one that is largest, and nearest to the outside.
pub(super) const SEVERED: &str = "application";
/// Longest time in which another zone makes no new connection to a port, and no login: well below the time for which the zone is cut off.
pub(super) const OTHERS_GAP_MS: f64 = 5000.0;

/// Before the order: all must have been reached.
const SETTLE: Duration = Duration::from_millis(1800);
/// On a busy machine a client's first login takes longer; who was not served by then is told of in the end.
const FIRST_LOGIN_LIMIT: Duration = Duration::from_secs(10);
/// How much longer than its limit the zone is cut off: what lives on has to be seen doing so.
const SEVERED_BEYOND: Duration = Duration::from_secs(7);
/// How much longer than its limit is watched after the second order: a client's login that began in time has ended by then, too.
const RESTORED_BEYOND: Duration = Duration::from_secs(6);
/// A watch lasts until all was ordered and seen. What was forgotten ends by itself: the orders take well under a second each, but on a
/// busy machine they were seen to take 20 s and more together.
const WATCHED_MAX: Duration = Duration::from_secs(120);
/// The way through the seats is there for as much longer: it is made first.
const LEAD_MARGIN: Duration = Duration::from_secs(20);
/// The last part of the severed time, in which nothing may be reached any more.
const DEAD_US: u64 = 1_000_000;
/// A watch has to last at least as long after the zone was let back in.
const AFTER_US: u64 = 1_500_000;

/// The catalogue's limits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// From the confirmed order to the last sign of life.
    pub severed: Duration,
    /// From the confirmed second order until every port is reached again.
    pub restored: Duration,
}

impl Limits {
    /// Those of the trial's clause.
    ///
    /// # Errors
    /// [`Unpromised`] when the catalogue sets none.
    pub fn of(trial: &Trial) -> Result<Self, Unpromised> {
        let (severed, restored) = (trial.promise.severed_ms_max()?, trial.promise.restored_ms_max()?);
        Ok(Self { severed: Duration::from_millis(severed), restored: Duration::from_millis(restored) })
    }
}

/// When what was ordered and done, in microseconds since the epoch (the seats' clock) and by the harness's own clock.
#[derive(Debug, Clone, Copy)]
struct Moment {
    us: u64,
    at: Instant,
}

impl Moment {
    fn now() -> Self {
        let us = SystemTime::now().duration_since(UNIX_EPOCH).map(|time| time.as_micros() as u64).unwrap_or_default();
        Self { us, at: Instant::now() }
    }
}

#[derive(Debug, Clone, Copy)]
struct Moments {
    sever_ordered: Moment,
    severed: Moment,
    restore_ordered: Moment,
    restored: Moment,
}

/// What one zone's watcher saw.
struct ZoneSamples {
    zone: String,
    samples: BTreeMap<SocketAddr, Vec<Sample>>,
}

/// The moments, what each watcher saw, and what each client was answered.
type Watching = (Moments, Vec<Vec<Sample>>, Vec<Vec<Asked>>);

/// Watches from all zones and asks as all clients while the zone is cut off and let back in.
async fn watch(
    trial: &Trial,
    zones: &Zones,
    ordering: impl Future<Output = Result<Moments, ScenarioError>>,
    target: &dyn TlsTarget,
    limits: &Limits,
    clients: &[ZoneClient<'_>],
    watched: &[(String, Vec<Watched>)],
) -> Result<Watching, ScenarioError> {
    for ready in join_all(clients.iter().map(ZoneClient::ready)).await {
        ready?;
    }
    let Some(first) = zones.seats().first() else { return Err(ScenarioError::Missing("the policy has no zones".into())) };
    let (end, is_over) = (WatchEnd::new(), AtomicBool::new(false));
    let authority = trial.ground().authority().certificate();
    let watching = try_join_all(watched.iter().map(|(zone, ports)| {
        let end = &end;
        async move {
            Ok::<_, ScenarioError>(match zones.seats().iter().find(|seat| seat.zone() == zone) {
                Some(seat) => seat.watch(ports, end, WATCHED_MAX).await?,
                None => Vec::new(),
            })
        }
    }));
    let asking = try_join_all(clients.iter().map(|client| client.keep_asking(target, authority, &is_over)));
    let ordering = async {
        let moments = ordering.await?;
        sleep(limits.restored + RESTORED_BEYOND).await;
        is_over.store(true, Ordering::Relaxed);
        first.end_watches(&end).await?;
        Ok(moments)
    };
    tokio::try_join!(ordering, watching, asking)
}

/// Cuts the zone off, lets it back in, and judges what its seat, the other seats and the real clients saw.
pub(super) async fn sever_and_restore(
    trial: &Trial,
    zones: &Zones,
    enforcement: &Enforcement,
    defect: &Defect,
    target: &dyn TlsTarget,
    limits: &Limits,
) -> Result<(), ScenarioError> {
    let clients = clients(zones.seats(), trial.policy(), target).await?;
    let watched = watched(zones, trial.policy(), enforcement, target).await?;
    let leading = try_join_all(clients.iter().map(|client| client.lead(WATCHED_MAX + LEAD_MARGIN)));
    let ordering = order(trial, enforcement, defect, &clients, limits.severed + SEVERED_BEYOND);
    let watching = watch(trial, zones, ordering, target, limits, &clients, &watched);
    let (moments, seen, asked) = tokio::select! {
        watched = watching => watched?,
        led = leading => {
            led?;
            return Err(ScenarioError::client("watch the zones", "the way through a seat was closed too early"));
        }
    };
    let seen: Vec<ZoneSamples> = watched.iter().zip(seen).map(|((zone, ports), samples)| by_port(zone, ports, samples)).collect();
    let mut names: BTreeMap<SocketAddr, String> = BTreeMap::new();
    for enforced in enforcement.nodes() {
        let ports = trial.policy().service_of(&enforced.node).into_iter().flat_map(|service| service.ports.values());
        names.extend(ports.map(|port| (enforced.node.socket(*port), format!("{}:{port}", enforced.node.name()))));
    }
    let watched_until = seen.iter().flat_map(|zone| zone.samples.values().flatten()).map(|sample| sample.at_us).max().unwrap_or_default();
    if watched_until < moments.restored.us + AFTER_US {
        trial.find(Finding::unconfirmed("watched-too-short", "the watch was over before it could show that the zone was let back in"));
        return Ok(());
    }
    judge_severed(trial, &seen, &names, &moments, limits);
    judge_others(trial, &seen, &names, &moments);
    let mut longest_ms: Option<f64> = None;
    for (client, asked) in clients.iter().zip(&asked) {
        let unserved_ms = judge_client(trial, client, asked, &moments);
        longest_ms = longest_ms.into_iter().chain(unserved_ms).reduce(f64::max);
    }
    if longest_ms.is_some() {
        trial.measure("longest_gap_of_other_clients", longest_ms, "ms");
    }
    Ok(())
}

async fn order(
    trial: &Trial,
    enforcement: &Enforcement,
    defect: &Defect,
    clients: &[ZoneClient<'_>],
    severed_for: Duration,
) -> Result<Moments, ScenarioError> {
    sleep(SETTLE).await;
    let _ = within("a first login of each client", FIRST_LOGIN_LIMIT, Duration::from_millis(100), || async {
        clients.iter().all(ZoneClient::was_served).then_some(()).ok_or("a client was not served yet")
    })
    .await;
    let (severed_on, restored_on) = (defect.severed(enforcement)?, defect.restored(enforcement)?);
    trial.note("fault", format!("zone {SEVERED} is cut off on {} nodes", severed_on.len()));
    let sever_ordered = Moment::now();
    enforcement.sever(SEVERED, &severed_on).await?;
    if defect.is(&OTHERS_SEVERED) {
        enforcement.sever("admin", &severed_on).await?;
    }
    let severed = Moment::now();
    sleep(severed_for).await;
    // On a node that was left out there is nothing to take back.
    let restored_on: Vec<&str> = restored_on.into_iter().filter(|node| severed_on.contains(node)).collect();
    let restore_ordered = Moment::now();
    enforcement.restore(SEVERED, &restored_on).await?;
    if defect.is(&OTHERS_SEVERED) {
        enforcement.restore("admin", &severed_on).await?;
    }
    let restored = Moment::now();
    trial.note("fault", format!("zone {SEVERED} is let back in"));
    Ok(Moments { sever_ordered, severed, restore_ordered, restored })
}

/// For each zone, of each node the lowest port that it may reach.
async fn watched(
    zones: &Zones,
    policy: &Policy,
    enforcement: &Enforcement,
    target: &dyn TlsTarget,
) -> Result<Vec<(String, Vec<Watched>)>, ScenarioError> {
    let asks: BTreeSet<SocketAddr> = target
        .listeners()
        .await?
        .iter()
        .filter(|listener| listener.start == StartTls::Postgres)
        .map(|listener| listener.node.socket(listener.port))
        .collect();
    let of_zone = |zone: &str| {
        let lowest = enforcement.nodes().iter().filter_map(|enforced| {
            let service = policy.service_of(&enforced.node)?;
            let port = service.ports.values().filter(|port| policy.allows(zone, service, **port)).min()?;
            Some(enforced.node.socket(*port))
        });
        lowest.map(|address| Watched { address, asks_for_tls: asks.contains(&address) }).collect::<Vec<_>>()
    };
    let all = zones.seats().iter().map(|seat| (seat.zone().to_owned(), of_zone(seat.zone())));
    Ok(all.filter(|(_, ports)| !ports.is_empty()).collect())
}

/// A port that was to be watched and never was has its entry, too: an empty one.
fn by_port(zone: &str, watched: &[Watched], samples: Vec<Sample>) -> ZoneSamples {
    let mut ports: BTreeMap<SocketAddr, Vec<Sample>> = watched.iter().map(|watched| (watched.address, Vec::new())).collect();
    for sample in samples {
        ports.entry(sample.address).or_default().push(sample);
    }
    ZoneSamples { zone: zone.to_owned(), samples: ports }
}

fn name_of(address: &SocketAddr, names: &BTreeMap<SocketAddr, String>) -> String {
    names.get(address).map_or_else(|| address.to_string(), Clone::clone)
}

fn seconds(later_us: u64, earlier_us: u64) -> f64 {
    later_us.saturating_sub(earlier_us) as f64 / 1e6
}

fn judge_severed(trial: &Trial, seen: &[ZoneSamples], names: &BTreeMap<SocketAddr, String>, moments: &Moments, limits: &Limits) {
    let Some(zone) = seen.iter().find(|zone| zone.zone == SEVERED) else {
        trial.find(Finding::unconfirmed("not-watched", format!("zone {SEVERED} may reach nothing here, so nothing was cut off")));
        return;
    };
    let (mut dead, mut back) = (Some(0.0_f64), Some(0.0_f64));
    let cut_off = moments.severed.us..moments.restore_ordered.us;
    let longest_s = limits.severed.as_secs_f64();
    let last_part = moments.restore_ordered.us - DEAD_US..moments.restore_ordered.us;
    for (address, samples) in &zone.samples {
        let name = name_of(address, names);
        let reached = |kind: SampleKind, from: u64, to: u64| {
            samples.iter().filter(move |sample| sample.kind == kind && sample.reached && (from..to).contains(&sample.at_us))
        };
        let mut survives = false;
        for kind in [SampleKind::New, SampleKind::Held] {
            if reached(kind, 0, moments.sever_ordered.us).next().is_none() {
                let message = format!("{name} was not reached ({kind:?}) before the zone was cut off, so its silence proves nothing");
                trial.find(Finding::unconfirmed("not-watched", message));
            }
            // What began before the cut says nothing of it, however late it was noted.
            let lasting = reached(kind, cut_off.start, cut_off.end).filter(|sample| sample.began_us >= cut_off.start);
            let last = lasting.map(|sample| sample.at_us).max();
            let lived = last.map_or(0.0, |last| seconds(last, cut_off.start));
            dead = dead.map(|longest| longest.max(lived));
            if lived <= longest_s {
                continue;
            }
            survives = true;
            let (id, what) = match kind {
                SampleKind::New => ("severed-zone-still-connects", "new connections are made"),
                SampleKind::Held => ("established-connection-survives", "a connection from before is alive"),
            };
            trial.find(Finding::violation(id, format!("{name}: {what} {lived:.1} s after zone {SEVERED} was cut off")));
        }
        // The same program watches both kinds, so its tries say that it looked at the open connection, too.
        let tried = tries(samples, &last_part).count();
        if tried < TRIES_MIN {
            dead = None;
            let message = format!(
                "{name} was tried {tried} times in the last second in which zone {SEVERED} was cut off, so its silence proves nothing"
            );
            trial.find(Finding::unconfirmed("not-watched", message));
        }
        // A watcher that stood still after the order saw the end of nothing.
        let silent_after = silent_from_us(samples, &cut_off).map(|us| seconds(us, cut_off.start));
        if !survives && silent_after.is_none_or(|after| after > longest_s) {
            dead = None;
            let message = format!("{name} was not tried in vain within {longest_s:.0} s after zone {SEVERED} was cut off");
            trial.find(Finding::unconfirmed("not-watched", message));
        }
        let first = reached(SampleKind::New, moments.restore_ordered.us, u64::MAX).map(|sample| sample.at_us).min();
        if let Some(first) = first {
            back = back.map(|longest| longest.max(seconds(first, moments.restored.us)));
            continue;
        }
        back = None;
        let message = format!("{name} is not reached after zone {SEVERED} was let back in");
        let tried = samples.iter().filter(|sample| sample.kind == SampleKind::New && sample.began_us >= moments.restored.us).count();
        trial.find(if tried < TRIES_MIN {
            Finding::unconfirmed("not-watched", format!("{message}, but was tried {tried} times only"))
        } else {
            Finding::violation("zone-not-restored", message)
        });
    }
    trial.measure("severed_within", dead, "s");
    trial.measure("restored_within", back, "s");
    trial.measure("order_to_sever_took", Some(seconds(moments.severed.us, moments.sever_ordered.us)), "s");
    trial.measure("order_to_restore_took", Some(seconds(moments.restored.us, moments.restore_ordered.us)), "s");
}

/// The longest time without a new connection, over the time in which the zone is cut off and let back in.
fn judge_others(trial: &Trial, seen: &[ZoneSamples], names: &BTreeMap<SocketAddr, String>, moments: &Moments) {
    let during = moments.sever_ordered.us..moments.restored.us;
    let mut longest = Some(0.0_f64);
    for zone in seen.iter().filter(|zone| zone.zone != SEVERED) {
        for (address, samples) in &zone.samples {
            let message = |ms: f64| {
                let name = name_of(address, names);
                format!("{name}: no new connection from zone {} for {ms:.0} ms while zone {SEVERED} was cut off", zone.zone)
            };
            let is_unwatched = |gap: &Gap| gap.ms() > OTHERS_GAP_MS && gap.watched_ms() <= OTHERS_GAP_MS;
            let (unwatched, watched): (Vec<Gap>, Vec<Gap>) = gaps(samples, &during).into_iter().partition(is_unwatched);
            let gap_ms = watched.into_iter().map(Gap::ms).fold(0.0, f64::max);
            longest = longest.map(|longest| longest.max(gap_ms));
            if gap_ms > OTHERS_GAP_MS {
                trial.find(Finding::violation("other-zone-interrupted", message(gap_ms)));
            }
            if let Some(gap) = unwatched.first() {
                longest = None;
                let message = format!("{}, but for {:.0} ms of it nothing was tried", message(gap.ms()), gap.ms() - gap.watched_ms());
                trial.find(Finding::unconfirmed("not-watched", message));
            }
        }
    }
    trial.measure("longest_gap_of_others", longest, "ms");
}

/// Returns how long at most a client of another zone was not served, in milliseconds.
fn judge_client(trial: &Trial, client: &ZoneClient<'_>, asked: &[Asked], moments: &Moments) -> Option<f64> {
    let name = client.name();
    let between = |from: Instant, to: Instant| asked.iter().filter(move |asked| asked.began >= from && asked.ended < to);
    let served = |from: Instant, to: Instant| between(from, to).filter(|asked| asked.error.is_none()).count();
    let start = asked.first().map_or(moments.severed.at, |first| first.began);
    let end = asked.iter().map(|asked| asked.ended).max().unwrap_or(moments.restored.at);
    if served(start, moments.sever_ordered.at) == 0 {
        let words = asked.iter().find_map(|asked| asked.error.clone()).unwrap_or_else(|| "it did not ask".into());
        trial.find(Finding::unconfirmed("client-never-served", format!("{name} was not served before anything was cut off: {words}")));
        return None;
    }
    let meanwhile = served(moments.severed.at, moments.restore_ordered.at);
    trial.note(
        "client",
        format!(
            "{name}: served {meanwhile} times while zone {SEVERED} was cut off, {} times in all",
            served(start, end + Duration::from_secs(1))
        ),
    );
    if client.seat.zone() == SEVERED {
        if meanwhile > 0 {
            trial.find(Finding::violation("severed-client-served", format!("{name} was served {meanwhile} times while it was cut off")));
        }
        if served(moments.restore_ordered.at, end + Duration::from_secs(1)) == 0 {
            let message = format!("{name} was not served after it was let back in");
            let has_asked = asked.iter().any(|asked| asked.began >= moments.restored.at);
            trial.find(if has_asked {
                Finding::violation("zone-not-restored", message)
            } else {
                Finding::unconfirmed("not-watched", format!("{message}, but did not ask, either"))
            });
        }
        return None;
    }
    Some(judge_other_client(trial, &name, asked, meanwhile, moments))
}

/// One login that fails or takes long is no interruption: others are served meanwhile.
fn judge_other_client(trial: &Trial, name: &str, asked: &[Asked], meanwhile: usize, moments: &Moments) -> f64 {
    let (from, to) = longest_unserved(asked, moments.sever_ordered.at, moments.restored.at);
    let unserved_ms = (to - from).as_secs_f64() * 1e3;
    let failed = |from: Instant, to: Instant| {
        let under_way = asked.iter().filter(move |asked| asked.began < to && asked.ended > from);
        under_way.filter_map(|asked| asked.error.as_deref()).collect::<Vec<_>>()
    };
    if unserved_ms > OTHERS_GAP_MS {
        let message = format!("{name} was not served for {unserved_ms:.0} ms while zone {SEVERED} was cut off");
        trial.find(match failed(from, to).first() {
            Some(words) => Finding::violation("other-client-failed", format!("{message}: {words}")),
            None => {
                Finding::unconfirmed("other-client-not-seen", format!("{message}, and no login failed: it did not ask, or asked slowly"))
            }
        });
        return unserved_ms;
    }
    if meanwhile == 0 {
        trial.find(Finding::unconfirmed("other-client-not-seen", format!("{name} was not served while zone {SEVERED} was cut off")));
    }
    let single = failed(moments.sever_ordered.at, moments.restored.at);
    if let Some(words) = single.first() {
        let message = format!(
            "{name}: {} logins failed while zone {SEVERED} was cut off, and others were served, at most {unserved_ms:.0} ms apart: {words}",
            single.len()
        );
        trial.find(Finding::note("other-client-login-failed", message));
    }
    unserved_ms
}
