//! What the engine itself keeps of a run in clear: how containers and images were declared, and what lies in image layers.

use std::{collections::BTreeSet, time::SystemTime};

use futures_util::StreamExt as _;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{Engine, EngineError, RunId, container::next_of_log, sweep::Leftovers};
use crate::security::SecretSearch;

/// A tar archive's unit in bytes: its headers have this size, and contents are filled up to a multiple of it.
const BLOCK: usize = 512;
/// What a compressed stream begins with: gzip (RFC 1952, 2.3.1) and Zstandard (RFC 8878, 3.1.1).
const COMPRESSED: [&[u8]; 2] = [&[0x1f, 0x8b], &[0x28, 0xb5, 0x2f, 0xfd]];
/// The longest of these.
const MAGIC: usize = 4;

/// One container as it was declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclaredContainer {
    /// Its name on the engine.
    pub name: String,
    /// Its image's reference.
    pub image: String,
    /// Everything that the engine tells about it (environment, command, labels, mounts), as JSON text.
    pub declaration: String,
}

/// One image as it was declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclaredImage {
    /// Its reference.
    pub reference: String,
    /// When it was made; [`None`] when the engine does not say.
    pub created: Option<SystemTime>,
    /// Configuration and history (the commands of its layers), as JSON text.
    pub declaration: String,
}

/// What a search through an image's layers came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SearchedImage {
    /// Secrets that lie in it, by their positions in the search.
    pub found: BTreeSet<usize>,
    /// Members of the image's archive that are compressed: nothing can be found in those, so nothing is said of them.
    pub compressed: Vec<String>,
}

/// Follows a tar archive while its bytes go by, and notes which members are compressed.
#[derive(Debug, Default)]
struct MemberWatch {
    /// A header and the first bytes after it, as far as they have come.
    held: Vec<u8>,
    /// Bytes up to the next header.
    skip: u64,
    compressed: Vec<String>,
}

impl MemberWatch {
    fn pass(&mut self, mut bytes: &[u8]) {
        loop {
            let skipped = usize::try_from(self.skip).unwrap_or(usize::MAX).min(bytes.len());
            bytes = &bytes[skipped..];
            self.skip -= skipped as u64;
            let wanted = BLOCK + MAGIC - self.held.len();
            if self.skip > 0 || bytes.len() < wanted {
                // Nothing is left of the bytes where there is yet something to skip.
                self.held.extend_from_slice(bytes);
                return;
            }
            let (head, rest) = bytes.split_at(wanted);
            self.held.extend_from_slice(head);
            bytes = rest;
            self.read_header();
        }
    }

    /// A header is held, with the first bytes of its content or, where it has none, of the next header.
    fn read_header(&mut self) {
        let header = tar::Header::from_byte_slice(&self.held[..BLOCK]);
        // The archive ends with empty headers, which have no size.
        let size = header.entry_size().unwrap_or_default();
        if size == 0 {
            self.held.drain(..BLOCK);
            return;
        }
        if COMPRESSED.iter().any(|magic| self.held[BLOCK..].starts_with(magic)) {
            self.compressed.push(String::from_utf8_lossy(&header.path_bytes()).into_owned());
        }
        self.skip = size.div_ceil(BLOCK as u64).saturating_mul(BLOCK as u64) - MAGIC as u64;
        self.held.clear();
    }
}

impl Engine {
    /// Every container of a run, holders included.
    ///
    /// # Errors
    /// Any [`EngineError`] of the requests.
    pub async fn declared_containers(&self, run: &RunId) -> Result<Vec<DeclaredContainer>, EngineError> {
        let Leftovers { containers, .. } = self.leftovers(run).await?;
        let mut declared = Vec::new();
        for id in containers {
            let inspected = self.docker.inspect_container(&id, None::<bollard::query_parameters::InspectContainerOptions>).await;
            match inspected {
                Ok(container) => declared.push(DeclaredContainer {
                    name: container.name.clone().unwrap_or_default().trim_start_matches('/').to_owned(),
                    image: container.config.as_ref().and_then(|config| config.image.clone()).unwrap_or_default(),
                    // What the engine sent as JSON can be written as JSON.
                    declaration: serde_json::to_string(&container).unwrap_or_default(),
                }),
                // It was removed since it was listed.
                Err(error) if EngineError::is_not_found(&error) => {}
                Err(error) => return Err(EngineError::request(format!("inspect {id}"), error)),
            }
        }
        Ok(declared)
    }

    /// An image's configuration and history.
    ///
    /// # Errors
    /// Any [`EngineError`] of the requests.
    pub async fn declared_image(&self, reference: &str) -> Result<DeclaredImage, EngineError> {
        let failed = |e| EngineError::request(format!("inspect {reference}"), e);
        let image = self.docker.inspect_image(reference).await.map_err(failed)?;
        let history = self.docker.image_history(reference).await.map_err(failed)?;
        let created = serde_json::to_value(&image).ok().and_then(|value| {
            let text = value["Created"].as_str()?.to_owned();
            OffsetDateTime::parse(&text, &Rfc3339).ok().map(SystemTime::from)
        });
        // What the engine sent as JSON can be written as JSON.
        let declaration = serde_json::to_string(&(&image, &history)).unwrap_or_default();
        Ok(DeclaredImage { reference: reference.to_owned(), created, declaration })
    }

