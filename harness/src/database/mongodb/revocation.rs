//! The lists of revoked certificates in which a member looks up what it is shown.

use crate::{engine::EngineError, topology::Node};

/// Where `mongod.conf` has it: one list for each authority whose certificates members or clients show.
pub(super) const REVOCATION_LISTS: &str = "/dora/tls/revoked.crl";

/// Gives a member further lists (PEM); it reads them when it starts or is told to rotate its certificates. What it had before stays and is
/// returned: its own certificate and its peers' may be of authorities that nobody remembers any more, and without their lists it would
/// refuse them.
///
/// # Errors
/// Any [`EngineError`] of the requests.
pub async fn add_revocation_lists(member: &Node, lists: &str) -> Result<String, EngineError> {
    let files = member.get_files(REVOCATION_LISTS).await?;
    let before = files.first().map(|(_, content)| String::from_utf8_lossy(content).into_owned()).unwrap_or_default();
    put_revocation_lists(member, &format!("{before}{lists}")).await?;
    Ok(before)
}

/// Gives a member these lists and no others, for instance those that [`add_revocation_lists`] returned.
///
/// # Errors
/// Any [`EngineError`] of the request.
pub async fn put_revocation_lists(member: &Node, lists: &str) -> Result<(), EngineError> {
    let (folder, name) = REVOCATION_LISTS.rsplit_once('/').unwrap_or(("/", REVOCATION_LISTS));
    member.put_files(folder, &[(name, lists.as_bytes(), 0o644)]).await
}
