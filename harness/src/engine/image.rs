//! Images: built from their Dockerfiles by content hash, or the user's own in their place.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use bollard::{
    models::{ContainerCreateBody, HostConfig},
    query_parameters::{BuildImageOptionsBuilder, BuilderVersion, WaitContainerOptionsBuilder},
};
use dora_fixtures::assets::{CA_BUNDLE, ImageSource};
use futures_util::{TryStreamExt as _, stream};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::{Engine, EngineError, RunId, RunKind, container::next_within, files, labels};

/// What every image is made from.
pub const BASE_OF_ALL: &str = "debian:trixie-slim";
/// The catalogue's own common layer.
const BASE: &str = "base";
/// Builds side by side: apt and the linkers keep one core busy each.
const BUILD_PARALLEL: usize = 2;
/// Where the host keeps the certificates that it trusts; a build stage needs them behind a TLS-inspecting proxy.
const HOST_CA_BUNDLES: [&str; 3] = ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];
/// A builder that says nothing for so long stands still; compilers and packers are quiet for minutes.
const BUILD_SILENCE_MAX: Duration = Duration::from_secs(900);
/// An image's script asks a program or two for their versions.
const ASK_LIMIT: Duration = Duration::from_secs(60);
/// Lines of a failed build that are shown.
const BUILD_TAIL: usize = 20;

/// An image's reference as the engine knows it, such as `dora/redis:3f2a…`.
pub type ImageRef = String;

/// What a build is doing; sent to whoever shows progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BuildProgress {
    /// It is there already.
    Present(String),
    /// A build began.
    Started(String),
    /// A line of its output.
    Line(String, String),
    /// It ended well after so many seconds.
    Finished(String, u64),
}

/// An image as a run uses it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ImageUse {
    /// The name in the catalogue, such as `mongodb`.
    pub name: String,
    /// The reference that containers are made from.
    pub reference: ImageRef,
    /// The main software's version, from the image's label.
    pub version: String,
    /// SPDX expression, from the image's label.
    pub licence: String,
    /// Whether it is the user's own.
    pub replaced: bool,
}

/// The images of a run, by name in the catalogue.
#[derive(Debug, Clone, Default)]
pub struct ImageCatalog {
    images: BTreeMap<String, ImageUse>,
}

impl ImageCatalog {
    /// The image of that name.
    ///
    /// # Errors
    /// [`EngineError::UnknownImage`].
    pub fn get(&self, name: &str) -> Result<&ImageUse, EngineError> {
        self.images.get(name).ok_or_else(|| EngineError::UnknownImage { name: name.to_owned(), known: known_names() })
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &ImageUse> {
        self.images.values()
    }
}

fn known_names() -> String {
    ImageSource::all().iter().map(|source| source.name.clone()).collect::<Vec<_>>().join(", ")
}

/// The references that the catalogue's images have when they are built: a hash over their content and that of their base.
fn references() -> BTreeMap<String, (ImageSource, ImageRef)> {
    let sources = ImageSource::all();
    let base_hash = sources.iter().find(|source| source.name == BASE).map(ImageSource::content_hash).unwrap_or_default();
    sources
        .into_iter()
        .map(|source| {
            let mut hash = Sha256::new();
            hash.update(BASE_OF_ALL);
            hash.update(&base_hash);
            hash.update(source.content_hash());
            let tag = &hex::encode(hash.finalize())[..16];
            let reference = format!("dora/{}:{tag}", source.name);
            (source.name.clone(), (source, reference))
        })
        .collect()
}

impl Engine {
    /// Makes sure that the named images are there (all of them when `names` is empty), building what is missing.
    /// `replacements` puts the user's own references in place of the catalogue's.
    ///
    /// # Errors
    /// [`EngineError::UnknownImage`], [`EngineError::Build`], [`EngineError::BaseMissing`], [`EngineError::DiskFull`].
    pub async fn ensure_images(
        &self,
        names: &[&str],
        replacements: &BTreeMap<String, ImageRef>,
        progress: Arc<dyn Fn(BuildProgress) + Send + Sync>,
    ) -> Result<ImageCatalog, EngineError> {
        let all = references();
        for name in names.iter().copied().chain(replacements.keys().map(String::as_str)) {
            if !all.contains_key(name) {
                return Err(EngineError::UnknownImage { name: name.to_owned(), known: known_names() });
            }
        }
        let wanted: Vec<_> = all
            .iter()
            .filter(|(name, _)| {
                name.as_str() != BASE && (names.is_empty() || names.contains(&name.as_str())) && !replacements.contains_key(*name)
            })
            .map(|(_, pair)| pair)
            .collect();
        let base = all.get(BASE).map(|(source, reference)| (source, reference.clone()));
        let mut catalog = ImageCatalog::default();
        if let Some((source, reference)) = &base {
            self.ensure_image(source, reference, BASE_OF_ALL, &progress).await?;
            catalog.images.insert(BASE.to_owned(), self.describe(BASE, reference, false).await?);
        }
        let base_reference = base.map_or_else(|| BASE_OF_ALL.to_owned(), |(_, reference)| reference);
        stream::iter(wanted.iter().map(Ok))
            .try_for_each_concurrent(BUILD_PARALLEL, |(source, reference)| self.ensure_image(source, reference, &base_reference, &progress))
            .await?;
        for (source, reference) in wanted {
            catalog.images.insert(source.name.clone(), self.describe(&source.name, reference, false).await?);
        }
        for (name, reference) in replacements {
            catalog.images.insert(name.clone(), self.describe(name, reference, true).await?);
        }
        Ok(catalog)
    }

