// SPDX-License-Identifier: Apache-2.0
//! The software bill of materials in SPDX 2.3, as JSON (<https://spdx.github.io/spdx-spec/v2.3/>).
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::component::Component;
use super::subject::Subject;

/// The document. `sha256` is the image's in hex, where the image is a file.
pub(super) fn document(subject: &Subject<'_>, components: &[Component], sha256: Option<&str>) -> Value {
    let created = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::from(subject.identity.epoch));
    let whole = json!({
        "SPDXID": "SPDXRef-extension",
        "name": subject.name,
        "versionInfo": subject.version.unwrap_or("NOASSERTION"),
        "packageFileName": subject.file_name,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": false,
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": "NOASSERTION",
        "copyrightText": "NOASSERTION",
        "primaryPackagePurpose": "INSTALL",
        "checksums": checksums(sha256),
    });
    let parts = components.iter().enumerate().map(|(index, component)| package(index, component));
    let contains = (0..components.len()).map(|index| {
        json!({
            "spdxElementId": "SPDXRef-extension",
            "relationshipType": "CONTAINS",
            "relatedSpdxElement": identifier(index),
        })
    });
    let describes = json!({
        "spdxElementId": "SPDXRef-DOCUMENT",
        "relationshipType": "DESCRIBES",
        "relatedSpdxElement": "SPDXRef-extension",
    });
    json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": subject.name,
        "documentNamespace": format!("urn:uuid:{}", subject.identity.uuid("SPDX document")),
        "creationInfo": {
            "created": humantime::format_rfc3339_seconds(created).to_string(),
            "creators": [format!("Tool: loadgauge-{}", env!("CARGO_PKG_VERSION"))],
        },
        "packages": std::iter::once(whole).chain(parts).collect::<Vec<Value>>(),
        "relationships": std::iter::once(describes).chain(contains).collect::<Vec<Value>>(),
    })
}

fn package(index: usize, component: &Component) -> Value {
    json!({
        "SPDXID": identifier(index),
        "name": component.name,
        "versionInfo": component.version,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": false,
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": component.license.as_deref().unwrap_or("NOASSERTION"),
        "copyrightText": "NOASSERTION",
        "checksums": checksums(component.sha256.as_deref()),
        "externalRefs": [{
            "referenceCategory": "PACKAGE-MANAGER",
            "referenceType": "purl",
            "referenceLocator": component.purl(),
        }],
    })
}

fn identifier(index: usize) -> String {
    format!("SPDXRef-package-{}", index + 1)
}

fn checksums(sha256: Option<&str>) -> Vec<Value> {
    sha256.map(|value| json!({ "algorithm": "SHA256", "checksumValue": value })).into_iter().collect()
}
