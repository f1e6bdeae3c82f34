// SPDX-License-Identifier: Apache-2.0
//! Boot sectors for guests without an operating system.
//!
//! The accelerator's probe boots one, and so do tests that need a machine and no image. Each prints a text
//! to the first serial port (16550 at 0x3f8) and then performs one [`BootAction`]. It is 16-bit real-mode
//! code at 0x7c00, where the BIOS loads a boot sector, except for [`BootAction::Work`], which switches to
//! 32-bit protected mode, where accelerators differ.
use std::io::Write as _;

use camino::Utf8Path;
use loadgauge_host::{FileError, fs};

/// The address at which a BIOS loads a boot sector.
const ORIGIN: u16 = 0x7c00;
/// The length of a sector, and of the whole program.
const SECTOR: usize = 512;
/// The longest text that fits beside the longest code.
pub const MAX_TEXT: usize = 340;

/// The byte that is printed when the work is done.
pub(crate) const DONE: u8 = b'E';
/// QEMU's exit status when the work is done: `isa-debug-exit` turns a byte `n` into the status
/// `(n << 1) | 1`.
pub(crate) const DONE_STATUS: i32 = (DONE_CODE as i32) << 1 | 1;
const DONE_CODE: u8 = 0x2a;
/// The I/O port of the `isa-debug-exit` device.
pub(crate) const EXIT_PORT: u8 = 0xf4;

/// What a boot sector does after it has printed its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BootAction {
    /// halts between interrupts like an idle system
    Idle,
    /// halts the processor forever, with interrupts off
    Halt,
    /// writes to the disk forever, from its second 32 KiB on
    FillDisk,
    /// powers off through ACPI (QEMU's q35: PM1a control at 0x604)
    PowerOff,
    /// resets the machine through the keyboard controller, and so boots again
    Reset,
    /// runs a loop this many times in protected mode, prints `DONE`, and makes QEMU exit with
    /// `DONE_STATUS`
    Work(u32),
}

/// The length of a disk: SeaBIOS reads only disks of at least one cylinder.
const DISK: u64 = 2 << 20;
/// The length of a disk that is filled: more than a full file system has free.
const LARGE_DISK: u64 = 256 << 20;

/// Writes a disk image with a boot sector that prints a text and performs an action.
///
/// # Errors
/// The file cannot be written.
pub fn boot_disk(path: &Utf8Path, text: &str, action: BootAction) -> Result<(), FileError> {
    let mut file = fs::create(path)?;
    let length = if action == BootAction::FillDisk { LARGE_DISK } else { DISK };
    file.write_all(&boot_sector(text, action))
        .and_then(|()| file.set_len(length))
        .map_err(FileError::at("write", path))
}

/// A boot sector that prints a text and performs an action. Text beyond [`MAX_TEXT`] bytes or after a NUL
/// is not printed.
pub(crate) fn boot_sector(text: &str, action: BootAction) -> [u8; SECTOR] {
    let code = action.code(ORIGIN + length_of_print());
    let text_at = ORIGIN + length_of_print() + u16::try_from(code.len()).unwrap_or(0);
    let text = &text.as_bytes()[..text.len().min(MAX_TEXT)];
    let program = [print(text_at).as_slice(), &code, text, &[0]].concat();
    let mut sector = [0; SECTOR];
    sector[..program.len()].copy_from_slice(&program);
    // The signature of a boot sector.
    sector[SECTOR - 2..].copy_from_slice(&[0x55, 0xaa]);
    sector
}

fn length_of_print() -> u16 {
    u16::try_from(print(0).len()).unwrap_or(0)
}

/// Prints the NUL-terminated text at an address.
fn print(text_at: u16) -> Vec<u8> {
    let [low, high] = text_at.to_le_bytes();
    #[rustfmt::skip]
    let code = vec![
        0xfa,                   // cli
        0x31, 0xc0,             // xor ax, ax
        0x8e, 0xd8,             // mov ds, ax
        0x8e, 0xd0,             // mov ss, ax
        0xbc, 0x00, 0x7c,       // mov sp, 0x7c00
        0xbe, low, high,        // mov si, text
        0xac,                   // next: lodsb
        0x84, 0xc0,             // test al, al
        0x74, 0x11,             // jz done
        0x88, 0xc4,             // mov ah, al
        0xba, 0xfd, 0x03,       // mov dx, 0x3fd        line status
        0xec,                   // wait: in al, dx
        0xa8, 0x20,             // test al, 0x20        transmitter empty?
        0x74, 0xfb,             // jz wait
        0xb2, 0xf8,             // mov dl, 0xf8         data, 0x3f8
        0x88, 0xe0,             // mov al, ah
        0xee,                   // out dx, al
        0xeb, 0xea,             // jmp next
                                // done:
    ];
    code
}

