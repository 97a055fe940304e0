#![cfg_attr(all(target_os = "linux", target_env = "gnu"), no_main)]

/// The program begins where C programs do on glibc, which also gives the arguments to the standard library: what
/// Rust's own start does besides, to tell of a stack that overflows, takes a tenth of the time of a short command.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod glibc {
    // Only the unwinder's few functions are wanted of it, so a shared library need not be found and mapped at each start.
    #[link(name = "gcc_eh", kind = "static", modifiers = "-bundle")]
    unsafe extern "C" {}

    // SAFETY: no other symbol of the program has this name.
    #[unsafe(no_mangle)]
    extern "C" fn main(_count: libc::c_int, _arguments: *const *const libc::c_char) -> libc::c_int {
        open_standard_streams();
        // SAFETY: nothing else runs yet, and no handler is set.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
        std::process::exit(git_session::cli::main());
    }

    /// Whoever closed one of these must not have what we print written to a file that we open, nor have it so in a child.
    fn open_standard_streams() {
        for number in 0..3 {
            // SAFETY: the calls take a number and a constant name; what is opened gets the lowest number that is free.
            unsafe {
                if libc::fcntl(number, libc::F_GETFD) == -1 {
                    libc::open(c"/dev/null".as_ptr(), libc::O_RDWR);
                }
            }
        }
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn main() {
    std::process::exit(git_session::cli::main());
}
