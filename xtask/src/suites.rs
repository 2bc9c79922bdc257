//! `cargo xtask test`: the suites, each runnable alone.

use std::{
    ffi::OsStr,
    fs, iter,
    path::{Path, PathBuf},
    sync::LazyLock,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail};
use clap::{ValueEnum, builder::PossibleValue};

use crate::{
    fuzz, house, isolation, lanes, logs, package,
    process::{self, Outcome, Task, tail},
    report::{self, Counts, Finished},
    sandbox::{self, Sandbox},
    setup::{self, Browser, browser, cargo_tools, node, telephony},
    size, snippets, workspace,
};

/// CI ends a run after 90 minutes without a word, so on CI ours ends before that, with one.
const CI_LIMIT: Duration = Duration::from_secs(80 * 60);

/// When even installing or compiling hangs.
const CI_LAST_RESORT: Duration = Duration::from_secs(85 * 60);

/// What can be tested, in the order in which everything is: quick answers first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Suite {
    /// rustfmt, clippy for the host and for wasm, rustdoc, no warning passes; the figures and floors of `house`
    Lint,
    /// cargo-deny: licences, sources, bans, and known vulnerabilities where their list can be fetched
    Deny,
    /// Unit, simulation and sandbox tests, on this machine
    Unit,
    /// libFuzzer on every target of fuzz/, after what its corpus holds; some seconds each
    Fuzz,
    /// The shipped index.d.ts, by tsc --strict, with what must and what must not compile
    Types,
    /// The download against its budget
    Size,
    /// In a real browser: the portable tests once more, as wasm, then the browser half and the JavaScript API against
    /// the sandbox
    Web,
    /// The demo page and the release build: two pages call each other
    E2e,
    /// The tarball of the package in every host that web developers bundle, serve and test with; the newest version of each,
    /// with --every-version the older ones too
    Hosts,
    /// The call proxy: its own tests with a real redis-server and crashes at every step, then schemathesis on its
    /// OpenAPI description
    Proxy,
    /// Kamailio, rtpengine and baresip: servers and a telephone that nobody here wrote
    Stack,
    /// JsSIP, SIP.js and baresip as the other end of a call; writes docs/interop.md
    Interop,
    /// Asterisk as the PBX of a page: everything that it does with a telephone; writes its part of docs/interop.md
    Asterisk,
    /// Servers, connections and paths of media that go away in a call, for this package, JsSIP and SIP.js; measures
    Outages,
}

/// What a user can ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Choice {
    /// What finds most in little time, for use while one works.
    Quick,
    One(Suite),
}

/// The suites of [`Choice::Quick`].
const QUICK: [Suite; 4] = [Suite::Lint, Suite::Unit, Suite::Types, Suite::Web];

impl ValueEnum for Choice {
    fn value_variants<'a>() -> &'a [Self] {
        static ALL: LazyLock<Vec<Choice>> = LazyLock::new(|| {
            let suites = Suite::value_variants().iter().map(|suite| Choice::One(*suite));
            iter::once(Choice::Quick).chain(suites).collect()
        });
        &ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        match self {
            Self::Quick => Some(
                PossibleValue::new("quick")
                    .help("lint, unit, types, and of web the JavaScript API: for use while one works"),
            ),
            Self::One(suite) => suite.to_possible_value(),
        }
    }
}

impl Choice {
    /// The suites of these choices, each once and in their order, and whether each in its short form.
    fn suites(choices: &[Self]) -> (Vec<Suite>, bool) {
        let named = |suite: &Suite| choices.contains(&Self::One(*suite));
        let quick = choices.contains(&Self::Quick);
        let wanted = |suite: &&Suite| choices.is_empty() || named(suite) || (quick && QUICK.contains(suite));
        let suites = Suite::value_variants().iter().filter(wanted).copied().collect();
        (suites, quick && !named(&Suite::Web))
    }
}

