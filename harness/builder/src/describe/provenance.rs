// SPDX-License-Identifier: Apache-2.0
//! The in-toto statement about the inputs of an extension: the SLSA provenance predicate, version 1 (<https://slsa.dev/spec/v1.0/provenance>).
use serde_json::{Value, json};

use super::input::Input;
use super::subject::Subject;

const REPOSITORY: &str = env!("CARGO_PKG_REPOSITORY");

/// The statement. It does not depend on the time or the place of the build.
pub(super) fn statement(subject: &Subject<'_>, inputs: &[Input], image: &(&str, Value)) -> Value {
    let resolved: Vec<Value> = inputs
        .iter()
        .map(|input| json!({ "name": input.name, "uri": input.uri, "digest": { "sha256": input.sha256 } }))
        .collect();
    json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{ "name": image.0, "digest": image.1 }],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": format!("{REPOSITORY}/build/sysext/v1"),
                "externalParameters": {
                    "recipe": subject.recipe,
                    "name": subject.name,
                    "format": subject.format.to_string(),
                },
                "internalParameters": {
                    "SOURCE_DATE_EPOCH": subject.identity.epoch,
                    "key": subject.identity.seed,
                    "packer": subject.packer,
                },
                "resolvedDependencies": resolved,
            },
            "runDetails": {
                "builder": {
                    "id": format!("{REPOSITORY}/build"),
                    "version": { "loadgauge": env!("CARGO_PKG_VERSION") },
                },
            },
        },
    })
}
