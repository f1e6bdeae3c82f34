// SPDX-License-Identifier: Apache-2.0
use camino::Utf8PathBuf;

use super::arguments::{value, words};

/// Where a machine's memory lies, and what is in it when the machine starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Memory {
    /// QEMU's own; nothing is in it
    Own,
    /// laid out so that a snapshot can be made of it; nothing is in it
    Kept(Backing),
    /// a private copy of a snapshot's, which is read in before the machine runs
    Restored(Backing),
}

/// What has to be the same for a machine whose memory is kept and for one that gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Backing {
    /// QEMU's machine by its versioned name, such as `pc-q35-10.0`
    pub(crate) machine: String,
    /// the file that is the memory; none, where it lies within the file with the machine's state
    pub(crate) file: Option<Utf8PathBuf>,
}

impl Memory {
    /// What `-machine` takes; `board` is the machine by its name without a version, with its options.
    pub(crate) fn machine(&self, board: &str) -> String {
        let (Self::Kept(backing) | Self::Restored(backing)) = self else { return board.to_owned() };
        let options = board.find(',').map_or("", |comma| &board[comma..]);
        let memory = if backing.file.is_some() { ",memory-backend=memory" } else { "" };
        format!("{}{options}{memory}", backing.machine)
    }

    /// The options beside it. A file that is shared takes what the guest writes; one that is not is
    /// only read, and each page that the guest writes to is copied (QEMU's `docs/system/vm-templating.rst`).
    pub(crate) fn arguments(&self, mebibytes: u32) -> Vec<String> {
        let object = |backing: &Backing, share: &str| {
            let object = |file: &Utf8PathBuf| {
                let path = value(file.as_str());
                format!("memory-backend-file,id=memory,size={mebibytes}M,mem-path={path},share={share}")
            };
            backing.file.as_ref().map(|file| words([("-object", object(file))])).unwrap_or_default()
        };
        match self {
            Self::Own => Vec::new(),
            Self::Kept(backing) => object(backing, "on"),
            Self::Restored(backing) => {
                [object(backing, "off"), words([("-incoming", "defer".to_owned())])].concat()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_has_the_same_machine_and_writes_to_no_file() {
        let backing = Backing { machine: "pc-q35-10.0".to_owned(), file: Some("/store/a,b/memory".into()) };
        let (kept, restored) = (Memory::Kept(backing.clone()), Memory::Restored(backing));
        assert_eq!(kept.machine("q35"), "pc-q35-10.0,memory-backend=memory");
        assert_eq!(restored.machine("q35"), kept.machine("q35"));
        assert_eq!(kept.machine("q35,smm=on"), "pc-q35-10.0,smm=on,memory-backend=memory");
        let object = "memory-backend-file,id=memory,size=512M,mem-path=/store/a,,b/memory,share=";
        assert_eq!(kept.arguments(512), ["-object".to_owned(), format!("{object}on")]);
        let expected = ["-object".to_owned(), format!("{object}off"), "-incoming".into(), "defer".into()];
        assert_eq!(restored.arguments(512), expected);
    }

    #[test]
    fn without_a_file_the_memory_comes_with_the_state() {
        let memory = Memory::Restored(Backing { machine: "pc-q35-10.0".to_owned(), file: None });
        assert_eq!(memory.machine("q35"), "pc-q35-10.0");
        assert_eq!(memory.arguments(512), ["-incoming", "defer"]);
        assert!(Memory::Own.arguments(512).is_empty());
    }
}
