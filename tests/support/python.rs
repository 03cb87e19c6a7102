//! A Python with packages of a pinned version.

use crate::support::text;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A Python that has psycopg as `package` says; makes a virtual environment called `name` in `target/` where there is none. `None`: the package registry can't be reached.
pub fn python(name: &str, package: &str) -> Option<PathBuf> {
    let venv = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let python = venv.join("bin/python");
    let has_it = |python: &Path| {
        Command::new(python)
            .args(["-c", "import psycopg"])
            .output()
            .is_ok_and(|out| out.status.success())
    };
    if has_it(&python) {
        return Some(python);
    }
    let made = Command::new("python3").args(["-m", "venv"]).arg(&venv).output();
    let installed = made.is_ok_and(|out| out.status.success())
        && Command::new(&python)
            .args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                package,
            ])
            .output()
            .inspect(|out| eprint!("{}", text(out)))
            .is_ok_and(|out| out.status.success());
    (installed && has_it(&python)).then_some(python)
}