/// What of a browser suite is run.
#[derive(Debug, Default)]
pub(crate) struct Part {
    /// This file.
    pub(crate) only: Option<String>,
    /// The files of this lane, 1 or 2.
    pub(crate) lane: Option<usize>,
    /// Of the web suite the tests of the browser half and of the JavaScript API.
    pub(crate) brief: bool,
}

impl Suite {
    /// As on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Lint => "lint",
            Self::Deny => "deny",
            Self::Unit => "unit",
            Self::Fuzz => "fuzz",
            Self::Types => "types",
            Self::Size => "size",
            Self::Web => "web",
            Self::E2e => "e2e",
            Self::Hosts => "hosts",
            Self::Proxy => "proxy",
            Self::Stack => "stack",
            Self::Interop => "interop",
            Self::Asterisk => "asterisk",
            Self::Outages => "outages",
        }
    }

    /// The most that its tests may take once everything is built.
    fn limit(self) -> Duration {
        Duration::from_secs(match self {
            Self::Types => 120,
            Self::Deny => 300,
            // Providers are slow to give up, and the tests wait for them.
            Self::E2e => 2400,
            Self::Stack | Self::Interop | Self::Asterisk | Self::Outages | Self::Web => 900,
            // These compile as they go.
            Self::Lint | Self::Unit | Self::Fuzz | Self::Size | Self::Hosts | Self::Proxy => 1800,
        })
    }

    fn run(self, limit: Duration, form: Form) -> Result<Verdict> {
        match self {
            Self::Lint => lint(limit),
            Self::Deny => deny(limit),
            Self::Unit => unit(limit),
            Self::Fuzz => fuzz(limit),
            Self::Types => types(limit),
            Self::Size => Ok(Verdict::ran(Counts::of_check(size::run()?))),
            Self::Web => web(limit, form.brief),
            Self::E2e => e2e(limit),
            Self::Hosts => hosts(limit, form.every_version),
            Self::Proxy => proxy(limit),
            Self::Stack | Self::Interop | Self::Outages => match telephony::find_or_install()? {
                None => isolated(self, limit, Counts::in_node_output),
                Some(reason) if setup::on_ci() => bail!("CI must run this suite: {reason}"),
                Some(reason) => Ok(Verdict::skipped(reason)),
            },
            Self::Asterisk => match setup::asterisk::find_or_install()? {
                Ok(_) => isolated(self, limit, Counts::in_node_output),
                Err(reason) if setup::on_ci() => bail!("CI must run this suite: {reason}"),
                Err(reason) => Ok(Verdict::skipped(reason)),
            },
        }
    }
}

/// What a suite came to.
struct Verdict {
    counts: Counts,
    remark: Option<String>,
}

impl Verdict {
    fn ran(counts: Counts) -> Self {
        Self { counts, remark: None }
    }

    /// It can't be had here.
    fn skipped(reason: String) -> Self {
        Self { counts: Counts { skipped: 1, ..Counts::default() }, remark: Some(reason) }
    }

    /// Counts what a runner said, and makes sure that its failure is a failure here: a runner that stops without
    /// counting, or that found no test at all, has not passed.
    fn of_runner(outcome: &Outcome, count: fn(&str) -> Counts) -> Self {
        let mut counts = count(&outcome.text);
        let remark = if !outcome.success && counts.failed == 0 {
            counts.failed = 1;
            Some(format!("the test runner failed: {}", outcome.reason))
        } else if counts.ran() == 0 {
            counts.failed = 1;
            Some("the test runner ran no test".to_owned())
        } else {
            (!outcome.success).then(|| outcome.reason.clone())
        };
        Self { counts, remark }
    }
}

/// How much of a suite is run.
#[derive(Debug, Clone, Copy)]
struct Form {
    /// Of web the tests of the browser half and of the JavaScript API.
    brief: bool,
    /// Of the hosts, the older ones too.
    every_version: bool,
}

