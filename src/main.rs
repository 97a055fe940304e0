// Only the unwinder's few functions are wanted of it, so a shared library need not be found and mapped at each start.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[link(name = "gcc_eh", kind = "static", modifiers = "-bundle")]
unsafe extern "C" {}

fn main() {
    std::process::exit(git_session::cli::main());
}
