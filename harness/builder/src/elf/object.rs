// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeMap;

use loadgauge_images::Architecture;
use object::Endianness;
use object::elf::{
    DT_NEEDED, DT_RPATH, DT_RUNPATH, DT_SONAME, EM_AARCH64, EM_X86_64, ET_DYN, ET_EXEC, FileHeader64,
    VER_FLG_BASE, VER_FLG_WEAK,
};
use object::read::elf::{Dyn as _, FileHeader as _, ProgramHeader as _, SectionHeader as _, SectionTable};
use serde::Deserialize;

/// The dynamic dependencies of an ELF file, and the symbol versions that it defines.
///
/// Source: elf(5), and the GNU extensions for symbol versions in the Linux Standard Base, chapter
/// "Symbol Versioning".
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Object {
    /// `DT_SONAME` of a library
    pub soname: Option<String>,
    /// `DT_NEEDED`: names of the libraries that it needs
    pub needed: Vec<String>,
    /// `DT_RPATH` and `DT_RUNPATH`: directories that are searched first, with `$ORIGIN` as written
    pub run_path: Vec<String>,
    /// symbol versions that it needs, by library
    pub versions_needed: BTreeMap<String, Vec<String>>,
    /// symbol versions that it defines
    pub versions: Vec<String>,
    /// `PT_INTERP` of a program: the path of its dynamic loader
    pub interpreter: Option<String>,
    /// libraries that it loads with dlopen(3), as far as it declares them
    pub dlopens: Vec<Dlopen>,
}

/// Alternative libraries that a file loads with dlopen(3).
///
/// Source: the "ELF Dlopen Metadata" specification of the UAPI group, section `.note.dlopen`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Dlopen {
    /// names of the libraries, the preferred one first
    pub soname: Vec<String>,
    /// `required`, `recommended` or `suggested`
    #[serde(default)]
    pub priority: String,
    /// identifier of the feature that needs one of them
    #[serde(default)]
    pub feature: String,
    /// description of the feature
    #[serde(default)]
    pub description: String,
}

/// An ELF file that is damaged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid ELF file: {0}")]
pub struct ObjectError(String);

impl From<object::Error> for ObjectError {
    fn from(error: object::Error) -> Self {
        Self(error.to_string().to_lowercase())
    }
}

/// The first bytes of every ELF file.
pub(crate) const MAGIC: &[u8] = b"\x7fELF";
/// `EI_CLASS`: the index of the file's class in `e_ident`.
const CLASS: usize = 4;
/// `ELFCLASS64`.
const CLASS_64: u8 = 2;
/// Owner and type of the note in `.note.dlopen`.
const DLOPEN: (&[u8], u32) = (b"FDO", 0x407c_0c0a);

impl Object {
    /// Reads a program or shared library of an architecture; `None` for a file of another kind, such as
    /// a kernel module, or of another architecture.
    ///
    /// # Errors
    /// The file starts as an ELF file and is damaged.
    pub fn read(data: &[u8], architecture: Architecture) -> Result<Option<Self>, ObjectError> {
        if !data.starts_with(MAGIC) || data.get(CLASS) != Some(&CLASS_64) {
            return Ok(None);
        }
        let header = FileHeader64::<Endianness>::parse(data)?;
        let endian = header.endian()?;
        let machine = match architecture {
            Architecture::Amd64 => EM_X86_64,
            Architecture::Arm64 => EM_AARCH64,
        };
        if header.e_machine(endian) != machine || ![ET_EXEC, ET_DYN].contains(&header.e_type(endian)) {
            return Ok(None);
        }
        let mut object = Self::default();
        let sections = Sections { table: header.sections(endian, data)?, endian, data };
        sections.read_dynamic(&mut object)?;
        sections.read_versions(&mut object)?;
        sections.read_notes(&mut object)?;
        for segment in header.program_headers(endian, data)? {
            if let Some(path) = segment.interpreter(endian, data)? {
                object.interpreter = Some(text(path));
            }
        }
        Ok(Some(object))
    }
}

/// The sections of an ELF file.
struct Sections<'data> {
    table: SectionTable<'data, FileHeader64<Endianness>, &'data [u8]>,
    endian: Endianness,
    data: &'data [u8],
}