    /// Everything that a container has written to its output so far, both streams; [`None`] where it was removed since it was listed.
    ///
    /// # Errors
    /// Any other [`EngineError`] of the request.
    pub async fn declared_log(&self, container: &DeclaredContainer) -> Result<Option<Vec<u8>>, EngineError> {
        let options = bollard::query_parameters::LogsOptionsBuilder::default().stdout(true).stderr(true).tail("all").build();
        let mut stream = Box::pin(self.docker.logs(&container.name, Some(options)));
        let mut log = Vec::new();
        while let Some(chunk) = next_of_log(&mut stream, &container.name).await? {
            match chunk {
                Ok(chunk) => log.extend_from_slice(chunk.as_ref()),
                Err(error) if EngineError::is_not_found(&error) => return Ok(None),
                Err(error) => return Err(EngineError::request(format!("read the log of {}", container.name), error)),
            }
        }
        Ok(Some(log))
    }

    /// Which secrets lie in an image's layers. Reads the whole image.
    ///
    /// # Errors
    /// Any [`EngineError`] of the request.
    pub async fn search_image(&self, reference: &str, search: &SecretSearch) -> Result<SearchedImage, EngineError> {
        let mut found = BTreeSet::new();
        let mut members = MemberWatch::default();
        let mut window: Vec<u8> = Vec::new();
        let mut stream = Box::pin(self.docker.export_image(reference));
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.map_err(|e| EngineError::request(format!("read the layers of {reference}"), e))?;
            members.pass(&chunk);
            window.extend_from_slice(&chunk);
            found.extend(search.find(&window));
            // A secret may lie across two chunks.
            window = window.split_off(window.len().saturating_sub(search.longest()));
        }
        Ok(SearchedImage { found, compressed: members.compressed })
    }

    /// References of the images that bear a run's name as their tag.
    ///
    /// # Errors
    /// Any [`EngineError`] of the request.
    pub async fn images_of_run(&self, run: &RunId) -> Result<Vec<String>, EngineError> {
        let options = bollard::query_parameters::ListImagesOptionsBuilder::default().build();
        let images = self.docker.list_images(Some(options)).await.map_err(|e| EngineError::request("list images", e))?;
        let tag = format!(":{run}");
        Ok(images.into_iter().flat_map(|image| image.repo_tags).filter(|reference| reference.ends_with(&tag)).collect())
    }

    /// Makes an image of the files of a node's container.
    ///
    /// # Errors
    /// Any [`EngineError`] of the request.
    pub async fn commit(&self, container: &str, repository: &str, tag: &str) -> Result<(), EngineError> {
        let options = bollard::query_parameters::CommitContainerOptionsBuilder::default()
            .container(container)
            .repo(repository)
            .tag(tag)
            .pause(false)
            .build();
        let done = self.docker.commit_container(options, bollard::models::ContainerConfig::default()).await;
        done.map(drop).map_err(|e| EngineError::request(format!("make an image of {container}"), e))
    }

    /// Removes an image; one that is not there is fine.
    ///
    /// # Errors
    /// Any [`EngineError`] of the request.
    pub async fn remove_image(&self, reference: &str) -> Result<(), EngineError> {
        let options = bollard::query_parameters::RemoveImageOptionsBuilder::default().force(true).build();
        match self.docker.remove_image(reference, Some(options), None).await {
            Err(error) if !EngineError::is_not_found(&error) => Err(EngineError::request(format!("remove {reference}"), error)),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut archive = tar::Builder::new(Vec::new());
        for (name, content) in members {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_cksum();
            archive.append_data(&mut header, name, *content).unwrap();
        }
        archive.into_inner().unwrap()
    }

    #[test]
    fn compressed_members_are_named_however_the_archive_is_cut() {
        let plain = [b"x".repeat(BLOCK * 3 - 1), vec![0x1f, 0x8b]].concat();
        let archive = archive(&[
            ("manifest.json", b"[]"),
            ("blobs/plain", &plain),
            ("empty", b""),
            ("blobs/gzip", &[0x1f, 0x8b, 8, 0, 1, 2, 3]),
            ("blobs/a-block", &[7; BLOCK]),
            ("short", &[0x1f]),
            ("blobs/zstd", &[0x28, 0xb5, 0x2f, 0xfd, 4]),
            ("last", b"text"),
        ]);
        for piece in [1, 3, 511, 512, 513, 516, 4096, archive.len()] {
            let mut members = MemberWatch::default();
            archive.chunks(piece).for_each(|bytes| members.pass(bytes));
            assert_eq!(members.compressed, ["blobs/gzip", "blobs/zstd"], "pieces of {piece} bytes");
        }
    }

    #[test]
    fn what_is_no_archive_ends_in_nothing() {
        let mut members = MemberWatch::default();
        members.pass(&[0xff; 4000]);
        assert!(members.compressed.is_empty());
    }
}
