// SPDX-License-Identifier: Apache-2.0
//! External programs that read foreign bytes, confined to the files that they need.
//!
//! Landlock confines them (landlock(7); Linux 5.19 or newer): it needs neither root nor a namespace,
//! and the kernels of Debian 12, Debian 13 and GitHub's runners have it. A private mount namespace
//! would also stop `chmod` and `chown` of existing files, which Landlock does not see, but hosts refuse
//! it to ordinary users and inside containers. On a kernel without Landlock the programs run
//! unconfined, with a warning: what they are given is checked before and afterwards in any case.
use std::process::{Command, Output, Stdio};
use std::sync::Once;
use std::thread;

use camino::Utf8Path;
use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible as _, Ruleset, RulesetAttr as _,
    RulesetCreated, RulesetCreatedAttr as _, RulesetError, RulesetStatus, Scope, path_beneath_rules,
};

use crate::{CommandError, CommandExt as _, MissingTool, Tool, children};

/// The first version that lets a program create hard links between directories.
const REQUIRED: ABI = ABI::V2;
/// The newest version whose rights are used where the kernel has them.
const NEWEST: ABI = ABI::V6;
/// Programs, their libraries, and the configuration of the dynamic linker.
const SYSTEM: [&str; 7] = ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc"];
/// What programs look up about the host.
const HOST: [&str; 2] = ["/proc", "/sys"];
/// Devices that programs expect to work.
const DEVICES: [&str; 3] = ["/dev/null", "/dev/zero", "/dev/urandom"];
/// Limits of a program: 2 GiB for each file that it writes (`ulimit -f` counts blocks of 512 bytes), and
/// ten minutes.
const LIMITS: &str = "ulimit -f 4194304; exec timeout 600 \"$@\"";

/// The files that a program may access, beside the programs and libraries of the system.
///
/// It may not use the network and may not signal other processes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Confinement<'a> {
    /// files and directories that it may read
    pub readable: &'a [&'a Utf8Path],
    /// directories in which it may do everything except execute programs
    pub writable: &'a [&'a Utf8Path],
    /// whether the program runs as root of a user namespace, unless it is root already
    pub as_root: bool,
}

impl Confinement<'_> {
    /// Returns a command for a program, which [`Confinement::run`] is to run.
    ///
    /// # Errors
    /// The host lacks the program, or one that limits or starts it.
    pub fn command(&self, name: &str) -> Result<Command, MissingTool> {
        let tool = Tool::find(name)?;
        let mut command = Tool::find("sh")?.command();
        command.args(["-c", LIMITS, "sh"]);
        if self.needs_namespace() {
            command.arg(Tool::find("unshare")?.path()).args(["--user", "--map-root-user"]);
        }
        command.arg(tool.path());
        Ok(command)
    }

    /// Runs a command to its end within these limits.
    ///
    /// # Errors
    /// As [`CommandExt::run_with`](crate::CommandExt::run_with); besides, the kernel refuses to confine it.
    pub fn run(&self, command: &mut Command, input: Stdio) -> Result<Output, CommandError> {
        let line = command.line();
        let fail = |reason: String| CommandError::Confine { command: line.clone(), reason };
        // A thread stays restricted for the rest of its life, as do the processes that it starts.
        let confined = || {
            if !self.restrict().map_err(|error| fail(error.to_string()))? {
                warn_once();
            }
            command.run_with(input)
        };
        children::watch();
        thread::scope(|scope| {
            let worker = scope.spawn(confined);
            worker.join().unwrap_or_else(|_| Err(fail("the thread that runs it panicked".to_owned())))
        })
    }

    fn needs_namespace(&self) -> bool {
        self.as_root && !rustix::process::geteuid().is_root()
    }

    /// Restricts the calling thread, and says whether the kernel can.
    fn restrict(&self) -> Result<bool, RulesetError> {
        let required = Ruleset::default()
            .set_compatibility(CompatLevel::HardRequirement)
            .handle_access(AccessFs::from_all(REQUIRED));
        let Ok(ruleset) = required else { return Ok(false) };
        let ruleset = ruleset
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(NEWEST))?
            .handle_access(AccessNet::from_all(NEWEST))?
            .scope(Scope::from_all(NEWEST))?
            .create()?;
        let look = AccessFs::ReadFile | AccessFs::ReadDir;
        let everything = AccessFs::from_all(NEWEST) & !AccessFs::Execute;
        let mut ruleset = allow(ruleset, &SYSTEM, look | AccessFs::Execute)?;
        ruleset = allow(ruleset, &HOST, look)?;
        ruleset = allow(ruleset, &DEVICES, AccessFs::ReadFile | AccessFs::WriteFile)?;
        if self.needs_namespace() {
            // unshare(1) writes its uid_map there. An ordinary user cannot change the host through it,
            // and Landlock denies the memory of processes outside.
            ruleset = allow(ruleset, &["/proc"], AccessFs::WriteFile.into())?;
        }
        ruleset = allow(ruleset, self.readable, look)?;
        ruleset = allow(ruleset, self.writable, everything)?;
        Ok(ruleset.restrict_self()?.ruleset != RulesetStatus::NotEnforced)
    }
}

