//! Moving files into and out of a container as tar archives (so a remote engine works, too).

use std::io::Read as _;

use bollard::{
    models::ContainerCreateBody,
    query_parameters::{CreateContainerOptions, DownloadFromContainerOptionsBuilder, UploadToContainerOptionsBuilder},
};
use futures_util::StreamExt as _;

use super::{Engine, EngineError, RunId, RunKind, labels};

/// Largest archive that is taken out of a container, in bytes.
const ARCHIVE_MAX: usize = 1 << 30;

impl Engine {
    /// Unpacks an archive below `directory`, which must exist.
    pub(crate) async fn upload(&self, container: &str, directory: &str, archive: Vec<u8>) -> Result<(), EngineError> {
        let options = UploadToContainerOptionsBuilder::default().path(directory).build();
        self.docker
            .upload_to_container(container, Some(options), bollard::body_full(archive.into()))
            .await
            .map_err(|e| EngineError::request(format!("copy files into {container}"), e))
    }

    /// The regular files below a path of an image: path (starting with its last component) and content. Nothing of the image runs.
    pub(crate) async fn files_of_image(
        &self,
        run: &RunId,
        kind: RunKind,
        image: &str,
        path: &str,
    ) -> Result<Vec<(String, Vec<u8>)>, EngineError> {
        let body = ContainerCreateBody {
            image: Some(image.to_owned()),
            // It never runs, but the engine wants to know what would.
            cmd: Some(vec!["true".into()]),
            labels: Some(labels::of(run, kind, "toolbox")),
            ..ContainerCreateBody::default()
        };
        let created = self
            .docker
            .create_container(None::<CreateContainerOptions>, body)
            .await
            .map_err(|e| EngineError::request(format!("look into {image}"), e))?;
        let archive = self.download(image, &created.id, path).await;
        self.remove(&created.id).await?;
        unpack(image, &archive?)
    }

    /// Packs `path` (a file or a folder); the archive's entries start with its last component.
    pub(crate) async fn download(&self, node: &str, container: &str, path: &str) -> Result<Vec<u8>, EngineError> {
        let options = DownloadFromContainerOptionsBuilder::default().path(path).build();
        let mut stream = Box::pin(self.docker.download_from_container(container, Some(options)));
        let mut archive = Vec::new();
        while let Some(chunk) = stream.next().await {
            archive.extend_from_slice(&chunk.map_err(|e| EngineError::request(format!("copy {path} out of {container}"), e))?);
            if archive.len() > ARCHIVE_MAX {
                let source = std::io::Error::other(format!("{path} is larger than {ARCHIVE_MAX} bytes"));
                return Err(EngineError::Archive { node: node.to_owned(), source });
            }
        }
        Ok(archive)
    }
}

/// Packs files (path below the target folder, content, mode, owner's numeric id) into an archive.
pub(crate) fn pack(node: &str, files: &[(&str, &[u8], u32, u64)]) -> Result<Vec<u8>, EngineError> {
    let error = |source| EngineError::Archive { node: node.to_owned(), source };
    let mut builder = tar::Builder::new(Vec::new());
    for (path, content, mode, owner) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(*mode);
        header.set_uid(*owner);
        header.set_gid(*owner);
        header.set_cksum();
        builder.append_data(&mut header, path, *content).map_err(error)?;
    }
    builder.into_inner().map_err(error)
}

/// The regular files of an archive: path and content.
pub(crate) fn unpack(node: &str, archive: &[u8]) -> Result<Vec<(String, Vec<u8>)>, EngineError> {
    let error = |source| EngineError::Archive { node: node.to_owned(), source };
    let mut files = Vec::new();
    for entry in tar::Archive::new(archive).entries().map_err(error)? {
        let mut entry = entry.map_err(error)?;
        if entry.header().entry_type().is_file() {
            let path = entry.path().map_err(error)?.to_string_lossy().into_owned();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).map_err(error)?;
            files.push((path, content));
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_comes_out() {
        let archive = pack("n", &[("a/b.txt", b"hello", 0o600, 7), ("c", b"", 0o644, 0)]).unwrap();
        let files = unpack("n", &archive).unwrap();
        assert_eq!(files, vec![("a/b.txt".to_owned(), b"hello".to_vec()), ("c".to_owned(), Vec::new())]);
    }
}