    async fn ensure_image(
        &self,
        source: &ImageSource,
        reference: &str,
        base: &str,
        progress: &Arc<dyn Fn(BuildProgress) + Send + Sync>,
    ) -> Result<(), EngineError> {
        if self.docker.inspect_image(reference).await.is_ok() {
            progress(BuildProgress::Present(source.name.clone()));
            return Ok(());
        }
        let started = std::time::Instant::now();
        progress(BuildProgress::Started(source.name.clone()));
        self.build(source, reference, base, progress).await?;
        progress(BuildProgress::Finished(source.name.clone(), started.elapsed().as_secs()));
        Ok(())
    }

    async fn build(
        &self,
        source: &ImageSource,
        reference: &str,
        base: &str,
        progress: &Arc<dyn Fn(BuildProgress) + Send + Sync>,
    ) -> Result<(), EngineError> {
        let bundle = HOST_CA_BUNDLES.iter().find_map(|path| std::fs::read(path).ok()).unwrap_or_default();
        let mut entries: Vec<(&str, &[u8], u32, u64)> =
            source.files.iter().map(|file| (file.path.as_str(), file.bytes, if file.executable { 0o755 } else { 0o644 }, 0)).collect();
        entries.push((CA_BUNDLE, &bundle, 0o644, 0));
        let context = files::pack(&source.name, &entries)?;
        let options = BuildImageOptionsBuilder::default()
            .t(reference)
            .rm(true)
            .forcerm(true)
            .buildargs(&HashMap::from([("BASE", base)]))
            .version(BuilderVersion::BuilderV1)
            .build();
        let mut lines: Vec<String> = Vec::new();
        let failed = |reason: String, lines: &[String]| {
            if base == BASE_OF_ALL && lines.iter().all(|line| line.starts_with("Step 1") || line.starts_with("Step 2")) {
                return EngineError::BaseMissing { base: BASE_OF_ALL.to_owned() };
            }
            let log_tail = lines.iter().rev().take(BUILD_TAIL).rev().cloned().collect();
            EngineError::Build { image: source.name.clone(), reason, log_tail }
        };
        let mut stream = Box::pin(self.docker.build_image(options, None, Some(bollard::body_full(context.into()))));
        loop {
            let next = next_within(&mut stream, BUILD_SILENCE_MAX, format!("further line of the build of {}", source.name)).await?;
            let Some(event) = next else { return Ok(()) };
            let what = || format!("build image {}", source.name);
            // A step that failed comes as an error, too, with the builder's words: the engine's client makes it one.
            let event = event.map_err(|error| EngineError::sorted(what(), error, |reason| failed(reason, &lines)))?;
            if event.error_detail.is_some() {
                return Err(failed("the builder does not say why".into(), &lines));
            }
            for line in event.stream.unwrap_or_default().lines().filter(|line| !line.trim().is_empty()) {
                progress(BuildProgress::Line(source.name.clone(), line.to_owned()));
                lines.push(line.to_owned());
                if lines.len() > 400 {
                    lines.drain(..200);
                }
            }
        }
    }

    async fn describe(&self, name: &str, reference: &str, replaced: bool) -> Result<ImageUse, EngineError> {
        let missing = |reason: String| EngineError::Build {
            image: name.to_owned(),
            reason: format!("`{reference}` is not on this engine ({reason}); pull or build it first"),
            log_tail: Vec::new(),
        };
        let inspected = self.docker.inspect_image(reference).await;
        let inspected = inspected.map_err(|error| EngineError::sorted(format!("inspect {reference}"), error, missing))?;
        let labels = inspected.config.and_then(|config| config.labels).unwrap_or_default();
        let label = |key: &str| labels.get(key).cloned().unwrap_or_else(|| "not stated".into());
        Ok(ImageUse {
            name: name.to_owned(),
            reference: reference.to_owned(),
            version: label("org.opencontainers.image.version"),
            licence: label("org.opencontainers.image.licenses"),
            replaced,
        })
    }

    /// Runs a shell script in a fresh container of the image and returns its standard output: how an image is asked what it
    /// can do.
    ///
    /// # Errors
    /// Any [`EngineError`] of the request.
    pub async fn ask_image(&self, run: &RunId, image: &str, script: &str) -> Result<String, EngineError> {
        let what = || format!("ask image {image} what it can do");
        let body = ContainerCreateBody {
            image: Some(image.to_owned()),
            entrypoint: Some(vec!["sh".into(), "-c".into(), script.to_owned()]),
            cmd: Some(Vec::new()),
            labels: Some(labels::of(run, RunKind::Bound, "image")),
            host_config: Some(HostConfig { network_mode: Some("none".into()), ..HostConfig::default() }),
            ..ContainerCreateBody::default()
        };
        let created = self
            .docker
            .create_container(None::<bollard::query_parameters::CreateContainerOptions>, body)
            .await
            .map_err(|e| EngineError::request(what(), e))?;
        let answer = async {
            self.start(&created.id).await?;
            let options = WaitContainerOptionsBuilder::default().build();
            let mut ended = Box::pin(self.docker.wait_container(&created.id, Some(options)));
            // A script that fails is answered by what it printed.
            let _ = next_within(&mut ended, ASK_LIMIT, format!("answer of image {image}")).await?;
            Ok(self.logs(&created.id, 200).await?.join("\n"))
        }
        .await;
        self.remove(&created.id).await?;
        answer
    }
}
