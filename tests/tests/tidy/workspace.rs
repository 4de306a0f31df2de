//! What the workspace consists of: its packages by `cargo metadata`, its files by git.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

/// A package of the workspace and what it depends on.
#[derive(Debug, Clone)]
pub struct Package {
    pub name: String,
    /// Relative to the top, such as `connectors/slack`.
    pub folder: String,
    /// Of normal and build dependencies: all names, this workspace's and others'.
    pub needs: Vec<String>,
    /// Of development dependencies.
    pub needs_in_tests: Vec<String>,
    /// Names of its programs.
    pub programs: Vec<String>,
    /// The one that `cargo run` means.
    pub default_program: Option<String>,
}

pub fn root() -> PathBuf {
    inlet_tests::cache::workspace()
}

static PACKAGES: LazyLock<Vec<Package>> = LazyLock::new(read_packages);

pub fn packages() -> &'static [Package] {
    &PACKAGES
}

fn read_packages() -> Vec<Package> {
    let mut command = Command::new(env!("CARGO"));
    command.args(["metadata", "--format-version", "1", "--no-deps", "--offline"]).current_dir(root());
    let text = inlet_tests::process::run(&mut command).expect("cargo metadata");
    let metadata: Value = serde_json::from_str(&text).expect("cargo prints JSON");
    metadata["packages"].as_array().expect("packages").iter().map(package).collect()
}

fn package(json: &Value) -> Package {
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let manifest = PathBuf::from(text(&json["manifest_path"]));
    let folder = manifest.parent().expect("a folder").strip_prefix(root()).expect("below the top");
    let dependencies = json["dependencies"].as_array().expect("dependencies");
    let of = |test: bool| {
        let chosen = dependencies.iter().filter(|d| (d["kind"] == "dev") == test);
        chosen.map(|d| text(&d["name"])).collect()
    };
    let targets = json["targets"].as_array().expect("targets");
    let is_program = |target: &&Value| target["kind"].as_array().is_some_and(|kinds| kinds.contains(&"bin".into()));
    Package {
        name: text(&json["name"]),
        folder: folder.display().to_string(),
        needs: of(false),
        needs_in_tests: of(true),
        programs: targets.iter().filter(is_program).map(|target| text(&target["name"])).collect(),
        default_program: json["default_run"].as_str().map(str::to_owned),
    }
}

/// A package's part in the line of dependencies, lowest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Layer {
    Schemas,
    Sdk,
    /// What the connectors of one family share; not in the list itself.
    Family,
    Connector,
    List,
    Gateway,
    Tests,
}

/// Tools that test connectors: they see the sdk, and the list only in their own tests.
pub const CONFORMANCE: &str = "inlet-conformance";

/// `None` for a package that has no place: a fault of its own.
pub fn layer(package: &Package) -> Option<Layer> {
    Some(match package.folder.as_str() {
        "schemas" => Layer::Schemas,
        "connectors/sdk" => Layer::Sdk,
        "connectors/all" => Layer::List,
        "gateway" => Layer::Gateway,
        folder if folder == "tests" || folder.starts_with("tests/") => Layer::Tests,
        folder if folder.starts_with("connectors/") => {
            if listed().contains(&package.name) {
                Layer::Connector
            } else {
                Layer::Family
            }
        }
        _ => return None,
    })
}

/// The names of the packages that `connectors/all` puts into the list.
pub fn listed() -> Vec<String> {
    let all = packages().iter().find(|p| p.folder == "connectors/all").expect("connectors/all is a package");
    all.needs.iter().filter(|name| name.starts_with("connector-") && *name != "connector-sdk").cloned().collect()
}

/// The connectors in the list.
pub fn connectors() -> Vec<&'static Package> {
    packages().iter().filter(|p| layer(p) == Some(Layer::Connector)).collect()
}

/// Every file that git knows or would take (nothing that is ignored), relative to the top.
pub fn files() -> Vec<String> {
    let mut command = Command::new("git");
    command.args(["ls-files", "--cached", "--others", "--exclude-standard"]).current_dir(root());
    let text = inlet_tests::process::run(&mut command).expect("the checkout is a git repository");
    let mut files: Vec<String> = text.lines().map(str::to_owned).filter(|file| root().join(file).exists()).collect();
    files.sort();
    files.dedup();
    files
}

/// The Rust files below a folder, relative to the top, with their text.
pub fn rust_files(below: &str) -> Vec<(String, String)> {
    let files = files().into_iter().filter(|file| Path::new(file).starts_with(below) && file.ends_with(".rs"));
    files
        .map(|file| (std::fs::read_to_string(root().join(&file)).expect("readable"), file))
        .map(|(t, f)| (f, t))
        .collect()
}
