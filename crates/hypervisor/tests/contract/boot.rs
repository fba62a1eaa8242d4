//! Operating systems of one sector: enough to print, to obey the power button and to power off.

/// What every guest prints to its serial console when it boots.
pub const GREETING: &str = "Hanse boots";

/// What a guest does after it has printed its greeting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// Powers off when the ACPI power button is pressed.
    Obeys,
    /// Sleeps for ever.
    Ignores,
    /// Powers off by itself.
    PowersOff,
    /// Prints as fast as it can.
    Floods,
}

/// The boot sector, on a disk that is large enough for SeaBIOS to boot from.
pub fn disk(behaviour: Behaviour) -> Vec<u8> {
    let power_off: &[u8] = &[
        0xba, 0x04, 0x06, // mov dx, 0x604 (PM1a control of q35 under SeaBIOS)
        0xb8, 0x00, 0x20, // mov ax, 0x2000 (sleep enable, type S5)
        0xef, // out dx, ax
    ];
    let sleep: &[u8] = &[0xfa, 0xf4, 0xeb, 0xfd]; // cli; hlt; jmp to the hlt
    let wait_for_button: &[u8] = &[
        0xfb, // sti: the timer wakes us
        0xba, 0x02, 0x06, // mov dx, 0x602 (PM1a enable)
        0xb8, 0x00, 0x01, // mov ax, 0x100 (power button)
        0xef, // out dx, ax
        0xf4, // hlt
        0xba, 0x00, 0x06, // mov dx, 0x600 (PM1a status)
        0xed, // in ax, dx
        0xf6, 0xc4, 0x01, // test ah, 1 (power button)
        0x74, 0xf6, // jz to the hlt
    ];
    let flood: &[u8] = &[
        0xb0, b'x', // mov al, 'x'
        0xee, // out dx, al
        0xeb, 0xfd, // jmp to the out
    ];
    let rest = match behaviour {
        Behaviour::Obeys => [wait_for_button, power_off, sleep].concat(),
        Behaviour::Ignores => sleep.to_vec(),
        Behaviour::PowersOff => [power_off, sleep].concat(),
        Behaviour::Floods => flood.to_vec(),
    };
    let mut code = vec![
        0xfa, // cli
        0x31, 0xc0, // xor ax, ax
        0x8e, 0xd8, // mov ds, ax
        0xbe, 0, 0, // mov si, text
        0xba, 0xf8, 0x03, // mov dx, 0x3f8 (COM1)
        0xac, // lodsb
        0x84, 0xc0, // test al, al
        0x74, 0x03, // jz behind the loop
        0xee, // out dx, al
        0xeb, 0xf8, // jmp to the lodsb
    ];
    code.extend(rest);
    let text = u16::try_from(0x7c00 + code.len()).unwrap();
    code[6..8].copy_from_slice(&text.to_le_bytes());
    code.extend(GREETING.as_bytes());
    code.extend(b"\r\n\0");
    let mut disk = vec![0; 1 << 20];
    disk[..code.len()].copy_from_slice(&code);
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    disk
}
