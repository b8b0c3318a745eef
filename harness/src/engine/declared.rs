//! What the engine itself keeps of a run in clear: how containers and images were declared, and what lies in image layers.

use std::{collections::BTreeSet, time::SystemTime};

use futures_util::StreamExt as _;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{Engine, EngineError, RunId, sweep::Leftovers};
use crate::security::SecretSearch;

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

    /// Which secrets lie in an image's layers, by their positions in the search. Reads the whole image.
    ///
    /// # Errors
    /// Any [`EngineError`] of the request.
    pub async fn search_image(&self, reference: &str, search: &SecretSearch) -> Result<BTreeSet<usize>, EngineError> {
        let mut found = BTreeSet::new();
        let mut window: Vec<u8> = Vec::new();
        let mut stream = Box::pin(self.docker.export_image(reference));
        while let Some(chunk) = stream.next().await {
            window.extend_from_slice(&chunk.map_err(|e| EngineError::request(format!("read the layers of {reference}"), e))?);
            found.extend(search.find(&window));
            // A secret may lie across two chunks.
            window = window.split_off(window.len().saturating_sub(search.longest()));
        }
        Ok(found)
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
