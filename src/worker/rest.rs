//! Takes up less memory while nothing happens.

/// Gives back the pages of our own code and that of our libraries; what runs next is read from the page cache again.
///
/// A supervisor runs most of the program once and then sleeps for hours. Only mappings that are executable are given
/// back: they are never written to, so nothing is lost. Elsewhere than on Linux nothing happens.
pub fn give_back_code() {
    #[cfg(target_os = "linux")]
    {
        let Ok(maps) = std::fs::read_to_string("/proc/self/maps") else {
            return;
        };
        for (start, length) in maps.lines().filter_map(code) {
            // SAFETY: the range is one whole mapping of a file, private and not writable, that the kernel has just
            // named; its pages are the same when they are read again.
            let _ = unsafe {
                rustix::mm::madvise(
                    std::ptr::with_exposed_provenance_mut(start),
                    length,
                    rustix::mm::Advice::LinuxDontNeed,
                )
            };
        }
    }
}

/// Start and length of a line of `/proc/self/maps` that is executable, private, not writable, and of a file.
#[cfg(target_os = "linux")]
fn code(line: &str) -> Option<(usize, usize)> {
    let mut fields = line.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let is_code = fields.next()? == "r-xp" && fields.nth(3)?.starts_with('/');
    let (start, end) = (
        usize::from_str_radix(start, 16).ok()?,
        usize::from_str_radix(end, 16).ok()?,
    );
    is_code.then_some((start, end.checked_sub(start)?))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn only_code_of_files_is_given_back() {
        let line = "55e0-55f0 r-xp 00001000 fe:00 123   /usr/bin/thing with space";
        assert_eq!(code(line), Some((0x55e0, 0x10)));
        for line in [
            "55e0-55f0 r--p 00001000 fe:00 123   /usr/bin/thing",
            "55e0-55f0 rwxp 00001000 fe:00 123   /usr/bin/thing",
            "7ff0-7ff8 r-xp 00000000 00:00 0     [vdso]",
            "7ff0-7ff8 r-xp 00000000 00:00 0",
            "",
        ] {
            assert_eq!(code(line), None, "{line}");
        }
    }

    #[test]
    fn the_program_goes_on_after_it() {
        give_back_code();
        assert_eq!(format!("{}", 6 * 7), "42");
    }
}