/// Runs these suites, all of them if none is named; a failure does not stop the others. `every_version`: of the hosts, the
/// older ones too.
pub(crate) fn run(choices: &[Choice], every_version: bool) -> Result<bool> {
    let (chosen, brief) = Choice::suites(choices);
    let form = Form { brief, every_version };
    if setup::on_ci() {
        process::give_up_after(CI_LAST_RESORT, "the tests took too long and were stopped");
    }
    let started = Instant::now();
    let mut finished = Vec::new();
    for lanes in lanes::turns(&chosen, lanes::possible()) {
        if lanes.len() > 1 {
            // Here, where nothing else builds the same.
            prepare(&lanes.concat());
        }
        let jobs = lanes.into_iter().map(|suites| {
            let names: Vec<_> = suites.iter().map(|suite| suite.name()).collect();
            println!("\n=== {} ===", names.join(", "));
            (names.join(", "), suites)
        });
        let lane = |suites: Vec<Suite>| suites.into_iter().map(|suite| one(suite, form, started)).collect();
        for results in lanes::run::<_, Vec<Finished>>(jobs.collect(), lane) {
            finished.extend(results?);
        }
    }
    Ok(report::print(&finished))
}

/// Installs and builds what these suites need. A suite that needs what failed here fails by itself, and counts.
fn prepare(suites: &[Suite]) {
    let prepared = suites.iter().try_for_each(|suite| {
        match suite {
            Suite::Asterisk => drop(setup::asterisk::find_or_install()?),
            _ => drop(telephony::find_or_install()?),
        }
        inner(*suite).map(drop)
    });
    if let Err(error) = prepared {
        eprintln!("{error:#}");
    }
}

/// Runs a suite and searches its logs.
fn one(suite: Suite, form: Form, started: Instant) -> Result<Finished> {
    let begun = Instant::now();
    let left = if setup::on_ci() { CI_LIMIT.saturating_sub(started.elapsed()) } else { Duration::MAX };
    process::keep_transcript(&logs::begin(suite)?)?;
    let verdict = if left.is_zero() {
        Err(anyhow!("the suites before it took all of CI's {} minutes", CI_LIMIT.as_secs() / 60))
    } else {
        suite.run(suite.limit().min(left), form)
    };
    let mut verdict = verdict.unwrap_or_else(|error| Verdict {
        counts: Counts { failed: 1, ..Counts::default() },
        remark: Some(format!("{error:#}")),
    });
    let finds = logs::search(suite)?;
    if !finds.is_empty() {
        eprintln!("--- what must not stand in a log ---\n{}", tail(&finds.join("\n"), 40));
        verdict.counts.failed += 1;
        verdict.remark = Some(format!("{} lines of its logs hold secrets or whole numbers", finds.len()));
    }
    Ok(Finished { suite, counts: verdict.counts, took: begun.elapsed(), remark: verdict.remark })
}

/// Runs every check, whatever the others say, and counts them.
fn checks(tasks: impl IntoIterator<Item = Task>, limit: Duration) -> Result<Verdict> {
    let mut counts = Counts::default();
    let mut failed = Vec::new();
    let started = Instant::now();
    for task in tasks {
        let outcome = task.clone().deadline(limit.saturating_sub(started.elapsed())).show()?;
        counts += Counts::of_check(outcome.success);
        if !outcome.success {
            failed.push(format!("`{}` ({})", task.shown(), outcome.reason));
        }
    }
    Ok(Verdict { counts, remark: (!failed.is_empty()).then(|| failed.join("; ")) })
}

