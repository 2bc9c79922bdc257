//! The telephone network of `test stack`: Kamailio, rtpengine and baresip, which Debian and its kin package.

use std::path::PathBuf;

use anyhow::Result;

use super::{apt, apt_install};
use crate::process::{self, find_in};

/// The packages that hold the programs.
const PACKAGES: [&str; 4] = ["kamailio", "kamailio-websocket-modules", "rtpengine-daemon", "baresip-core"];

/// A program of each package; the WebSocket module is looked for by the tests themselves.
const PROGRAMS: [&str; 3] = ["kamailio", "rtpengine", "baresip"];

/// Makes sure that the programs are there. `Ok(Some(reason))` where they are not and can't be installed.
pub(crate) fn find_or_install() -> Result<Option<String>> {
    if missing().is_empty() {
        return Ok(None);
    }
    let Some(apt) = apt() else {
        return Ok(Some(format!(
            "{} not found, and only apt-get, run as root or by a sudo that asks nothing, can install \
             them here: on Debian, `apt-get install --no-install-recommends {}`",
            missing().join(", "),
            PACKAGES.join(" ")
        )));
    };
    apt_install(&apt, &PACKAGES)?;
    let still = missing();
    Ok((!still.is_empty()).then(|| format!("{} not found although apt-get installed them", still.join(", "))))
}

/// Where to look for daemons: an ordinary user's PATH doesn't have their directories.
pub(crate) fn path() -> Vec<PathBuf> {
    let mut path = process::path();
    path.extend(["/usr/sbin".into(), "/sbin".into()]);
    path
}

fn missing() -> Vec<&'static str> {
    let path = path();
    PROGRAMS.into_iter().filter(|program| find_in(&path, program).is_none()).collect()
}
