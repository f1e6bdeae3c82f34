// SPDX-License-Identifier: Apache-2.0
//! Extended attributes of files that matter for an extension.
use std::io;
use std::path::Path;

/// An attribute that would be lost, or that an extension must not contain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Attribute {
    /// the opaque marker of an overlay's directory, which hides the directories below it; its name
    Opaque(String),
    /// file capabilities
    Capability,
    /// another attribute; its name
    Other(String),
}

impl Attribute {
    /// A predicate for a file with the attribute.
    pub(super) fn description(&self) -> String {
        match self {
            Self::Opaque(name) => format!("a directory with the opaque marker `{name}`"),
            Self::Capability => {
                "a file with capabilities, which would be lost: no format keeps them".to_owned()
            }
            Self::Other(name) => {
                format!("a file with the extended attribute `{name}`, which would be lost")
            }
        }
    }
}

/// The attributes of a file, without those of the host (SELinux, btrfs properties).
pub(super) fn of(host: &Path) -> io::Result<Vec<Attribute>> {
    let mut buffer = vec![0_u8; 64 * 1024];
    let length = match rustix::fs::llistxattr(host, &mut buffer) {
        Ok(length) => length,
        Err(rustix::io::Errno::OPNOTSUPP) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let names = buffer[..length].split(|byte| *byte == 0).map(String::from_utf8_lossy);
    Ok(names.filter(|name| !name.is_empty()).filter_map(|name| classify(&name)).collect())
}

/// The attribute of a name, or `None` for one of the host.
pub(super) fn classify(name: &str) -> Option<Attribute> {
    if name.ends_with(".overlay.opaque") {
        return Some(Attribute::Opaque(name.to_owned()));
    }
    if name == "security.capability" {
        return Some(Attribute::Capability);
    }
    let of_host = matches!(name, "security.selinux" | "security.ima" | "security.evm");
    (!of_host && !name.starts_with("btrfs.")).then(|| Attribute::Other(name.to_owned()))
}
