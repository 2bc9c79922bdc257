//! redis-server, for the proxy's tests with several instances.

use anyhow::Result;

use super::{apt, apt_install};
use crate::process::on_path;

/// Makes sure that it is there. `Ok(Some(reason))` where it is not and can't be installed.
pub(crate) fn find_or_install() -> Result<Option<String>> {
    if on_path(&["redis-server"]).is_some() {
        return Ok(None);
    }
    let Some(apt) = apt() else {
        return Ok(Some("redis-server not found, and it can't be installed here".to_owned()));
    };
    apt_install(&apt, &["redis-server"])?;
    let still = on_path(&["redis-server"]).is_none();
    Ok(still.then(|| "redis-server not found although apt-get installed it".to_owned()))
}
