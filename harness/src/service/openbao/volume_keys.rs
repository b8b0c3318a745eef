//! Keys of encrypted volumes from OpenBao: it makes them, and keeps what unwraps them.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::{Openbao, OpenbaoError};
use crate::{
    database::Cluster as _,
    volume::{DataKey, KeySource, VolumeError},
};

const MOUNT: &str = "transit";
const WRAPPING_KEY: &str = "volumes";

/// A transit key of OpenBao (AES-256-GCM) that never leaves it, and data keys that it made. Between two questions this side keeps a key's
/// wrapped form only; each question is one request to OpenBao, so nobody gets a key while OpenBao is sealed or away.
#[derive(Debug)]
pub struct VolumeKeys {
    bao: Arc<Openbao>,
    wrapped: Mutex<BTreeMap<String, String>>,
}

impl VolumeKeys {
    /// Mounts the engine and makes the wrapping key, on servers that have neither.
    ///
    /// # Errors
    /// [`OpenbaoError`].
    pub async fn set_up(bao: Arc<Openbao>) -> Result<Self, OpenbaoError> {
        bao.write(&format!("sys/mounts/{MOUNT}"), &json!({ "type": "transit" })).await?;
        bao.write(&format!("{MOUNT}/keys/{WRAPPING_KEY}"), &json!({ "type": "aes256-gcm96" })).await?;
        Ok(Self { bao, wrapped: Mutex::default() })
    }

    /// The servers that make the keys.
    pub fn openbao(&self) -> &Openbao {
        &self.bao
    }
}

#[async_trait]
impl KeySource for VolumeKeys {
    fn name(&self) -> String {
        "OpenBao, transit data key".into()
    }

    fn nodes(&self) -> Vec<String> {
        self.bao.nodes().iter().map(|node| node.name().to_owned()).collect()
    }

    async fn key(&self, node: &str) -> Result<DataKey, VolumeError> {
        let failed = |reason: String| VolumeError::Key { volume: format!("{node}'s data"), source_name: self.name(), reason };
        let mut wrapped = self.wrapped.lock().await;
        let (path, body) = match wrapped.get(node) {
            Some(form) => (format!("{MOUNT}/decrypt/{WRAPPING_KEY}"), json!({ "ciphertext": form })),
            None => (format!("{MOUNT}/datakey/plaintext/{WRAPPING_KEY}"), json!({ "bits": DataKey::BITS })),
        };
        let answer = self.bao.write(&path, &body).await.map_err(|error| failed(error.to_string()))?;
        let text = |pointer: &str| {
            let found = answer.pointer(pointer).and_then(Value::as_str);
            found.ok_or_else(|| failed(format!("there is no {pointer} in the answer to {path}")))
        };
        let bytes = STANDARD.decode(text("/data/plaintext")?).map_err(|error| failed(error.to_string()))?;
        if !wrapped.contains_key(node) {
            wrapped.insert(node.to_owned(), text("/data/ciphertext")?.to_owned());
        }
        DataKey::from_bytes(&bytes).ok_or_else(|| failed(format!("a key of {} bits came, not of {}", bytes.len() * 8, DataKey::BITS)))
    }
}