fn lint(limit: Duration) -> Result<Verdict> {
    cargo_tools::components()?;
    cargo_tools::wasm_target()?;
    let wasm = ["--package", "wasm-softphone", "--features", "allocator", "--target", cargo_tools::WASM];
    let cargo = |command: &str| Task::cargo().arg(command);
    let doc = |task: Task| task.arg("--no-deps").env("RUSTDOCFLAGS", "--deny warnings");
    // `fuzz` is a workspace of its own. No other build sees that its lock file no longer fits the manifests here.
    let locked = |manifest: &str| cargo("fetch").args(["--locked", "--manifest-path", manifest]);
    let mut verdict = checks(
        [
            locked("Cargo.toml"),
            locked("fuzz/Cargo.toml"),
            cargo("fmt").args(["--all", "--check"]),
            cargo("clippy").args(["--workspace", "--all-targets", "--", "--deny", "warnings"]),
            // As the sandbox has it.
            cargo("clippy")
                .args(["--package", "wasm-softphone-proxy", "--no-default-features", "--lib"])
                .args(["--", "--deny", "warnings"]),
            cargo("clippy").args(wasm).args(["--all-targets", "--", "--deny", "warnings"]),
            doc(cargo("doc").args(["--workspace", "--document-private-items"])),
            doc(cargo("doc").args(wasm).arg("--document-private-items")),
        ],
        limit,
    )?;
    let sound = house::run()?;
    verdict.counts += Counts::of_check(sound);
    if !sound {
        let also = verdict.remark.map_or_else(String::new, |others| format!("{others}; "));
        verdict.remark = Some(format!("{also}`cargo xtask house`"));
    }
    Ok(verdict)
}

fn deny(limit: Duration) -> Result<Verdict> {
    let cargo_deny = || cargo_tools::cargo_deny().map(|bin| Task::new(bin.join("cargo-deny")));
    let check = ["check", "--hide-inclusion-graph"];
    let all = || cargo_deny().map(|task| task.arg("--workspace").args(check));
    let package = || cargo_deny().map(|task| task.args(check));
    let mut tasks = vec![all()?.arg("licenses"), package()?.arg("bans"), all()?.arg("sources")];
    // The list of vulnerabilities is a git repository elsewhere; where it can't be reached, the rest still counts.
    let fetched = cargo_deny()?.args(["fetch", "db"]).deadline(Duration::from_secs(60)).read();
    if fetched.is_ok() {
        tasks.push(all()?.arg("advisories"));
    }
    let mut verdict = checks(tasks, limit)?;
    if let Err(error) = fetched {
        let line = "advisories not checked: their database could not be fetched";
        eprintln!("{line}\n{}", tail(&format!("{error:#}"), 6));
        verdict.counts.skipped += 1;
        verdict.remark.get_or_insert_with(|| line.to_owned());
    }
    Ok(verdict)
}

fn unit(limit: Duration) -> Result<Verdict> {
    let (variable, logs) = logs::environment(Suite::Unit)?;
    let tests = Task::cargo().args(["test", "--workspace", "--no-fail-fast"]).env(variable, logs);
    let outcome = tests.deadline(limit).show()?;
    Ok(Verdict::of_runner(&outcome, Counts::in_cargo_output))
}

fn fuzz(limit: Duration) -> Result<Verdict> {
    match fuzz::compiler()? {
        Some(reason) if setup::on_ci() => bail!("CI must run this suite: {reason}"),
        Some(reason) => Ok(Verdict::skipped(reason)),
        None => fuzz::suite(limit).map(|(counts, remark)| Verdict { counts, remark }),
    }
}

/// The bundlers, servers and test runners are installed out here, where the registry can be reached.
fn hosts(limit: Duration, every_version: bool) -> Result<Verdict> {
    node::modules()?;
    let (variable, which) = ("HOSTS", if every_version { "all" } else { "newest" });
    Task::new(node::node()?)
        .arg(workspace::root().join("tests").join("hosts").join("install.mjs"))
        .env(variable, which)
        .deadline(Duration::from_secs(1800))
        .run()?;
    let outcome = inner(Suite::Hosts)?.env(variable, which).deadline(limit).show()?;
    Ok(Verdict::of_runner(&outcome, Counts::in_node_output))
}

