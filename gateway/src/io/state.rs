//! Small state of an instance in the data directory: rotated tokens. Mode 0600, replaced atomically, synced.

use std::io::Write;
use std::path::{Path, PathBuf};

use connector_sdk::{IntakeError, StateStore, async_trait};

pub struct LocalState {
    dir: PathBuf,
}

impl LocalState {
    pub fn new(data_dir: &Path, instance: &str) -> Self {
        Self { dir: data_dir.join("state").join(instance) }
    }

    fn file(&self, name: &str) -> PathBuf {
        // Names are the connectors' own constants; anything else must not leave the directory.
        let safe: String = name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect();
        self.dir.join(safe)
    }
}

#[async_trait]
impl StateStore for LocalState {
    async fn load(&self, name: &str) -> Result<Option<Vec<u8>>, IntakeError> {
        match tokio::fs::read(self.file(name)).await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(IntakeError::retry(error)),
        }
    }

    async fn save(&self, name: &str, bytes: &[u8]) -> Result<(), IntakeError> {
        let (dir, file, bytes) = (self.dir.clone(), self.file(name), bytes.to_vec());
        tokio::task::spawn_blocking(move || replace(&dir, &file, &bytes))
            .await
            .map_err(IntakeError::retry)?
            .map_err(IntakeError::retry)
    }
}

fn replace(dir: &Path, file: &Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    std::fs::create_dir_all(dir)?;
    let temporary = file.with_extension("new");
    let mut out = std::fs::OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&temporary)?;
    out.write_all(bytes)?;
    out.sync_all()?;
    std::fs::rename(&temporary, file)?;
    std::fs::File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[tokio::test]
    async fn keeps_state_for_its_user_alone() {
        let dir = tempfile::tempdir().unwrap();
        let state = LocalState::new(dir.path(), "mail");
        assert_eq!(state.load("token").await.unwrap(), None);
        state.save("token", b"a").await.unwrap();
        state.save("token", b"b").await.unwrap();
        assert_eq!(state.load("token").await.unwrap().as_deref(), Some(&b"b"[..]));
        let mode = std::fs::metadata(state.file("token")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(state.file("../../x").starts_with(dir.path().join("state/mail")));
    }
}
