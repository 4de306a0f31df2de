//! Dependencies run one way: schemas ◀ sdk ◀ (family) ◀ connector ◀ list ◀ gateway ◀ tests.

use crate::conclude;
use crate::workspace::{CONFORMANCE, Layer, Package, layer, packages};

/// Who is looked up by name, so that the rule cannot pass by a rename.
const EXPECTED: &[&str] = &["inlet-schemas", "connector-sdk", "connectors", "inlet", "inlet-tests", CONFORMANCE];

fn by_name(name: &str) -> Option<&'static Package> {
    packages().iter().find(|p| p.name == name)
}

#[test]
fn every_dependency_points_down() {
    let mut faults = Vec::new();
    let mut looked_at = 0;
    faults.extend(EXPECTED.iter().filter(|n| by_name(n).is_none()).map(|n| format!("there is no package '{n}'")));
    for package in packages() {
        let Some(own) = layer(package) else {
            faults.push(format!("{} ({}) has no place in the line of dependencies", package.name, package.folder));
            continue;
        };
        for other in package.needs.iter().filter_map(|name| by_name(name)) {
            looked_at += 1;
            let below = layer(other).is_some_and(|other| other < own);
            let tests_share = own == Layer::Tests && TEST_TOOLS.contains(&other.name.as_str());
            if !below && !tests_share {
                faults.push(format!("{} must not depend on {}", package.name, other.name));
            }
        }
    }
    conclude(looked_at, "dependencies", faults);
}

/// What tests of lower layers may use beside what is below them: the laws, and the harness of real servers, which for
/// that reason knows nothing of this workspace itself.
const TEST_TOOLS: &[&str] = &[CONFORMANCE, "inlet-tests"];

/// Also in its tests a connector sees no other connector and no gateway: only what is below it, and the tools.
#[test]
fn tests_of_a_connector_stay_below_it() {
    let mut faults = Vec::new();
    let mut looked_at = 0;
    let low = packages().iter().filter(|p| layer(p).is_some_and(|l| l <= Layer::Connector));
    for package in low {
        looked_at += 1;
        for other in package.needs_in_tests.iter().filter_map(|name| by_name(name)) {
            if !TEST_TOOLS.contains(&other.name.as_str()) && layer(other) >= layer(package) {
                faults.push(format!("the tests of {} must not depend on {}", package.name, other.name));
            }
        }
    }
    for tool in TEST_TOOLS.iter().filter_map(|name| by_name(name)) {
        for other in tool.needs.iter().filter_map(|name| by_name(name)) {
            looked_at += 1;
            if layer(other) > Some(Layer::Sdk) {
                faults.push(format!("{} must know the sdk at most, not {}", tool.name, other.name));
            }
        }
    }
    conclude(looked_at, "packages", faults);
}

/// The sdk and the connectors know no Kafka and no HTTP server; the schemas know no runtime either.
#[test]
fn lower_layers_know_no_kafka_and_no_server() {
    const ONLY_ABOVE: &[&str] = &["rdkafka", "rdkafka-sys", "axum", "hyper", "hyper-util", "tower", "tower-http"];
    const NOT_IN_SCHEMAS: &[&str] = &["tokio", "tokio-util", "futures", "reqwest", "async-trait"];
    let mut faults = Vec::new();
    let mut looked_at = 0;
    for package in packages() {
        let Some(own) = layer(package).filter(|layer| *layer <= Layer::List) else { continue };
        looked_at += 1;
        let schemas = if own == Layer::Schemas { NOT_IN_SCHEMAS } else { &[] };
        let banned = package.needs.iter().filter(|need| ONLY_ABOVE.iter().chain(schemas).any(|b| b == need));
        faults.extend(banned.map(|need| format!("{} must not depend on {need}", package.name)));
    }
    conclude(looked_at, "packages", faults);
}

/// What is neither a connector in the list nor used by one is dead.
#[test]
fn a_family_is_used() {
    let mut faults = Vec::new();
    let looked_at = packages().len();
    for family in packages().iter().filter(|p| layer(p) == Some(Layer::Family)) {
        if !packages().iter().any(|p| p.needs.contains(&family.name)) {
            faults.push(format!("{} ({}) is used by nobody: put it in connectors/all", family.name, family.folder));
        }
    }
    conclude(looked_at, "packages", faults);
}
