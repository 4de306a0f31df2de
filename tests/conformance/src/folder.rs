//! A connector's folder, as it is on disk now.
//!
//! What is compiled into a connector ([`connector_sdk::Assets`]) can be older than the folder: a build does not notice a
//! new file. So the suite reads the folder itself where it finds it, and the compiled-in copy only elsewhere.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use connector_sdk::Entry;
use connector_sdk::include_dir::{Dir, DirEntry, File};

/// The files of one connector.
pub(crate) struct Folder {
    pub entry: Entry,
    /// Where the folder is; `None` when only the compiled-in copy is at hand.
    pub path: Option<PathBuf>,
    pub readme: String,
    pub example: String,
    pub kinds: String,
    pub fixtures: &'static Dir<'static>,
}

impl Folder {
    /// The connector's folder. An error names the file that cannot be read.
    pub fn open(entry: &Entry) -> Result<Self, String> {
        let assets = entry.assets;
        let Some(path) = locate(entry.name) else {
            return Ok(Self {
                entry: *entry,
                path: None,
                readme: assets.readme.to_owned(),
                example: assets.example.to_owned(),
                kinds: assets.kinds.to_owned(),
                fixtures: assets.fixtures,
            });
        };
        let read =
            |file: &str| fs::read_to_string(path.join(file)).map_err(|e| format!("{}: {e}", path.join(file).display()));
        Ok(Self {
            entry: *entry,
            readme: read("README.md")?,
            example: read("config.example.yaml")?,
            kinds: read("kinds.toml")?,
            fixtures: fixtures(&path.join("fixtures")).map_err(|e| format!("{}/fixtures: {e}", path.display()))?,
            path: Some(path),
        })
    }

    /// A file of the folder, to be written.
    pub fn file(&self, relative: impl AsRef<Path>) -> Result<PathBuf, String> {
        let path =
            self.path.as_ref().ok_or("the connector's folder is not on this machine, so nothing can be written")?;
        Ok(path.join(relative))
    }
}

/// The crate under test (cargo sets its folder for the run), else the folder of that name in this workspace.
fn locate(name: &str) -> Option<PathBuf> {
    let own = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let listed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../connectors").join(name);
    own.into_iter().chain([listed]).find(|path| path.join("kinds.toml").is_file() && path.join("fixtures").is_dir())
}

/// Reads `fixtures/` in the form of a compiled-in directory. Leaked: it lives as long as the test binary.
fn fixtures(root: &Path) -> io::Result<&'static Dir<'static>> {
    Ok(Box::leak(Box::new(Dir::new("", entries(root, root)?))))
}

fn entries(root: &Path, dir: &Path) -> io::Result<&'static [DirEntry<'static>]> {
    let mut found: Vec<PathBuf> = fs::read_dir(dir)?.map(|entry| entry.map(|e| e.path())).collect::<io::Result<_>>()?;
    found.sort();
    let mut list = Vec::with_capacity(found.len());
    for path in found {
        let relative = path.strip_prefix(root).map_err(io::Error::other)?;
        let name: &'static str = Box::leak(relative.to_string_lossy().into_owned().into_boxed_str());
        list.push(if path.is_dir() {
            DirEntry::Dir(Dir::new(name, entries(root, &path)?))
        } else {
            DirEntry::File(File::new(name, Box::leak(fs::read(&path)?.into_boxed_slice())))
        });
    }
    Ok(Box::leak(list.into_boxed_slice()))
}
