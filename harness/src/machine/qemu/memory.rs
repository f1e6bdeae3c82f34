// SPDX-License-Identifier: Apache-2.0
use camino::Utf8PathBuf;

use super::option::{escape, options};

/// The guest's memory when the machine starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MemoryMode {
    /// anonymous and empty
    Anonymous,
    /// empty, and placed so that a snapshot can be made of it
    Saved(MemoryBacking),
    /// a private copy of a snapshot's
    Restored(MemoryBacking),
}

/// What a machine that is saved and its copies have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MemoryBacking {
    /// QEMU's machine type with its version, such as `pc-q35-10.0`
    pub(crate) machine_type: String,
    /// the file of the memory, unless it is part of the saved state
    pub(crate) file: Option<Utf8PathBuf>,
}

impl MemoryMode {
    /// The value of `-machine`, given the one with the machine type's alias and its options.
    pub(crate) fn machine(&self, alias: &str) -> String {
        let (Self::Saved(backing) | Self::Restored(backing)) = self else { return alias.to_owned() };
        let options = alias.find(',').map_or("", |comma| &alias[comma..]);
        let memory = if backing.file.is_some() { ",memory-backend=memory" } else { "" };
        format!("{}{options}{memory}", backing.machine_type)
    }

    /// The other options. A shared file receives what the guest writes. A private one is only read, and each
    /// page that the guest writes to is copied (QEMU's `docs/system/vm-templating.rst`).
    pub(crate) fn arguments(&self, mebibytes: u32) -> Vec<String> {
        let object = |backing: &MemoryBacking, share: &str| {
            let object = |file: &Utf8PathBuf| {
                let path = escape(file.as_str());
                format!("memory-backend-file,id=memory,size={mebibytes}M,mem-path={path},share={share}")
            };
            backing.file.as_ref().map(|file| options([("-object", object(file))])).unwrap_or_default()
        };
        match self {
            Self::Anonymous => Vec::new(),
            Self::Saved(backing) => object(backing, "on"),
            Self::Restored(backing) => {
                [object(backing, "off"), options([("-incoming", "defer".to_owned())])].concat()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_has_the_same_machine_type_and_does_not_write_to_the_file() {
        let backing =
            MemoryBacking { machine_type: "pc-q35-10.0".to_owned(), file: Some("/store/a,b/memory".into()) };
        let saved = MemoryMode::Saved(backing.clone());
        let restored = MemoryMode::Restored(backing);
        assert_eq!(saved.machine("q35"), "pc-q35-10.0,memory-backend=memory");
        assert_eq!(restored.machine("q35"), saved.machine("q35"));
        assert_eq!(saved.machine("q35,smm=on"), "pc-q35-10.0,smm=on,memory-backend=memory");
        let object = "memory-backend-file,id=memory,size=512M,mem-path=/store/a,,b/memory,share=";
        assert_eq!(saved.arguments(512), ["-object".to_owned(), format!("{object}on")]);
        let expected = ["-object".to_owned(), format!("{object}off"), "-incoming".into(), "defer".into()];
        assert_eq!(restored.arguments(512), expected);
    }

    #[test]
    fn without_a_file_the_memory_is_in_the_state() {
        let memory =
            MemoryMode::Restored(MemoryBacking { machine_type: "pc-q35-10.0".to_owned(), file: None });
        assert_eq!(memory.machine("q35"), "pc-q35-10.0");
        assert_eq!(memory.arguments(512), ["-incoming", "defer"]);
        assert!(MemoryMode::Anonymous.arguments(512).is_empty());
    }
}