/// Allows access to paths; those that do not exist are passed over.
fn allow(
    ruleset: RulesetCreated,
    paths: &[impl AsRef<std::path::Path>],
    access: BitFlags<AccessFs>,
) -> Result<RulesetCreated, RulesetError> {
    ruleset.add_rules(path_beneath_rules(paths, access))
}

fn warn_once() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        tracing::warn!("this kernel has no Landlock: programs that read images run unconfined");
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_confined_program_reaches_its_directory_and_nothing_else() {
        let scratch = tempfile::tempdir().expect("a directory");
        let directory = Utf8Path::from_path(scratch.path()).expect("UTF-8");
        let (inside, input) = (directory.join("inside"), directory.join("input"));
        std::fs::create_dir(&inside).expect("created");
        std::fs::create_dir(inside.join("below")).expect("created");
        std::fs::write(&input, "text").expect("written");
        std::fs::write(directory.join("secret"), "text").expect("written");
        for as_root in [false, true] {
            let confinement = Confinement { readable: &[&input], writable: &[&inside], as_root };
            let run = |script: &str| {
                let mut command = confinement.command("sh").expect("on the host");
                command.args(["-euc", script, "sh"]).arg(directory);
                confinement.run(&mut command, Stdio::null())
            };
            let allowed = "cat $1/input > $1/inside/copy; ln $1/inside/copy $1/inside/below/link; \
                           mkfifo $1/inside/pipe; rm -r $1/inside/*; mkdir $1/inside/below";
            run(allowed).unwrap_or_else(|error| panic!("{error}"));
            for denied in [
                "echo x > $1/new",
                "echo x >> $1/secret",
                "cat $1/secret",
                "mkdir $1/directory",
                "ln -s x $1/link",
                "ln $1/input $1/inside/input",
                "mv $1/inside/below $1/below",
                "rm $1/secret",
                "cp /bin/true $1/inside/true; $1/inside/true",
                "ln -sf $1/new $1/inside/link; echo x > $1/inside/link",
            ] {
                assert!(run(denied).is_err(), "{denied}");
            }
        }
        assert_eq!(std::fs::read_dir(directory).expect("listed").count(), 3);
    }

    #[test]
    fn a_confined_program_cannot_write_a_file_of_more_than_two_gib() {
        let scratch = tempfile::tempdir().expect("a directory");
        let inside = Utf8Path::from_path(scratch.path()).expect("UTF-8");
        let confinement = Confinement { readable: &[], writable: &[inside], as_root: false };
        let seek = |position: &str| {
            let mut command = confinement.command("dd").expect("on the host");
            command.args(["if=/dev/zero", &format!("of={inside}/file"), "bs=1", "count=1", position]);
            confinement.run(&mut command, Stdio::null())
        };
        seek("seek=2147483647").unwrap_or_else(|error| panic!("{error}"));
        seek("seek=2147483648").expect_err("too large");
    }

    #[test]
    fn only_the_confined_program_is_restricted() {
        let confinement = Confinement::default();
        let mut command = confinement.command("true").expect("on the host");
        confinement.run(&mut command, Stdio::null()).expect("it runs");
        let scratch = tempfile::tempdir().expect("this thread still writes");
        std::fs::write(scratch.path().join("file"), "x").expect("written");
    }
}
