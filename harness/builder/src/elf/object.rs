// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeMap;

use loadgauge_images::Architecture;
use object::elf::{
    DT_NEEDED, DT_RPATH, DT_RUNPATH, DT_SONAME, EM_AARCH64, EM_X86_64, ET_DYN, ET_EXEC, FileHeader64,
    VER_FLG_BASE, VER_FLG_WEAK,
};
use object::read::elf::{Dyn as _, FileHeader as _, ProgramHeader as _, SectionHeader as _, SectionTable};
use object::{Endianness, ReadRef};
use serde::Deserialize;

/// What one ELF file needs of others, and what it offers them.
///
/// Source: elf(5), and the GNU extensions for symbol versions in the Linux Standard Base, chapter
/// "Symbol Versioning".
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Object {
    /// the name that it is linked by, for a library
    pub soname: Option<String>,
    /// names of the libraries it is linked with
    pub needed: Vec<String>,
    /// directories to look in at first, as written: with `$ORIGIN`
    pub run_path: Vec<String>,
    /// by library, the versions of symbols that it must offer
    pub versions_needed: BTreeMap<String, Vec<String>>,
    /// versions of symbols that it offers itself
    pub versions: Vec<String>,
    /// the program that the kernel starts it by, for a program: its loader
    pub interpreter: Option<String>,
    /// libraries that it loads while it runs, where it says so
    pub dlopens: Vec<Dlopen>,
}

/// Libraries that a file loads while it runs, any of which will do.
///
/// Source: the "ELF Dlopen Metadata" specification of the UAPI group, section `.note.dlopen`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Dlopen {
    /// names of the libraries, the best first
    pub soname: Vec<String>,
    /// how much it matters: `required`, `recommended` or `suggested`
    #[serde(default)]
    pub priority: String,
    /// what does not work without
    #[serde(default)]
    pub feature: String,
    /// the same in a sentence
    #[serde(default)]
    pub description: String,
}

/// An ELF file that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("it is not a sound ELF file: {0}")]
pub struct ObjectError(String);

impl From<object::Error> for ObjectError {
    fn from(error: object::Error) -> Self {
        Self(error.to_string().to_lowercase())
    }
}

/// What every ELF file begins with.
pub(crate) const MAGIC: &[u8] = b"\x7fELF";
/// `e_ident`: the class of the file, 2 for 64 bits.
const CLASS: usize = 4;
/// The note that says what a file loads while it runs: its owner, and its type.
const DLOPEN: (&[u8], u32) = (b"FDO", 0x407c_0c0a);

