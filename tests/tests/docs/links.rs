//! Relative links of every Markdown file.

use std::path::{Path, PathBuf};

/// Looks at every relative link; returns how many there were.
pub fn check(root: &Path) -> usize {
    let mut files = Vec::new();
    for top in ["README.md", "docs", "schemas", "connectors", "tests", "helm"] {
        collect(&root.join(top), &mut files);
    }
    let (mut checked, mut broken) = (0, Vec::new());
    for file in files {
        let text = std::fs::read_to_string(&file).expect("readable");
        let folder = file.parent().expect("a file has a folder");
        for target in targets(&text) {
            checked += 1;
            if !folder.join(&target).exists() {
                broken.push(format!("{}: {target}", file.display()));
            }
        }
    }
    assert!(broken.is_empty(), "links that lead nowhere:\n{}", broken.join("\n"));
    checked
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) {
    if path.extension().is_some_and(|extension| extension == "md") {
        files.push(path.to_owned());
    } else if path.is_dir() && !path.ends_with("target") && !path.ends_with("node_modules") {
        for entry in std::fs::read_dir(path).expect("readable") {
            collect(&entry.expect("readable").path(), files);
        }
    }
}

/// `](target)` without scheme and anchor.
fn targets(text: &str) -> Vec<String> {
    let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let relative = links.filter(|link| !link.contains("://") && !link.starts_with('#') && !link.starts_with("mailto:"));
    relative.map(|link| link.split('#').next().unwrap_or(link).to_owned()).filter(|link| !link.is_empty()).collect()
}
