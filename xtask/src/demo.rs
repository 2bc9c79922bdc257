//! `cargo xtask demo`: from a fresh checkout to a working phone.

use std::{
    env,
    io::{IsTerminal, stdout},
    net::{Ipv4Addr, TcpListener},
    thread,
};

use anyhow::{Context, Result, bail};

use crate::{
    package,
    process::{Task, on_path},
    sandbox::{self, Sandbox},
    setup, workspace,
};

/// Builds what is out of date, starts the sandbox and says where the phone is; ends with Ctrl-C.
pub(crate) fn run(port: u16, open_page: bool) -> Result<()> {
    if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_err() {
        bail!("port {port} is taken; choose another: `cargo xtask demo --port {}`", port.saturating_add(1));
    }
    println!("1 of 2: the phone, as WebAssembly (the first time about a minute)");
    let (package, current) = package::for_the_demo()?;
    println!("2 of 2: the sandbox, a telephone network in one process (the first time some minutes)");
    sandbox::build_in_sight()?;
    let sandbox = Sandbox::start_in_sight(port, &package)?;
    let url = sandbox::url(port);
    println!("\nThe phone is at {url}/ - two tabs can call each other, 600 is an echo;");
    println!("with an account of 46elks (simulated), +46700000001 is one. Ctrl-C ends it.\n");
    if !current {
        build_behind()?;
    }
    if open_page && stdout().is_terminal() && !setup::on_ci() {
        // The address is printed above, so a machine without a browser loses nothing.
        drop(open::that_detached(&url));
    }
    sandbox.wait()
}

/// Builds `pkg/` while the page is used, with what its calls leave of the machine.
fn build_behind() -> Result<()> {
    let log = workspace::scratch()?.join("build.log");
    let this = env::current_exe().context("cannot tell where this program is")?;
    let task = match on_path(&["nice"]) {
        Some(nice) => Task::new(nice).args(["-n", "19"]).arg(this),
        None => Task::new(this),
    };
    println!(
        "This page has a quick build of the package. pkg/, as it is published, is built behind it in some minutes.\n"
    );
    let mut build = task.arg("build").start_logged(&log)?;
    thread::spawn(move || match build.wait() {
        Ok(status) if status.success() => println!("pkg/ is built: the next `cargo xtask demo` has it."),
        Ok(status) => eprintln!("pkg/ was not built ({status}): see {}", log.display()),
        Err(error) => eprintln!("pkg/ was not built: {error:#}"),
    });
    Ok(())
}