/// The features of the proxy's tests: a real redis-server, and a proxy that dies where it is told to.
const REAL_REDIS: &str = "real-redis";
const CRASH_POINTS: &str = "crash-points";

fn proxy(limit: Duration) -> Result<Verdict> {
    let started = Instant::now();
    let left = || limit.saturating_sub(started.elapsed());
    let mut lacking = Vec::new();
    let mut features = vec![CRASH_POINTS];
    match setup::program("redis-server", "redis-server")? {
        None => features.push(REAL_REDIS),
        Some(reason) => lacking.push(reason),
    }
    let schemathesis = setup::schemathesis::find_or_install()?;
    lacking.extend(schemathesis.as_ref().err().cloned());
    if setup::on_ci() && !lacking.is_empty() {
        bail!("CI must run all of this suite: {}", lacking.join("; "));
    }
    let (variable, logs) = logs::environment(Suite::Proxy)?;
    let tests = Task::cargo()
        .args(["test", "--package", "wasm-softphone-proxy", "--no-fail-fast", "--features"])
        .arg(features.join(","))
        .env(variable, logs)
        .deadline(left())
        .show()?;
    let mut verdict = Verdict::of_runner(&tests, Counts::in_cargo_output);
    if schemathesis.is_ok() {
        let described = isolated(Suite::Proxy, left(), Counts::in_schemathesis_output)?;
        verdict.counts += described.counts;
        verdict.remark = match (verdict.remark, described.remark) {
            (Some(one), Some(other)) => Some(format!("{one}; {other}")),
            (one, other) => one.or(other),
        };
    }
    verdict.counts.skipped += u64::try_from(lacking.len()).unwrap_or(u64::MAX);
    if !lacking.is_empty() {
        verdict.remark = Some(lacking.join("; "));
    }
    Ok(verdict)
}

fn types(limit: Duration) -> Result<Verdict> {
    node::modules()?;
    let dir = workspace::root().join("tests").join("types");
    let tsc = node::program("typescript", "bin/tsc")?.arg("--project");
    let mut projects = files(&dir, "tsconfig", ".json")?;
    projects.push(snippets::write(&workspace::root().join("docs"))?);
    checks(projects.iter().map(|project| tsc.clone().arg(project)), limit)
}

/// Unit and integration tests but not the examples in the docs, in words that wasm-pack can hand to both
/// `cargo build --tests` and `cargo test`. In the short form those that need a browser, of which `unit` runs none.
fn wasm_tests(brief: bool) -> Result<Vec<String>> {
    let mut words = Vec::new();
    if brief {
        for file in files(&workspace::root().join("tests"), "web_", ".rs")? {
            let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            words.extend(["--test".to_owned(), name]);
        }
    } else {
        words.extend(["--lib", "--test", "*"].map(str::to_owned));
    }
    words.extend(["--features", "allocator"].map(str::to_owned));
    Ok(words)
}

/// Gets what the wasm tests need and compiles them, out here where the network can be reached.
fn compile_wasm_tests(port: u16, brief: bool) -> Result<()> {
    cargo_tools::wasm_target()?;
    cargo_tools::wasm_bindgen()?;
    cargo_tools::wasm_pack()?;
    // wasm-pack reads the manifests of all dependencies, those for other systems too, where no network is.
    Task::cargo().args(["fetch", "--locked"]).deadline(Duration::from_secs(600)).run()?;
    Task::cargo()
        .args(["test", "--no-run", "--package", "wasm-softphone", "--target", cargo_tools::WASM])
        .args(wasm_tests(brief)?)
        .env("SANDBOX_URL", sandbox::url(port))
        .deadline(Duration::from_secs(1800))
        .run()
}

