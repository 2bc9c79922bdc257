//! Asterisk of `test asterisk`. Debian's stable release has none, so that of its development branch is unpacked into the
//! cache, with the libraries and the dynamic linker of that branch: nothing is installed.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, anyhow};

use super::Lock;
use crate::{
    process::{Task, on_path, tail},
    workspace::{self, fingerprint},
};

/// What is wanted, of this release.
const PACKAGES: [&str; 4] =
    ["asterisk", "asterisk-modules", "asterisk-core-sounds-en-gsm", "asterisk-moh-opsound-gsm"];
const RELEASE: &str = "sid";
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// How the names of packages begin that are left out, though the wanted ones depend on them: libraries of modules that no
/// test loads, and what only the scripts of an installation call.
#[rustfmt::skip]
const LEFT_OUT: &[&str] = &[
    "adduser", "asterisk-config", "base-passwd", "debconf", "dirmngr", "freetds", "gnupg", "gpg", "libacl",
    "libasound", "libassuan", "libatomic", "libaudit", "libb64", "libblkid", "libbrotli", "libbz2", "libc-gconv",
    "libcap-ng", "libcodec2", "libcom-err", "libcurl", "libdb5", "libdebconf", "libevent", "libffi", "libgcrypt",
    "libgdbm", "libglib", "libgmime", "libgmp", "libgnutls", "libgpg", "libgssapi", "libhogweed", "libical",
    "libicu", "libidn", "libiksemel", "libjack", "libjwt", "libk5", "libkeyutils", "libkrb5", "libksba", "libldap",
    "libltdl", "liblua", "libmount", "libncurses", "libneon", "libnettle", "libnghttp", "libngtcp", "libnl",
    "libnpth", "libntlm", "libodbc", "libogg", "libopencore", "libopusenc", "libopusfile", "libp11", "libpam",
    "libpci", "libpcre", "libperl", "libportaudio", "libpq", "libpsl", "libradcli", "libreadline", "libresample",
    "libsamplerate", "libsasl", "libse", "libsensors", "libsnmp", "libspeex", "libssh2", "libsybdb", "libtasn",
    "libudev", "libunbound", "libunistring", "libvo-", "libvorbis", "libwrap", "login", "openssl-provider",
    "passwd", "pci", "perl", "pinentry", "readline", "snmp", "tzdata",
];

/// The folder that holds its `usr`, or the reason why it can't be had.
pub(crate) fn find_or_install() -> Result<Result<PathBuf, String>> {
    let cache = workspace::cache()?;
    let parts: Vec<&[u8]> = PACKAGES.iter().chain(LEFT_OUT).map(|name| name.as_bytes()).collect();
    let home = cache.join(format!("asterisk-{RELEASE}-{}", fingerprint(&parts)));
    let root = home.join("root");
    // Written last: a folder that was left half filled does not count.
    let complete = home.join("complete");
    if complete.is_file() {
        return Ok(Ok(root));
    }
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return Ok(Err("Asterisk is fetched for Linux on x86-64 only".to_owned()));
    }
    if on_path(&["apt-get"]).is_none() || on_path(&["dpkg-deb"]).is_none() || !Path::new(KEYRING).is_file() {
        return Ok(Err("Asterisk is fetched by the apt-get of a Debian only".to_owned()));
    }
    let _lock = Lock::acquire(&cache)?;
    if complete.is_file() {
        return Ok(Ok(root));
    }
    if let Err(error) = fetch(&home, &root) {
        eprintln!("{error:#}");
        let message = format!("{error:#}");
        let reason = message.lines().next().unwrap_or_default();
        return Ok(Err(format!("Asterisk could not be fetched: {reason}")));
    }
    fs::write(&complete, "").with_context(|| format!("cannot write {}", complete.display()))?;
    Ok(Ok(root))
}

fn fetch(home: &Path, root: &Path) -> Result<()> {
    if home.exists() {
        fs::remove_dir_all(home).with_context(|| format!("cannot remove {}", home.display()))?;
    }
    let apt = home.join("apt");
    let archives = apt.join("archives");
    for dir in [&apt.join("lists/partial"), &archives.join("partial"), root] {
        fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    }
    // As if nothing were installed: the libraries of this machine are older than those it was built with.
    fs::write(apt.join("status"), "")?;
    let sources = apt.join("sources.list");
    fs::write(&sources, format!("deb [signed-by={KEYRING}] {} {RELEASE} main\n", mirror()?))?;
    let setting = |name: &str, value: &Path| format!("-o{name}={}", value.display());
    let apt_get = Task::new("apt-get")
        .args([
            "-q",
            "-oDir::Etc::SourceParts=/dev/null",
            "-oAPT::Sandbox::User=root",
            "-oAcquire::Languages=none",
            "-oAcquire::IndexTargets::deb::DEP-11::DefaultEnabled=false",
        ])
        .args([
            setting("Dir::Etc::SourceList", &sources),
            setting("Dir::State::Lists", &apt.join("lists")),
            setting("Dir::State::status", &apt.join("status")),
            setting("Dir::Cache", &apt),
            setting("Dir::Cache::archives", &archives),
        ])
        .dir(&archives);
    apt_get
        .clone()
        .args(["--error-on=any", "update"])
        .step("apt-get update (Debian's index, once per machine)")?;
    let said = apt_get.clone().args(["-s", "install", "--no-install-recommends"]).args(PACKAGES).read()?;
    let packages = needed(&said);
    apt_get.arg("download").args(&packages).step(&format!("{} packages of Asterisk", packages.len()))?;
    unpack(&archives, root)?;
    fs::remove_dir_all(&apt).with_context(|| format!("cannot remove {}", apt.display()))
}

/// The mirror from which this machine takes its own packages.
fn mirror() -> Result<String> {
    let said = Task::new("apt-get")
        .args(["indextargets", "--format", "$(SITE)", "Created-By: Packages"])
        .deadline(Duration::from_secs(60))
        .read()?;
    let site = said.lines().find(|line| line.starts_with("http") && !line.contains("security"));
    site.map(str::to_owned).ok_or_else(|| anyhow!("apt-get names no mirror: {}", tail(&said, 1)))
}

/// The packages of a simulated installation that are fetched.
fn needed(simulated: &str) -> Vec<&str> {
    let names = simulated.lines().filter_map(|line| line.strip_prefix("Inst ")?.split(' ').next());
    names.filter(|name| !LEFT_OUT.iter().any(|start| name.starts_with(start))).collect()
}

fn unpack(archives: &Path, root: &Path) -> Result<()> {
    let usr = root.join("usr");
    for name in ["bin", "sbin", "lib", "lib64"] {
        fs::create_dir_all(usr.join(name))?;
    }
    let pipe = "dpkg-deb --fsys-tarfile \"$1\" | tar -x -C \"$2\" --no-same-owner --exclude=./usr/share/doc \
                --exclude=./usr/share/locale --exclude=./usr/share/man --exclude=./lib --exclude=./lib64";
    for entry in fs::read_dir(archives)? {
        let file = entry?.path();
        if file.extension().is_some_and(|end| end == "deb") {
            Task::new("sh").args(["-e", "-c", pipe, "unpack"]).arg(&file).arg(root).read()?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_test_loads_is_not_fetched() {
        let said = "Reading package lists...\nInst libc6 (2.42-1 Debian:unstable [amd64])\nInst perl-base (5.40 x)\n\
                    Inst asterisk (1:22.10 Debian:unstable [amd64])\nConf asterisk (1:22.10)\n";
        assert_eq!(needed(said), ["libc6", "asterisk"]);
    }
}
