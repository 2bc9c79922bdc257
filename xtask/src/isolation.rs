//! Runs browser suites in a namespace that has only the loopback interface, where the system allows it: nothing
//! can leave the machine, fixed ports never clash with another run, WebRTC can only use 127.0.0.1, and every
//! process ends with the suite.

use std::{env, path::Path, time::Duration};

use anyhow::{Context, Result};

use crate::process::Task;

/// Brings the loopback interface up, gives it the address that comes first, and runs the command. The shell stays, as
/// process 1 of the namespace: it reaps what others leave behind, which this tool would not.
const SCRIPT: &str = "PATH=$PATH:/usr/sbin:/sbin; ip link set lo up || exit 1; address=$1; shift; \
                      [ -z \"$address\" ] || ip address add \"$address\" dev lo || exit 1; \"$@\"; exit $?";

/// This tool again, in a namespace if one can be had, whose loopback interface has this address beside its own. The second
/// value says whether.
pub(crate) fn this_tool(address: Option<&str>) -> Result<(Task, bool)> {
    let exe = env::current_exe().context("cannot tell where this program is")?;
    Ok(program(&exe, address))
}

/// Another program in the same way.
pub(crate) fn program(program: &Path, address: Option<&str>) -> (Task, bool) {
    match namespace(address) {
        Some(unshare) => (unshare.arg(program), true),
        None => (Task::new(program), false),
    }
}

/// Whether namespaces can be had.
pub(crate) fn possible() -> bool {
    namespace(None).is_some()
}

fn namespace(address: Option<&str>) -> Option<Task> {
    if !cfg!(target_os = "linux") {
        return None;
    }
    // As root; else as a user who may make user namespaces.
    [&[] as &[&str], &["--map-root-user"]].into_iter().find_map(|extra| {
        let unshare = Task::new("unshare")
            .args(["--net", "--pid", "--fork", "--kill-child", "--mount-proc"])
            .args(extra)
            .args(["sh", "-c", SCRIPT, "isolated", address.unwrap_or_default()]);
        let works = unshare.clone().arg("true").deadline(Duration::from_secs(10)).read().is_ok();
        works.then_some(unshare)
    })
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    /// Where namespaces can't be had there is nothing to check, and the suites run on the host.
    #[test]
    fn only_the_loopback_interface_is_there_and_the_exit_code_comes_back() {
        let Some(unshare) = namespace(None) else { return };
        let interfaces = unshare.clone().args(["sh", "-c", "tail -n +3 /proc/net/dev"]).read().unwrap();
        let names: Vec<&str> = interfaces.lines().filter_map(|line| line.split(':').next()).collect();
        assert!(names.iter().any(|name| name.trim() == "lo"), "{interfaces}");
        assert!(!names.iter().any(|name| name.trim().starts_with("e")), "{interfaces}");
        let addressed = namespace(Some("10.77.0.1/32")).unwrap();
        let addresses = addressed.args(["sh", "-c", "cat /proc/net/fib_trie"]).read().unwrap();
        assert!(addresses.contains("10.77.0.1"), "{addresses}");
        let failed = unshare.args(["sh", "-c", "exit 7"]).read().unwrap_err();
        assert!(failed.to_string().contains("exit status: 7"), "{failed}");
    }
}
