// SPDX-License-Identifier: Apache-2.0
//! The program that containers run in the `docker` and `containerd` checks: a static executable of
//! some 200 bytes that writes its first argument and a newline to standard output and ends with
//! status 0, or with status 64 without an argument or where it cannot write.
//!
//! It is assembled by hand so that a check needs neither a network, a compiler nor a libc: one ELF
//! header, one program header, the code (ELF-64 Object File Format; System V ABI: at the entry the
//! stack holds argc, then the pointers of argv).
use loadgauge_images::Architecture;

/// Where the file is mapped. Any page above the lowest 64 KiB will do.
const BASE: u64 = 0x40_0000;
/// ELF header and one program header.
const HEADERS: u64 = 64 + 56;

/// System V ABI for AMD64: the call's number in rax, arguments in rdi, rsi, rdx; `syscall`
/// overwrites rcx and r11. The newline takes the place of the argument's final NUL: the kernel's
/// copy of the arguments on the stack is the program's own.
const AMD64: &[u8] = &[
    0x48, 0x83, 0x3c, 0x24, 0x02, //             cmp qword [rsp], 2
    0x7c, 0x2c, //                               jl fail
    0x48, 0x8b, 0x74, 0x24, 0x10, //             mov rsi, [rsp+16]      ; argv[1]
    0x31, 0xd2, //                               xor edx, edx
    0x80, 0x3c, 0x16, 0x00, //             next: cmp byte [rsi+rdx], 0
    0x74, 0x05, //                               je end
    0x48, 0xff, 0xc2, //                         inc rdx
    0xeb, 0xf5, //                               jmp next
    0xc6, 0x04, 0x16, 0x0a, //              end: mov byte [rsi+rdx], 10
    0x48, 0xff, 0xc2, //                         inc rdx
    0xb8, 0x01, 0x00, 0x00, 0x00, //             mov eax, 1             ; write
    0xbf, 0x01, 0x00, 0x00, 0x00, //             mov edi, 1             ; standard output
    0x0f, 0x05, //                               syscall
    0x31, 0xff, //                               xor edi, edi
    0x48, 0x39, 0xd0, //                         cmp rax, rdx           ; all of it?
    0x74, 0x05, //                               je exit
    0xbf, 0x40, 0x00, 0x00, 0x00, //       fail: mov edi, 64
    0xb8, 0x3c, 0x00, 0x00, 0x00, //       exit: mov eax, 60            ; exit
    0x0f, 0x05, //                               syscall
];

/// Arm's A64, little endian: the call's number in x8, arguments in x0, x1, x2, result in x0.
const ARM64: &[u32] = &[
    0xf940_03e9, //       ldr x9, [sp]
    0xf100_093f, //       cmp x9, #2
    0x5400_020b, //       b.lt fail
    0xf940_0be1, //       ldr x1, [sp, #16]       ; argv[1]
    0xd280_0002, //       mov x2, #0
    0x3862_6823, // next: ldrb w3, [x1, x2]
    0x3400_0063, //       cbz w3, end
    0x9100_0442, //       add x2, x2, #1
    0x17ff_fffd, //       b next
    0x5280_0143, // end:  mov w3, #10
    0x3822_6823, //       strb w3, [x1, x2]
    0x9100_0442, //       add x2, x2, #1
    0xd280_0020, //       mov x0, #1              ; standard output
    0xd280_0808, //       mov x8, #64             ; write
    0xd400_0001, //       svc #0
    0xeb02_001f, //       cmp x0, x2              ; all of it?
    0xd280_0000, //       mov x0, #0
    0x5400_0040, //       b.eq exit
    0xd280_0800, // fail: mov x0, #64
    0xd280_0ba8, // exit: mov x8, #93             ; exit
    0xd400_0001, //       svc #0
];

/// The executable for an architecture.
pub(super) fn executable(architecture: Architecture) -> Vec<u8> {
    // e_machine: EM_X86_64, EM_AARCH64
    match architecture {
        Architecture::Amd64 => elf(62, AMD64),
        Architecture::Arm64 => {
            let code: Vec<u8> = ARM64.iter().flat_map(|instruction| instruction.to_le_bytes()).collect();
            elf(183, &code)
        }
    }
}

fn elf(machine: u16, code: &[u8]) -> Vec<u8> {
    let size = HEADERS + code.len() as u64;
    let mut file = Vec::new();
    file.extend(b"\x7fELF");
    file.extend([2, 1, 1, 0]); // 64-bit, little endian, version 1, System V
    file.extend([0; 8]);
    file.extend(2_u16.to_le_bytes()); // ET_EXEC
    file.extend(machine.to_le_bytes());
    file.extend(1_u32.to_le_bytes());
    file.extend((BASE + HEADERS).to_le_bytes()); // entry
    file.extend(64_u64.to_le_bytes()); // program headers begin
    file.extend(0_u64.to_le_bytes()); // no sections
    file.extend(0_u32.to_le_bytes()); // flags
    file.extend([64_u16, 56, 1, 64, 0, 0].iter().flat_map(|field| field.to_le_bytes()));
    file.extend(1_u32.to_le_bytes()); // PT_LOAD
    file.extend(5_u32.to_le_bytes()); // readable and executable
    file.extend(0_u64.to_le_bytes()); // from the file's beginning
    file.extend(BASE.to_le_bytes()); // virtual address
    file.extend(BASE.to_le_bytes()); // physical address
    file.extend(size.to_le_bytes()); // in the file
    file.extend(size.to_le_bytes()); // in memory
    file.extend(0x1_0000_u64.to_le_bytes()); // aligned for pages of up to 64 KiB
    file.extend(code);
    file
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;
    use std::process::{Command, Output};

    use super::*;

    fn run(arguments: &[&str]) -> Output {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("probe");
        fs::write(&path, executable(Architecture::Amd64)).expect("written");
        fs::set_permissions(&path, Permissions::from_mode(0o755)).expect("a mode");
        Command::new("env").arg(&path).args(arguments).output().expect("env runs")
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn it_echoes_its_first_argument() {
        let output = run(&["some nonce", "more"]);
        assert_eq!((output.stdout.as_slice(), output.status.code()), (&b"some nonce\n"[..], Some(0)));
        assert_eq!(run(&[""]).stdout, b"\n");
        assert_eq!(run(&[]).status.code(), Some(64));
    }

    #[test]
    fn the_disassembler_reads_what_the_comments_say() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("probe");
        fs::write(&path, executable(Architecture::Arm64)).expect("written");
        let header = Command::new("readelf").arg("-hl").arg(&path).output().expect("binutils has readelf");
        let text = String::from_utf8_lossy(&header.stdout);
        assert!(text.contains("AArch64") && text.contains("EXEC") && header.stderr.is_empty(), "{text}");
        assert!(text.contains("0x400078"), "entry point: {text}");
    }

    /// Branches of the Arm code, computed from their encoding (Arm ARM, C6.2): imm19 and imm26 count
    /// instructions from the branch itself.
    #[test]
    fn the_arm_branches_reach_their_labels() {
        let relative = |index: usize| {
            let word = ARM64[index];
            let (bits, shift) = if word >> 26 == 0b000_101 { (26, 0) } else { (19, 5) };
            let field = (word >> shift) & ((1 << bits) - 1);
            let offset = i64::from(field) - if field >> (bits - 1) == 1 { 1 << bits } else { 0 };
            usize::try_from(i64::try_from(index).expect("small") + offset).expect("inside")
        };
        let (next, end, fail, exit) = (5, 9, 18, 19);
        assert_eq!([relative(2), relative(6), relative(8), relative(17)], [fail, end, next, exit]);
    }
}