/// `wasm-pack test` with its own tools first on PATH, so that it meets no other version of them.
fn wasm_pack(port: u16) -> Result<Task> {
    let pack = cargo_tools::wasm_pack()?;
    let mut path = vec![cargo_tools::wasm_bindgen()?, pack.clone()];
    path.extend(process::path());
    Ok(Task::new(pack.join("wasm-pack"))
        .args(["test", "--mode", "no-install"])
        .env("PATH", std::env::join_paths(path).context("a directory on PATH can't be there")?)
        .env("SANDBOX_URL", sandbox::url(port))
        .env("CARGO_NET_OFFLINE", "true")
        // For a whole test program in one page; the default of 20 s is for machines with nothing else to do.
        .env("WASM_BINDGEN_TEST_TIMEOUT", "300"))
}

/// Builds what the suite needs, then runs this tool again, isolated, to start the sandbox and the tests.
fn isolated(suite: Suite, limit: Duration, count: fn(&str) -> Counts) -> Result<Verdict> {
    Ok(Verdict::of_runner(&inner(suite)?.deadline(limit).show()?, count))
}

fn web(limit: Duration, brief: bool) -> Result<Verdict> {
    let task = if brief { brief_web()? } else { inner(Suite::Web)? };
    Ok(Verdict::of_runner(&task.deadline(limit).show()?, Counts::in_cargo_output))
}

/// Its files in two lanes, where there are two.
fn e2e(limit: Duration) -> Result<Verdict> {
    let task = inner(Suite::E2e)?;
    if !lanes::possible() {
        return Ok(Verdict::of_runner(&task.deadline(limit).show()?, Counts::in_node_output));
    }
    let lane = |number: usize| {
        let task = task.clone().args(["--lane", &number.to_string()]).deadline(limit);
        (format!("e2e {number}"), (number, task))
    };
    let results = lanes::run(vec![lane(1), lane(2)], |(number, task)| {
        process::keep_transcript(&logs::dir(Suite::E2e)?.join(format!("output-{number}.log")))?;
        Ok(Verdict::of_runner(&task.show()?, Counts::in_node_output))
    });
    let mut all = Verdict::ran(Counts::default());
    for verdict in results {
        let verdict = verdict?;
        all.counts += verdict.counts;
        all.remark = all.remark.or(verdict.remark);
    }
    Ok(all)
}

/// One file of the tests with the release build, for as long as its setting says.
pub(crate) fn long_form(file: &str, (name, value): (&str, &str), limit: Duration) -> Result<bool> {
    Ok(inner(Suite::E2e)?.args(["--only", file]).env(name, value).deadline(limit).show()?.success)
}

/// Asterisk makes no ICE candidate of 127/8, so that its namespace has another address on the loopback interface.
const ASTERISK_ADDRESS: &str = "10.77.0.1/32";

/// Builds what a browser suite needs. Returns what runs it.
fn inner(suite: Suite) -> Result<Task> {
    built(suite, false)
}

/// The same for the short form of the web suite.
fn brief_web() -> Result<Task> {
    Ok(built(Suite::Web, true)?.arg("--brief"))
}

fn built(suite: Suite, brief: bool) -> Result<Task> {
    browser::find_or_install()?;
    setup::ip_command()?;
    let address = (suite == Suite::Asterisk).then_some(ASTERISK_ADDRESS);
    let (this, alone) = isolation::this_tool(address)?;
    let port = if alone { sandbox::TEST_PORT } else { sandbox::free_port()? };
    if !alone {
        eprintln!("no network namespace can be made here: the suite runs on the host's network");
    }
    match suite {
        Suite::Web => compile_wasm_tests(port, brief)?,
        _ => package::build()?,
    }
    sandbox::build()?;
    Ok(this.args(["inside", suite.name(), "--port", &port.to_string()]))
}

