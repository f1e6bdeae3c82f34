// SPDX-License-Identifier: Apache-2.0
//! Boot sectors of our own: the smallest guest there is.
//!
//! The probe of the accelerator boots one, and so do the tests that need a machine and no image. Each
//! prints a text to the first serial port (16550 at 0x3f8) and then does one more thing. All of it is
//! 16-bit real mode code at 0x7c00, where the BIOS puts a boot sector, but for [`Then::Work`], which
//! goes on in 32-bit protected mode, because that is where translators and hypervisors differ.

use std::fs::File;
use std::io::{self, Write as _};

use camino::Utf8Path;

/// Where a BIOS loads a boot sector, and so where its code runs.
const ORIGIN: u16 = 0x7c00;
/// Length of a sector, and of the whole program.
const SECTOR: usize = 512;
/// How much text a sector takes: what is left by the longest code.
pub const MAX_TEXT: usize = 340;

/// What is printed when the work is done.
pub(crate) const DONE: u8 = b'E';
/// The status with which QEMU exits when the work is done: `isa-debug-exit` makes of a byte `n`
/// the status `(n << 1) | 1`.
pub(crate) const DONE_STATUS: i32 = (DONE_CODE as i32) << 1 | 1;
const DONE_CODE: u8 = 0x2a;
/// Where the probe puts QEMU's `isa-debug-exit` device.
pub(crate) const EXIT_PORT: u8 = 0xf4;

/// What a boot sector does once its text is out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// stays, and sleeps between two interrupts as an idle system does
    Halt,
    /// stops the processor for ever: it takes no interrupts
    Dead,
    /// writes to the disk from its second 32 KiB on, and does not end
    Fill,
    /// powers off through ACPI (QEMU's q35: PM1a control at 0x604)
    PowerOff,
    /// resets the machine through the keyboard controller, and so starts again
    Reset,
    /// runs a loop this many times in protected mode, prints `DONE`, and ends QEMU with
    /// `DONE_STATUS`
    Work(u32),
}

/// Length of a disk with a boot sector: SeaBIOS cannot read one that has not a whole cylinder.
const DISK: u64 = 2 << 20;
/// Length of one that is filled: no host that is short of room has as much.
const LARGE_DISK: u64 = 256 << 20;

/// Writes a disk whose boot sector prints a text and then does something: see `boot_sector`.
///
/// # Errors
/// The file cannot be written.
pub fn boot_disk(path: &Utf8Path, text: &str, then: Then) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(&boot_sector(text, then))?;
    file.set_len(if then == Then::Fill { LARGE_DISK } else { DISK })
}

/// A boot sector that prints a text and then does something.
///
/// Text beyond [`MAX_TEXT`] bytes, and whatever follows a NUL, is not printed.
pub(crate) fn boot_sector(text: &str, then: Then) -> [u8; SECTOR] {
    let code = then.code(ORIGIN + length_of_print());
    let text_at = ORIGIN + length_of_print() + u16::try_from(code.len()).unwrap_or(0);
    let text = &text.as_bytes()[..text.len().min(MAX_TEXT)];
    let program = [print(text_at).as_slice(), &code, text, &[0]].concat();
    let mut sector = [0; SECTOR];
    sector[..program.len()].copy_from_slice(&program);
    // The mark without which no BIOS boots a disk.
    sector[SECTOR - 2..].copy_from_slice(&[0x55, 0xaa]);
    sector
}

fn length_of_print() -> u16 {
    u16::try_from(print(0).len()).unwrap_or(0)
}

/// Prints the NUL-terminated text at an address and falls through.
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

impl Then {
    /// The code for it, to be run at an address.
    fn code(self, at: u16) -> Vec<u8> {
        #[rustfmt::skip]
        let mut code = match self {
            Self::Halt => vec![
                0xfb,               // sti
                0xf4,               // hlt
                0xeb, 0xfd,         // jmp to hlt
            ],
            Self::Dead => vec![],
            Self::Fill => fill(at),
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
        // hlt, and again should anything wake the processor: the same bytes in 16 and 32 bits.
        code.extend([0xf4, 0xeb, 0xfd]);
        code
    }
}

/// How much of the disk is written at a time, in sectors.
const PIECE: u8 = 64;

/// Writes the memory around it to the disk, piece after piece (INT 13h, function 43h, with its packet
/// of the BIOS Enhanced Disk Drive Specification, 1.1).
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

/// A loop over one word of memory in protected mode, then [`DONE`] and the end of QEMU.
fn work(at: u16, times: u32) -> Vec<u8> {
    let times = times.to_le_bytes();
    let mut code = enter(at);
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

/// Goes from real to protected mode with flat segments (Intel SDM, volume 3, 11.9).
fn enter(at: u16) -> Vec<u8> {
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
    fn every_sector_is_bootable_and_holds_its_text() {
        for then in [Then::Halt, Then::Dead, Then::Fill, Then::PowerOff, Then::Reset, Then::Work(1)] {
            let text = "x".repeat(MAX_TEXT + 100);
            let sector = boot_sector(&text, then);
            assert_eq!(&sector[510..], [0x55, 0xaa]);
            let printed = String::from_utf8_lossy(&sector).matches('x').count();
            assert_eq!(printed, MAX_TEXT, "{then:?}");
            assert_eq!(sector[509], 0, "the text ends before the mark");
        }
    }
}
