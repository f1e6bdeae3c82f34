// SPDX-License-Identifier: Apache-2.0
//! Extended attributes of a host's files that mean something to an extension.
use std::io;
use std::path::Path;

/// An attribute that would get lost or must not get in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Attribute {
    /// marks a directory of an overlay as hiding what lies below; its name
    Opaque(String),
    /// capabilities of a program
    Capability,
    /// any other; its name
    Other(String),
}

impl Attribute {
    /// In words, what a file with it is.
    pub(super) fn lost(&self) -> String {
        match self {
            Self::Opaque(name) => format!("marked opaque by `{name}`"),
            Self::Capability => {
                "given file capabilities, which no format here carries: they would get lost".to_owned()
            }
            Self::Other(name) => {
                format!("marked by the extended attribute `{name}`, which would get lost")
            }
        }
    }
}

/// The attributes of a file, without those that belong to the host (SELinux, btrfs properties).
pub(super) fn of(host: &Path) -> io::Result<Vec<Attribute>> {
    let mut buffer = vec![0_u8; 64 * 1024];
    let length = match rustix::fs::llistxattr(host, &mut buffer) {
        Ok(length) => length,
        Err(rustix::io::Errno::OPNOTSUPP) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let names = buffer[..length].split(|byte| *byte == 0).map(String::from_utf8_lossy);
    Ok(names.filter(|name| !name.is_empty()).filter_map(|name| sort(&name)).collect())
}

/// What an attribute of this name means; nothing where it belongs to the host.
pub(super) fn sort(name: &str) -> Option<Attribute> {
    if name.ends_with(".overlay.opaque") {
        return Some(Attribute::Opaque(name.to_owned()));
    }
    if name == "security.capability" {
        return Some(Attribute::Capability);
    }
    let host_s = matches!(name, "security.selinux" | "security.ima" | "security.evm");
    (!host_s && !name.starts_with("btrfs.")).then(|| Attribute::Other(name.to_owned()))
}