/// What the task of [`inner`] does.
pub(crate) fn inside(suite: Suite, port: u16, part: &Part) -> Result<bool> {
    let browser = browser::find().ok_or_else(|| anyhow!("the browser is gone"))?;
    if let Some(lane) = part.lane {
        logs::keep_apart(lane);
    }
    let sandbox = Sandbox::start_logged(port, suite)?;
    let tests = match suite {
        Suite::Web => wasm_pack(port)?
            .args(["--headless", "--chrome", "--chromedriver"])
            .arg(&browser.driver)
            .arg(".")
            .args(wasm_tests(part.brief)?)
            .env("WASM_BINDGEN_TEST_WEBDRIVER_JSON", webdriver_json(&browser)?),
        Suite::E2e | Suite::Hosts | Suite::Stack | Suite::Interop | Suite::Outages => {
            node_tests(suite, port, &browser, part)?
        }
        Suite::Asterisk => {
            let asterisk = setup::asterisk::find_or_install()?.map_err(|reason| anyhow!(reason))?;
            node_tests(suite, port, &browser, part)?.env("ASTERISK_ROOT", asterisk)
        }
        Suite::Proxy => schemathesis(port)?,
        _ => bail!("{} needs no browser", suite.name()),
    };
    // The suite's own deadline is kept outside, where everything can be ended at once.
    let outcome = tests.deadline(Duration::MAX).show()?;
    if !outcome.success {
        eprintln!("--- the end of the sandbox's log ---\n{}", sandbox.recent_log());
    }
    Ok(outcome.success)
}

/// The project's webdriver.json with the very browser that was found: by itself chromedriver looks in a few fixed
/// places only.
fn webdriver_json(browser: &Browser) -> Result<PathBuf> {
    let path = workspace::root().join("webdriver.json");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut json: serde_json::Value = serde_json::from_str(&text).context("webdriver.json")?;
    let options = json.get_mut("goog:chromeOptions").and_then(serde_json::Value::as_object_mut);
    let options = options.ok_or_else(|| anyhow!("webdriver.json has no goog:chromeOptions"))?;
    options.insert("binary".to_owned(), browser.chrome.to_string_lossy().into());
    let made = workspace::scratch()?.join("webdriver.json");
    fs::write(&made, json.to_string()).with_context(|| format!("cannot write {}", made.display()))?;
    Ok(made)
}

/// `node --test` over the `*.test.mjs` of a folder, one file after another: they share the sandbox.
fn node_tests(suite: Suite, port: u16, browser: &Browser, part: &Part) -> Result<Task> {
    let dir = workspace::root().join("tests").join(suite.name());
    let mut tests = files(&dir, "", part.only.as_deref().unwrap_or(".test.mjs"))?;
    if let Some(lane) = part.lane {
        tests.retain(|file| lane_of(file) == lane);
    }
    let (variable, logs) = logs::environment(suite)?;
    let path = std::env::join_paths(telephony::path()).context("a directory on PATH can't be there")?;
    Ok(Task::new(node::node()?)
        .args(["--test", "--test-reporter=spec", "--test-concurrency=1"])
        .args(tests)
        .env("SANDBOX_URL", sandbox::url(port))
        .env("SANDBOX_BIN", sandbox::program())
        .env(variable, logs)
        .env("CHROMIUM", &browser.chrome)
        .env("PATH", path))
}

fn lane_of(file: &Path) -> usize {
    let name = file.file_name().and_then(OsStr::to_str).unwrap_or_default();
    if lanes::SECOND.iter().any(|start| name.starts_with(start)) { 2 } else { 1 }
}