impl Sections<'_> {
    fn read_notes(&self, object: &mut Object) -> Result<(), ObjectError> {
        for section in self.table.iter() {
            let Some(mut notes) = section.notes(self.endian, self.data)? else { continue };
            while let Some(note) = notes.next()? {
                if (note.name(), note.n_type(self.endian).0) != DLOPEN {
                    continue;
                }
                let text = note.desc().split(|byte| *byte == 0).next().unwrap_or_default();
                let dlopens: Vec<Dlopen> = serde_json::from_slice(text)
                    .map_err(|error| ObjectError(format!("invalid `.note.dlopen`: {error}")))?;
                object.dlopens.extend(dlopens);
            }
        }
        Ok(())
    }

    fn read_dynamic(&self, object: &mut Object) -> Result<(), ObjectError> {
        let endian = self.endian;
        let Some((entries, link)) = self.table.dynamic(endian, self.data)? else { return Ok(()) };
        let strings = self.table.strings(endian, self.data, link)?;
        for entry in entries {
            let tag = entry.tag(endian);
            if ![DT_NEEDED, DT_SONAME, DT_RPATH, DT_RUNPATH].contains(&tag) {
                continue;
            }
            let value = text(entry.string(endian, strings)?);
            match tag {
                DT_NEEDED => object.needed.push(value),
                DT_SONAME => object.soname = Some(value),
                _ => {
                    object
                        .run_path
                        .extend(value.split(':').filter(|part| !part.is_empty()).map(str::to_owned));
                }
            }
        }
        Ok(())
    }

    fn read_versions(&self, object: &mut Object) -> Result<(), ObjectError> {
        let endian = self.endian;
        if let Some((mut libraries, link)) = self.table.gnu_verneed(endian, self.data)? {
            let strings = self.table.strings(endian, self.data, link)?;
            while let Some((library, mut versions)) = libraries.next()? {
                let names = object.versions_needed.entry(text(library.file(endian, strings)?)).or_default();
                while let Some(version) = versions.next()? {
                    // The loader does not fail on a missing weak version.
                    if !version.vna_flags.get(endian).contains(VER_FLG_WEAK) {
                        names.push(text(version.name(endian, strings)?));
                    }
                }
            }
        }
        if let Some((mut definitions, link)) = self.table.gnu_verdef(endian, self.data)? {
            let strings = self.table.strings(endian, self.data, link)?;
            while let Some((definition, mut names)) = definitions.next()? {
                // The first name is the version's own, the others are its predecessors.
                let name = names.next()?;
                if let Some(name) = name.filter(|_| !definition.vd_flags.get(endian).contains(VER_FLG_BASE)) {
                    object.versions.push(text(name.name(endian, strings)?));
                }
            }
        }
        Ok(())
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    fn own() -> Vec<u8> {
        std::fs::read("/bin/sh").expect("a program")
    }

    fn host() -> Architecture {
        if cfg!(target_arch = "aarch64") { Architecture::Arm64 } else { Architecture::Amd64 }
    }

    #[test]
    fn readelf_reports_the_same() {
        let library = std::fs::canonicalize("/lib64/ld-linux-x86-64.so.2")
            .or_else(|_| std::fs::canonicalize("/lib/ld-linux-aarch64.so.1"))
            .expect("a loader");
        let libc = library.with_file_name("libc.so.6");
        for path in [std::path::PathBuf::from("/bin/sh"), libc] {
            let data = std::fs::read(&path).expect("read");
            let object = Object::read(&data, host()).expect("sound").expect("of this architecture");
            let output =
                Command::new("readelf").args(["--wide", "--dynamic", "--version-info"]).arg(&path).output();
            let output = String::from_utf8(output.expect("readelf runs").stdout).expect("UTF-8");
            let needed: Vec<&str> = output
                .lines()
                .filter(|line| line.contains("(NEEDED)"))
                .filter_map(|line| line.split(['[', ']']).nth(1))
                .collect();
            assert_eq!(object.needed, needed, "{path:?}");
            let section = |name: &str| output.split(name).nth(1).unwrap_or_default().to_owned();
            let defined = section("Version definition section");
            let defined = defined.split("Version needs section").next().unwrap_or_default().to_owned();
            let names = defined
                .lines()
                .filter(|line| line.contains("Rev:") && !line.contains("Flags: BASE"))
                .filter_map(|line| line.split("Name: ").nth(1))
                .map(|name| name.trim().to_owned())
                .collect::<Vec<_>>();
            assert_eq!(object.versions, names, "{path:?}");
            let needs = section("Version needs section");
            let count =
                needs.lines().filter(|line| line.contains("Name:") && !line.contains("Flags: WEAK")).count();
            assert_eq!(object.versions_needed.values().flatten().count(), count, "{path:?}");
        }
    }

    /// A shared library with the note that systemd's own libraries have.
    fn noted(json: &str) -> Vec<u8> {
        let scratch = tempfile::tempdir().expect("a directory");
        let (source, library) = (scratch.path().join("noted.s"), scratch.path().join("noted.so"));
        let text = format!(
            ".section .note.dlopen, \"a\", %note\n.balign 4\n.long 4\n.long 2f - 1f\n.long 0x407c0c0a\n\
             .asciz \"FDO\"\n1: .asciz \"{}\"\n2: .balign 4\n",
            json.replace('"', "\\\"")
        );
        std::fs::write(&source, text).expect("written");
        let status =
            Command::new("cc").args(["-shared", "-nostdlib", "-o"]).arg(&library).arg(&source).status();
        assert!(status.expect("cc runs").success());
        std::fs::read(&library).expect("read")
    }

    #[test]
    fn dlopen_metadata_is_read() {
        let json = r#"[{"feature":"bpf","description":"Firewalls","priority":"suggested","soname":["libbpf.so.1","libbpf.so.0"]}]"#;
        let object = Object::read(&noted(json), host()).expect("sound").expect("of this architecture");
        let expected = Dlopen {
            soname: vec!["libbpf.so.1".to_owned(), "libbpf.so.0".to_owned()],
            priority: "suggested".to_owned(),
            feature: "bpf".to_owned(),
            description: "Firewalls".to_owned(),
        };
        assert_eq!((object.dlopens, object.interpreter), (vec![expected], None));
        assert!(Object::read(&noted("[{"), host()).is_err());
        let shell = Object::read(&own(), host()).expect("sound").expect("of this architecture");
        assert!(shell.interpreter.is_some_and(|path| path.contains("/ld-linux")));
    }

    #[test]
    fn files_of_another_kind_or_architecture_are_ignored() {
        assert_eq!(Object::read(b"#!/bin/sh\n", host()), Ok(None));
        let other = if host() == Architecture::Amd64 { Architecture::Arm64 } else { Architecture::Amd64 };
        assert_eq!(Object::read(&own(), other), Ok(None));
        assert!(Object::read(b"\x7fELF\x02", host()).is_err());
    }

    proptest! {
        #[test]
        fn damaged_files_do_not_panic(at in 0_usize..100_000, byte: u8, length in 0_usize..100_000) {
            let mut data = own();
            data.truncate(length.max(64));
            let at = at % data.len();
            data[at] = byte;
            let _ = Object::read(&data, host());
        }
    }
}