impl Object {
    /// Reads a program or shared library for an architecture; nothing of a file that is neither, such
    /// as a kernel module, or that is for another one.
    ///
    /// # Errors
    /// It begins as an ELF file and goes on as none.
    pub fn read(data: &[u8], architecture: Architecture) -> Result<Option<Self>, ObjectError> {
        if !data.starts_with(MAGIC) || data.get(CLASS) != Some(&2) {
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
        let sections = header.sections(endian, data)?;
        let mut object = Self::default();
        object.read_dynamic(&sections, endian, data)?;
        object.read_versions(&sections, endian, data)?;
        object.read_notes(&sections, endian, data)?;
        for segment in header.program_headers(endian, data)? {
            if let Some(path) = segment.interpreter(endian, data)? {
                object.interpreter = Some(text(path));
            }
        }
        Ok(Some(object))
    }

    fn read_notes<'data, R: ReadRef<'data>>(
        &mut self,
        sections: &SectionTable<'data, FileHeader64<Endianness>, R>,
        endian: Endianness,
        data: R,
    ) -> Result<(), ObjectError> {
        for section in sections.iter() {
            let Some(mut notes) = section.notes(endian, data)? else { continue };
            while let Some(note) = notes.next()? {
                if (note.name(), note.n_type(endian).0) != DLOPEN {
                    continue;
                }
                let text = note.desc().split(|byte| *byte == 0).next().unwrap_or_default();
                let dlopens: Vec<Dlopen> = serde_json::from_slice(text)
                    .map_err(|error| ObjectError(format!("its note of what it loads: {error}")))?;
                self.dlopens.extend(dlopens);
            }
        }
        Ok(())
    }

    fn read_dynamic<'data, R: ReadRef<'data>>(
        &mut self,
        sections: &SectionTable<'data, FileHeader64<Endianness>, R>,
        endian: Endianness,
        data: R,
    ) -> Result<(), ObjectError> {
        let Some((entries, link)) = sections.dynamic(endian, data)? else { return Ok(()) };
        let strings = sections.strings(endian, data, link)?;
        for entry in entries {
            let tag = entry.tag(endian);
            if ![DT_NEEDED, DT_SONAME, DT_RPATH, DT_RUNPATH].contains(&tag) {
                continue;
            }
            let value = text(entry.string(endian, strings)?);
            match tag {
                DT_NEEDED => self.needed.push(value),
                DT_SONAME => self.soname = Some(value),
                _ => {
                    self.run_path.extend(value.split(':').filter(|part| !part.is_empty()).map(str::to_owned));
                }
            }
        }
        Ok(())
    }

    fn read_versions<'data, R: ReadRef<'data>>(
        &mut self,
        sections: &SectionTable<'data, FileHeader64<Endianness>, R>,
        endian: Endianness,
        data: R,
    ) -> Result<(), ObjectError> {
        if let Some((mut libraries, link)) = sections.gnu_verneed(endian, data)? {
            let strings = sections.strings(endian, data, link)?;
            while let Some((library, mut versions)) = libraries.next()? {
                let names = self.versions_needed.entry(text(library.file(endian, strings)?)).or_default();
                while let Some(version) = versions.next()? {
                    // A weak need is one that the loader passes over.
                    if !version.vna_flags.get(endian).contains(VER_FLG_WEAK) {
                        names.push(text(version.name(endian, strings)?));
                    }
                }
            }
        }
        if let Some((mut definitions, link)) = sections.gnu_verdef(endian, data)? {
            let strings = sections.strings(endian, data, link)?;
            while let Some((definition, mut names)) = definitions.next()? {
                // The first name is the version's own, further ones are of those it follows.
                let name = names.next()?;
                if let Some(name) = name.filter(|_| !definition.vd_flags.get(endian).contains(VER_FLG_BASE)) {
                    self.versions.push(text(name.name(endian, strings)?));
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
    fn readelf_sees_the_same() {
        let library = std::fs::canonicalize("/lib64/ld-linux-x86-64.so.2")
            .or_else(|_| std::fs::canonicalize("/lib/ld-linux-aarch64.so.1"))
            .expect("a loader");
        let libc = library.with_file_name("libc.so.6");
        for path in [std::path::PathBuf::from("/bin/sh"), libc] {
            let data = std::fs::read(&path).expect("read");
            let object = Object::read(&data, host()).expect("sound").expect("of this architecture");
            let output =
                Command::new("readelf").args(["--wide", "--dynamic", "--version-info"]).arg(&path).output();
            let said = String::from_utf8(output.expect("readelf runs").stdout).expect("UTF-8");
            let needed: Vec<&str> = said
                .lines()
                .filter(|line| line.contains("(NEEDED)"))
                .filter_map(|line| line.split(['[', ']']).nth(1))
                .collect();
            assert_eq!(object.needed, needed, "{path:?}");
            let section = |name: &str| said.split(name).nth(1).unwrap_or_default().to_owned();
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
    fn what_a_file_loads_while_it_runs_is_read_where_it_says_so() {
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
    fn what_is_for_another_system_says_nothing() {
        assert_eq!(Object::read(b"#!/bin/sh\n", host()), Ok(None));
        let other = if host() == Architecture::Amd64 { Architecture::Arm64 } else { Architecture::Amd64 };
        assert_eq!(Object::read(&own(), other), Ok(None));
        assert!(Object::read(b"\x7fELF\x02", host()).is_err());
    }

    proptest! {
        #[test]
        fn broken_files_do_not_make_it_panic(at in 0_usize..100_000, byte: u8, length in 0_usize..100_000) {
            let mut data = own();
            data.truncate(length.max(64));
            let at = at % data.len();
            data[at] = byte;
            let _ = Object::read(&data, host());
        }
    }
}