/// The proxy that the sandbox has mounted, held against the description that it serves, with a session of the demo's.
fn schemathesis(port: u16) -> Result<Task> {
    let program = setup::schemathesis::find_or_install()?.map_err(|reason| anyhow!(reason))?;
    // The header comes by the environment: command lines are shown, and seen by every process of the machine.
    let rules = workspace::root().join("proxy/tests/schemathesis.toml");
    let rules = fs::read_to_string(&rules).with_context(|| format!("cannot read {}", rules.display()))?;
    let config = workspace::scratch()?.join("schemathesis.toml");
    fs::write(&config, format!("headers = {{ Authorization = \"${{PROXY_AUTHORIZATION}}\" }}\n{rules}"))
        .with_context(|| format!("cannot write {}", config.display()))?;
    Ok(Task::new(program)
        .arg("--config-file")
        .arg(config)
        .args(["run", &format!("{}/elks/openapi.json", sandbox::url(port))])
        .args(["--url", &format!("{}/elks", sandbox::url(port))])
        .args(["--checks", "all", "--max-examples", "40", "--generation-deterministic"])
        // A call that was cancelled can be asked for all the same.
        .args(["--exclude-checks", "use_after_free", "--suppress-health-check", "all"])
        .args(["--continue-on-failure", "--no-color"])
        .env("PROXY_AUTHORIZATION", sandbox::proxy_authorization(port)?)
        .dir(workspace::scratch()?))
}

/// The files of a folder whose names start and end like this, sorted; an error if there is none.
fn files(dir: &Path, start: &str, end: &str) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?;
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        if name.starts_with(start) && name.ends_with(end) {
            found.push(path);
        }
    }
    if found.is_empty() {
        bail!("there is no {start}*{end} in {}", dir.display());
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(success: bool, text: &str) -> Outcome {
        Outcome { success, text: text.to_owned(), reason: "exit status: 1".to_owned() }
    }

    #[test]
    fn a_runner_that_fails_without_counting_is_a_failure() {
        let verdict = Verdict::of_runner(&outcome(false, "error[E0425]"), Counts::in_cargo_output);
        assert_eq!(verdict.counts.failed, 1);
    }

    #[test]
    fn a_runner_that_ran_nothing_has_not_passed() {
        let nothing = "test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 9 filtered out";
        let verdict = Verdict::of_runner(&outcome(true, nothing), Counts::in_cargo_output);
        assert_eq!(verdict.counts.failed, 1);
    }

    #[test]
    fn what_passed_and_what_failed_is_taken_from_the_runner() {
        let text = "test result: FAILED. 4 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out";
        let verdict = Verdict::of_runner(&outcome(false, text), Counts::in_cargo_output);
        assert_eq!(verdict.counts, Counts { passed: 4, failed: 2, skipped: 0 });
    }

    #[test]
    fn quick_is_four_suites_with_web_in_its_short_form() {
        let quick = Choice::suites(&[Choice::Quick]);
        assert_eq!(quick, (vec![Suite::Lint, Suite::Unit, Suite::Types, Suite::Web], true));
        let both = Choice::suites(&[Choice::One(Suite::Web), Choice::One(Suite::Size), Choice::Quick]);
        assert_eq!(both.0.len(), 5);
        assert!(!both.1);
        assert_eq!(Choice::suites(&[]).0.len(), Suite::value_variants().len());
    }

    #[test]
    fn both_lanes_have_files() {
        let all = files(&workspace::root().join("tests/e2e"), "", ".test.mjs").unwrap();
        for start in lanes::SECOND {
            let begins = |file: &&PathBuf| file.file_name().unwrap().to_string_lossy().starts_with(start);
            assert!(all.iter().any(|file| begins(&file)), "{start}");
        }
        assert!(all.iter().any(|file| lane_of(file) == 1));
    }

    #[test]
    fn the_short_form_of_web_has_the_tests_that_need_a_browser() {
        let words = wasm_tests(true).unwrap();
        assert!(words.contains(&"web_calls".to_owned()) && !words.contains(&"--lib".to_owned()), "{words:?}");
    }

    #[test]
    fn every_suite_is_named_as_on_the_command_line() {
        for suite in Suite::value_variants() {
            assert_eq!(suite.to_possible_value().unwrap().get_name(), suite.name());
        }
    }
}
