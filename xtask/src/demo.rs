//! `cargo xtask demo`: from a fresh checkout to a working phone.

use std::{
    io::{IsTerminal, stdout},
    net::{Ipv4Addr, TcpListener},
};

use anyhow::{Result, bail};

use crate::{
    package,
    sandbox::{self, Sandbox},
    setup,
};

/// Builds what is out of date, starts the sandbox and says where the phone is; ends with Ctrl-C.
pub(crate) fn run(port: u16, open_page: bool) -> Result<()> {
    if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_err() {
        bail!("port {port} is taken; choose another: `cargo xtask demo --port {}`", port.saturating_add(1));
    }
    package::build()?;
    sandbox::build()?;
    let sandbox = Sandbox::start_in_sight(port)?;
    let url = sandbox::url(port);
    println!("\nThe phone is at {url}/ - two tabs can call each other, 600 is an echo;");
    println!("with an account of 46elks (simulated), +46700000001 is one. Ctrl-C ends it.\n");
    if open_page && stdout().is_terminal() && !setup::on_ci() {
        // The address is printed above, so a machine without a browser loses nothing.
        drop(open::that_detached(&url));
    }
    sandbox.wait()
}
