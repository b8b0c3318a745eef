//! Who can give encrypted volumes, and who can on this machine.

use std::collections::BTreeMap;

use serde::Serialize;

/// A kind of encrypted volume.
pub trait Provider: Send + Sync {
    /// Its name, as the probe prints it.
    fn name(&self) -> &'static str;

    /// The script that opens a node's data directory, below the project's files.
    ///
    /// # Errors
    /// Why this harness opens no such volumes.
    fn opener(&self) -> Result<&'static str, &'static str>;

    /// Capabilities that a node's start needs for it.
    fn capabilities(&self) -> &'static [&'static str] {
        &[]
    }

    /// Devices of the engine's machine that a node needs for it.
    fn devices(&self) -> &'static [&'static str] {
        &[]
    }

    /// Memory that it takes of a node, in bytes.
    fn memory_bytes(&self) -> i64 {
        0
    }
}

/// A file system in user space: works wherever there is `/dev/fuse`. AES-256-GCM.
struct Gocryptfs;

impl Provider for Gocryptfs {
    fn name(&self) -> &'static str {
        "gocryptfs"
    }

    fn opener(&self) -> Result<&'static str, &'static str> {
        Ok("config/volume/open-gocryptfs.sh")
    }

    fn capabilities(&self) -> &'static [&'static str] {
        &["SYS_ADMIN"]
    }

    fn devices(&self) -> &'static [&'static str] {
        &["/dev/fuse"]
    }

    fn memory_bytes(&self) -> i64 {
        64 << 20
    }
}

/// Encryption inside the volumes' own file system.
struct Fscrypt;

impl Provider for Fscrypt {
    fn name(&self) -> &'static str {
        "fscrypt"
    }

    fn opener(&self) -> Result<&'static str, &'static str> {
        Err("it is detected, but no volume of this kind has been opened by this harness yet")
    }
}

/// An encrypted block device.
struct Luks2;

impl Provider for Luks2 {
    fn name(&self) -> &'static str {
        "luks2"
    }

    fn opener(&self) -> Result<&'static str, &'static str> {
        Err("it is detected, but no volume of this kind has been opened by this harness yet")
    }
}

/// All of them, the preferred first: what the kernel does itself costs less.
pub fn providers() -> [&'static dyn Provider; 3] {
    [&Luks2, &Fscrypt, &Gocryptfs]
}

/// Whether one provider can be used here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// The provider.
    pub provider: &'static str,
    /// Why not; [`None`] where it can.
    pub obstacle: Option<String>,
}

/// What was found on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Choice {
    /// Every provider's answer, the preferred first.
    pub answers: Vec<Answer>,
}

impl Choice {
    /// Reads what `probe.sh` printed: `provider=` means that it works, `provider=words` why not.
    pub fn read(printed: &str) -> Self {
        let said: BTreeMap<&str, &str> = printed.lines().filter_map(|line| line.trim_end().split_once('=')).collect();
        let answer = |provider: &dyn Provider| {
            let obstacle = match (said.get(provider.name()), provider.opener()) {
                (None, _) => Some("the probe said nothing of it".to_owned()),
                (Some(words), _) if !words.is_empty() => Some((*words).to_owned()),
                (Some(_), Err(why)) => Some(why.to_owned()),
                (Some(_), Ok(_)) => None,
            };
            Answer { provider: provider.name(), obstacle }
        };
        Self { answers: providers().into_iter().map(answer).collect() }
    }

    /// The same on an engine that gave the probe neither devices nor capabilities: whoever needs one is refused in the engine's words.
    pub(super) fn refused(mut self, words: &str) -> Self {
        let needy = providers().into_iter().filter(|provider| !provider.devices().is_empty() || !provider.capabilities().is_empty());
        let needy: Vec<&str> = needy.map(Provider::name).collect();
        for answer in self.answers.iter_mut().filter(|answer| needy.contains(&answer.provider)) {
            answer.obstacle = Some(format!("the probe did not start with what this needs: {words}"));
        }
        self
    }

    /// What is used.
    pub fn provider(&self) -> Option<&'static dyn Provider> {
        let usable = self.answers.iter().find(|answer| answer.obstacle.is_none())?;
        providers().into_iter().find(|provider| provider.name() == usable.provider)
    }

    /// The choice and why the others were not chosen, in one sentence.
    pub fn sentence(&self) -> String {
        let others = self.answers.iter().filter_map(|answer| Some(format!("{}: {}", answer.provider, answer.obstacle.as_ref()?)));
        let others = others.collect::<Vec<_>>().join("; ");
        match self.provider() {
            Some(provider) => format!("{} is used ({others})", provider.name()),
            None => format!("no encrypted volume can be given here ({others})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_that_works_is_chosen_and_the_others_say_why_not() {
        let choice =
            Choice::read("gocryptfs=\nfscrypt=the file system of the volumes answers: Inappropriate ioctl\nluks2=no device mapper\n");
        assert_eq!(choice.provider().map(Provider::name), Some("gocryptfs"));
        assert!(choice.sentence().contains("luks2: no device mapper"), "{}", choice.sentence());
    }

    #[test]
    fn what_the_engine_refused_is_told_in_its_words() {
        let choice =
            Choice::read("gocryptfs=there is no /dev/fuse\nfscrypt=\nluks2=no device mapper\n").refused("the proxy forbids devices");
        let said: Vec<_> = choice.answers.iter().filter_map(|answer| answer.obstacle.as_deref()).collect();
        assert!(said.iter().any(|words| words.contains("the proxy forbids devices")), "{said:?}");
        assert!(said.contains(&"no device mapper"), "{said:?}");
        assert!(choice.provider().is_none());
    }

    #[test]
    fn what_cannot_be_opened_yet_is_not_chosen() {
        let choice = Choice::read("gocryptfs=there is no /dev/fuse\nfscrypt=\nluks2=\n");
        assert!(choice.provider().is_none());
        assert!(choice.sentence().starts_with("no encrypted volume can be given here"));
        assert!(Choice::read("").provider().is_none());
    }
}
