// SPDX-License-Identifier: Apache-2.0
//! A container image as one archive that `docker load` and `ctr images import` both read.
//!
//! It is an OCI image layout (OCI Image Format Specification 1.1: `oci-layout`, `index.json`,
//! `blobs/sha256`) with Docker's `manifest.json` beside it, as `docker save` itself writes since
//! version 25. Docker's engines before the containerd image store read `manifest.json`, whose paths
//! may point anywhere in the archive; containerd reads `index.json` and takes the image's name from
//! the annotation `io.containerd.image.name`.
use std::io;

use loadgauge_images::Architecture;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// An image archive: the same bytes for the same arguments.
///
/// `name` is the full reference (`docker.io/loadgauge/probe:latest`), `program` the executable that
/// the image consists of, at `/probe`, which is also its entry point.
///
/// # Errors
/// None in practice: everything is written to memory.
pub(super) fn archive(name: &str, program: &[u8], architecture: Architecture) -> io::Result<Vec<u8>> {
    let mut layer = tar::Builder::new(Vec::new());
    append(&mut layer, "probe", program, 0o555)?;
    let layer = layer.into_inner()?;
    // The layer is not compressed: the digest of the blob and that of its content are the same.
    let layer_digest = digest(&layer);
    let config = encode(&json!({
        "created": "1970-01-01T00:00:00Z",
        "architecture": architecture.debian_name(),
        "os": "linux",
        "config": { "Entrypoint": ["/probe"], "WorkingDir": "/" },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{layer_digest}")] },
        "history": [{ "created": "1970-01-01T00:00:00Z", "created_by": "loadgauge" }],
    }));
    let manifest = encode(&json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", &layer)],
    }));
    let (familiar, tag) = familiar(name);
    let mut described = descriptor("application/vnd.oci.image.manifest.v1+json", &manifest);
    described["annotations"] =
        json!({ "io.containerd.image.name": name, "org.opencontainers.image.ref.name": tag });
    described["platform"] = json!({ "architecture": architecture.debian_name(), "os": "linux" });
    let index = encode(&json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [described],
    }));
    let docker = encode(&json!([{
        "Config": blob(&config),
        "RepoTags": [familiar],
        "Layers": [blob(&layer)],
    }]));

    let mut image = tar::Builder::new(Vec::new());
    for directory in ["blobs/", "blobs/sha256/"] {
        append(&mut image, directory, &[], 0o755)?;
    }
    for content in [&config, &layer, &manifest] {
        append(&mut image, &blob(content), content, 0o644)?;
    }
    append(&mut image, "index.json", &index, 0o644)?;
    append(&mut image, "manifest.json", &docker, 0o644)?;
    append(&mut image, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#, 0o644)?;
    image.into_inner()
}

/// The name as Docker shows it, and the tag alone.
fn familiar(name: &str) -> (&str, &str) {
    let short = name.strip_prefix("docker.io/").unwrap_or(name);
    (short, name.rsplit_once(':').map_or("latest", |(_, tag)| tag))
}

fn descriptor(media_type: &str, content: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": format!("sha256:{}", digest(content)), "size": content.len() })
}

fn digest(content: &[u8]) -> String {
    hex::encode(Sha256::digest(content))
}

fn blob(content: &[u8]) -> String {
    format!("blobs/sha256/{}", digest(content))
}

fn encode(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

/// Adds a file, or a directory where the path ends with a slash.
fn append(archive: &mut tar::Builder<Vec<u8>>, path: &str, content: &[u8], mode: u32) -> io::Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(if path.ends_with('/') {
        tar::EntryType::Directory
    } else {
        tar::EntryType::Regular
    });
    header.set_size(content.len() as u64);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    archive.append_data(&mut header, path, content)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Read as _;

    use super::*;

    const NAME: &str = "docker.io/loadgauge/probe:latest";

    fn members(bytes: &[u8]) -> BTreeMap<String, Vec<u8>> {
        let mut members = BTreeMap::new();
        for entry in tar::Archive::new(bytes).entries().expect("an archive") {
            let mut entry = entry.expect("a member");
            let path = entry.path().expect("a path").display().to_string();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).expect("content");
            members.insert(path, content);
        }
        members
    }

    fn parsed(bytes: &[u8]) -> Value {
        serde_json::from_slice(bytes).expect("JSON")
    }

    /// The content of what a descriptor points at, once its digest and size are found right.
    fn followed<'a>(members: &'a BTreeMap<String, Vec<u8>>, descriptor: &Value) -> &'a [u8] {
        let digest_text = descriptor["digest"].as_str().expect("a digest");
        let hash = digest_text.strip_prefix("sha256:").expect("SHA-256");
        let content = &members[&format!("blobs/sha256/{hash}")];
        assert_eq!(digest(content), hash);
        assert_eq!(descriptor["size"], content.len());
        content
    }

    #[test]
    fn every_digest_leads_to_its_blob() {
        let bytes = archive(NAME, b"program", Architecture::Arm64).expect("an archive");
        let members = members(&bytes);
        assert_eq!(parsed(&members["oci-layout"])["imageLayoutVersion"], "1.0.0");
        let index = parsed(&members["index.json"]);
        let entry = &index["manifests"][0];
        assert_eq!(entry["annotations"]["io.containerd.image.name"], NAME);
        assert_eq!(entry["platform"]["architecture"], "arm64");
        let manifest = parsed(followed(&members, entry));
        let config = parsed(followed(&members, &manifest["config"]));
        let layer = followed(&members, &manifest["layers"][0]);
        assert_eq!(config["rootfs"]["diff_ids"][0], format!("sha256:{}", digest(layer)));
        assert_eq!(config["config"]["Entrypoint"][0], "/probe");
        assert_eq!(self::members(layer)["probe"], b"program");
    }

    #[test]
    fn dockers_own_manifest_names_the_same_blobs() {
        let bytes = archive(NAME, b"program", Architecture::Amd64).expect("an archive");
        let members = members(&bytes);
        let docker = &parsed(&members["manifest.json"])[0];
        assert_eq!(docker["RepoTags"][0], "loadgauge/probe:latest");
        let config = parsed(&members[docker["Config"].as_str().expect("a path")]);
        let layer = &members[docker["Layers"][0].as_str().expect("a path")];
        assert_eq!(config["rootfs"]["diff_ids"][0], format!("sha256:{}", digest(layer)));
    }

    #[test]
    fn the_same_image_has_the_same_bytes() {
        let one = archive(NAME, b"program", Architecture::Amd64).expect("an archive");
        assert_eq!(one, archive(NAME, b"program", Architecture::Amd64).expect("an archive"));
        assert_ne!(one, archive(NAME, b"programs", Architecture::Amd64).expect("an archive"));
    }

    #[test]
    fn tar_itself_reads_it() {
        let bytes = archive(NAME, b"program", Architecture::Amd64).expect("an archive");
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), &bytes).expect("written");
        let listing =
            std::process::Command::new("tar").arg("-tf").arg(file.path()).output().expect("tar runs");
        assert!(listing.status.success() && listing.stderr.is_empty(), "{listing:?}");
        assert!(
            String::from_utf8_lossy(&listing.stdout).ends_with("index.json\nmanifest.json\noci-layout\n")
        );
    }
}