impl BootAction {
    /// The code of the action, for an address.
    fn code(self, at: u16) -> Vec<u8> {
        #[rustfmt::skip]
        let mut code = match self {
            Self::Idle => vec![
                0xfb,               // sti
                0xf4,               // hlt
                0xeb, 0xfd,         // jmp to hlt
            ],
            Self::Halt => vec![],
            Self::FillDisk => fill(at),
            Self::PowerOff => vec![
                0xba, 0x04, 0x06,   // mov dx, 0x604
                0xb8, 0x00, 0x20,   // mov ax, 0x2000   SLP_EN, sleep type 0
                0xef,               // out dx, ax
            ],
            Self::Reset => vec![
                0xb0, 0xfe,         // mov al, 0xfe     pulse the reset line
                0xe6, 0x64,         // out 0x64, al
            ],
            Self::Work(times) => work(at, times),
        };
        // hlt, and again if anything wakes the processor: the same bytes in 16 and 32 bits.
        code.extend([0xf4, 0xeb, 0xfd]);
        code
    }
}

/// The number of sectors in one write.
const PIECE: u8 = 64;

/// Writes memory to consecutive sectors of the disk (INT 13h, function 43h, with the packet of the BIOS
/// Enhanced Disk Drive Specification 1.1).
fn fill(at: u16) -> Vec<u8> {
    let [packet_low, packet_high] = (at + 2).to_le_bytes();
    #[rustfmt::skip]
    let code = vec![
        0xeb, 16,                                   // jmp over the packet
        16, 0, PIECE, 0, 0x00, 0x7c, 0, 0,          // length, 0, sectors, buffer at 0:0x7c00
        PIECE, 0, 0, 0, 0, 0, 0, 0,                 // first sector
        0xfb,                                       // over: sti
        0xbe, packet_low, packet_high,              // again: mov si, packet
        0xb8, 0x00, 0x43,                           // mov ax, 0x4300   write
        0xb2, 0x80,                                 // mov dl, 0x80     the first disk
        0xcd, 0x13,                                 // int 0x13
        0x83, 0x44, 0x08, PIECE,                    // add word [si+8], PIECE
        0x83, 0x54, 0x0a, 0x00,                     // adc word [si+10], 0
        0xeb, 0xec,                                 // jmp again
    ];
    code
}

/// Loops over a word of memory in protected mode, prints [`DONE`], and makes QEMU exit.
fn work(at: u16, times: u32) -> Vec<u8> {
    let times = times.to_le_bytes();
    let mut code = enter_protected_mode(at);
    #[rustfmt::skip]
    code.extend([
        0x66, 0xb8, 0x10, 0x00,                     // mov ax, 0x10
        0x8e, 0xd8,                                 // mov ds, ax
        0xb9, times[0], times[1], times[2], times[3], // mov ecx, times
        0xbe, 0x00, 0x80, 0x00, 0x00,               // mov esi, 0x8000
        0x8b, 0x06,                                 // loop: mov eax, [esi]
        0x69, 0xc0, 0x0d, 0x66, 0x19, 0x00,         // imul eax, eax, 1664525
        0x05, 0x5f, 0xf3, 0x6e, 0x3c,               // add eax, 1013904223
        0x89, 0x06,                                 // mov [esi], eax
        0x49,                                       // dec ecx
        0x75, 0xee,                                 // jnz loop
        0x66, 0xba, 0xf8, 0x03,                     // mov dx, 0x3f8
        0xb0, DONE,                                 // mov al, DONE
        0xee,                                       // out dx, al
        0xb0, DONE_CODE,                            // mov al, DONE_CODE
        0xe6, EXIT_PORT,                            // out EXIT_PORT, al
    ]);
    code
}

/// Switches from real to protected mode with flat segments (Intel SDM, volume 3, 11.9).
fn enter_protected_mode(at: u16) -> Vec<u8> {
    let table = at + 2;
    let [table_low, table_high] = table.to_le_bytes();
    let [pointer_low, pointer_high] = (table + 24).to_le_bytes();
    let [next_low, next_high] = (table + 30 + 18).to_le_bytes();
    #[rustfmt::skip]
    let code = vec![
        0xeb, 30,                                   // jmp over the table
        0, 0, 0, 0, 0, 0, 0, 0,                     // the null descriptor
        0xff, 0xff, 0, 0, 0, 0x9a, 0xcf, 0,         // 0x08: code, 0 to 4 GiB, 32 bits
        0xff, 0xff, 0, 0, 0, 0x92, 0xcf, 0,         // 0x10: data, 0 to 4 GiB, 32 bits
        23, 0, table_low, table_high, 0, 0,         // pointer: limit, base
        0x0f, 0x01, 0x16, pointer_low, pointer_high, // over: lgdt [pointer]
        0x0f, 0x20, 0xc0,                           // mov eax, cr0
        0x0c, 0x01,                                 // or al, 1             protection enable
        0x0f, 0x22, 0xc0,                           // mov cr0, eax
        0xea, next_low, next_high, 0x08, 0x00,      // jmp 0x08:next
                                                    // next:
    ];
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sector_is_bootable_and_contains_its_text() {
        let all = {
            use BootAction::{FillDisk, Halt, Idle, PowerOff, Reset, Work};
            [Idle, Halt, FillDisk, PowerOff, Reset, Work(1)]
        };
        for action in all {
            let text = "x".repeat(MAX_TEXT + 100);
            let sector = boot_sector(&text, action);
            assert_eq!(&sector[510..], [0x55, 0xaa]);
            let printed = String::from_utf8_lossy(&sector).matches('x').count();
            assert_eq!(printed, MAX_TEXT, "{action:?}");
            assert_eq!(sector[509], 0, "the text ends before the signature");
        }
    }
}
